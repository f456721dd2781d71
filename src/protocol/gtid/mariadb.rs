//! MariaDB GTID positions: the newest transaction of every replication domain.

use std::fmt;

use super::number;

/// The newest GTID of every domain, ordered by domain. Within a domain sequence numbers only grow, whichever server
/// wrote them, so that the newest one stands for all before it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MariaDbPosition {
    gtids: Vec<Gtid>,
}

/// `domain-server-sequence`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Gtid {
    domain: u32,
    server: u32,
    sequence: u64,
}

impl MariaDbPosition {
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut list = Self::default();
        for part in text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|part| !part.is_empty()) {
            list.add(parse_gtid(part)?);
        }
        Some(list)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.gtids.is_empty()
    }

    pub(super) fn covers(&self, required: &Self) -> bool {
        required.gtids.iter().all(|&wanted| self.has(wanted))
    }

    /// The newest GTIDs of the domains in which `base` is behind.
    pub(super) fn since(&self, base: &Self) -> Self {
        Self { gtids: self.gtids.iter().copied().filter(|&gtid| !base.has(gtid)).collect() }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for &gtid in &other.gtids {
            self.add(gtid);
        }
    }

    fn has(&self, wanted: Gtid) -> bool {
        let own = self.place(wanted.domain).ok().and_then(|at| self.gtids.get(at));
        own.is_some_and(|own| own.sequence >= wanted.sequence)
    }

    fn add(&mut self, gtid: Gtid) {
        match self.place(gtid.domain) {
            Ok(at) if self.gtids[at].sequence < gtid.sequence => self.gtids[at] = gtid,
            Ok(_) => {}
            Err(at) => self.gtids.insert(at, gtid),
        }
    }

    /// Where the domain is, or would be.
    fn place(&self, domain: u32) -> Result<usize, usize> {
        self.gtids.binary_search_by_key(&domain, |gtid| gtid.domain)
    }
}

fn parse_gtid(text: &[u8]) -> Option<Gtid> {
    let mut numbers = text.splitn(3, |&byte| byte == b'-').map(number);
    Some(Gtid {
        domain: u32::try_from(numbers.next()??).ok()?,
        server: u32::try_from(numbers.next()??).ok()?,
        sequence: numbers.next()??,
    })
}

impl fmt::Display for MariaDbPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, Gtid { domain, server, sequence }) in self.gtids.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{domain}-{server}-{sequence}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> MariaDbPosition {
        MariaDbPosition::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn canonical_texts() {
        let cases = [
            ("", ""),
            ("0-1-100", "0-1-100"),
            (" 1-2-5 ,\n0-1-100", "0-1-100,1-2-5"),
            ("0-1-7,0-2-9,0-3-8", "0-2-9"),
            ("4294967295-4294967295-18446744073709551615", "4294967295-4294967295-18446744073709551615"),
        ];
        for (text, canonical) in cases {
            assert_eq!(parse(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn refused_texts() {
        let cases = [
            "x",
            "0",
            "0-1",
            "0-1-",
            "0-1-2-3",
            "0--1-2",
            "-1-1-2",
            "0 -1-2",
            "4294967296-1-2",
            "0-1-18446744073709551616",
        ];
        for text in cases {
            assert_eq!(MariaDbPosition::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn covers_table() {
        let cases = [
            ("", "", true),
            ("0-1-5", "", true),
            ("", "0-1-5", false),
            ("0-1-5", "0-1-5", true),
            ("0-1-5", "0-1-6", false),
            ("0-2-6", "0-1-5", true),
            ("0-1-5", "1-1-1", false),
            ("0-1-5,1-1-1", "1-1-1", true),
            ("0-1-5,1-1-1", "0-1-4,1-1-2", false),
        ];
        for (have, required, expected) in cases {
            assert_eq!(parse(have).covers(&parse(required)), expected, "{have} ⊇ {required}");
        }
    }

    type Model = BTreeMap<u32, u64>;

    fn of_model(model: &Model) -> MariaDbPosition {
        let texts: Vec<_> = model.iter().rev().map(|(domain, sequence)| format!("{domain}-1-{sequence}")).collect();
        parse(&texts.join(","))
    }

    fn model() -> impl Strategy<Value = Model> {
        prop::collection::btree_map(0..5u32, 0..9u64, 0..5)
    }

    proptest! {
        #[test]
        fn agrees_with_a_map(have in model(), required in model()) {
            let (list, wanted) = (of_model(&have), of_model(&required));
            let covers = required.iter().all(|(domain, sequence)| have.get(domain).is_some_and(|own| own >= sequence));
            prop_assert_eq!(list.covers(&wanted), covers, "{} ⊇ {}", list, wanted);

            let mut union = have.clone();
            for (&domain, &sequence) in &required {
                union.entry(domain).and_modify(|own| *own = sequence.max(*own)).or_insert(sequence);
            }
            let mut merged = list.clone();
            merged.merge(&wanted);
            prop_assert_eq!(merged, of_model(&union), "{} ∪ {}", list, wanted);

            let mut news = have.clone();
            news.retain(|domain, sequence| required.get(domain).is_none_or(|base| base < sequence));
            prop_assert_eq!(list.since(&wanted), of_model(&news), "{} since {}", list, wanted);
            prop_assert_eq!(parse(&list.to_string()), list);
        }
    }
}
