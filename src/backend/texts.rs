//! The texts that are prepared anywhere in one worker, each kept once.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use super::PreparedText;
use crate::session::Settings;

/// Applications prepare the same texts in every session; all of them share one copy, as long as somebody has it.
#[derive(Debug, Default)]
pub struct Texts {
    /// By hash.
    known: HashMap<u64, Vec<Weak<PreparedText>>>,
    /// At this many hashes, those that nobody has any more are thrown out.
    full: usize,
}

/// Below it nothing is thrown out.
const FEW: usize = 256;

impl Texts {
    /// The text, prepared under these settings.
    pub fn share(&mut self, sql: &[u8], settings: &Settings) -> Arc<PreparedText> {
        let new = PreparedText::new(sql, settings);
        let alike = self.known.get(&new.hash()).into_iter().flatten();
        if let Some(known) = alike.filter_map(Weak::upgrade).find(|known| **known == new) {
            return known;
        }
        self.make_room();
        let new = Arc::new(new);
        self.known.entry(new.hash()).or_default().push(Arc::downgrade(&new));
        new
    }

    fn make_room(&mut self) {
        if self.known.len() < self.full.max(FEW) {
            return;
        }
        self.known.retain(|_, alike| {
            alike.retain(|text| text.strong_count() > 0);
            !alike.is_empty()
        });
        // Twice of what is in use, so that each text is looked at a bounded number of times.
        self.full = 2 * self.known.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(schema: &str) -> Settings {
        Settings::with_schema(Some(schema.as_bytes()))
    }

    #[test]
    fn the_same_text_is_kept_once() {
        let mut texts = Texts::default();
        let one = texts.share(b"SELECT ?", &settings("app"));
        assert!(Arc::ptr_eq(&one, &texts.share(b"SELECT ?", &settings("app"))));
        assert!(!Arc::ptr_eq(&one, &texts.share(b"SELECT ?", &settings("other"))), "another schema");
        assert!(!Arc::ptr_eq(&one, &texts.share(b"SELECT ? ", &settings("app"))), "another text");
    }

    #[test]
    fn what_nobody_has_takes_no_room() {
        let mut texts = Texts::default();
        let kept = texts.share(b"kept", &settings("app"));
        for number in 0..10 * FEW {
            drop(texts.share(format!("SELECT {number}").as_bytes(), &settings("app")));
        }
        assert!(texts.known.len() <= FEW, "{}", texts.known.len());
        assert!(Arc::ptr_eq(&kept, &texts.share(b"kept", &settings("app"))));
        let many: Vec<_> =
            (0..10 * FEW).map(|n| texts.share(format!("SELECT {n}").as_bytes(), &settings("app"))).collect();
        assert!(texts.known.len() > many.len(), "all of them are in use");
    }
}
