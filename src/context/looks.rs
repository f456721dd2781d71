//! Whether what is known of the code that is stored in the servers is what there is: when a statement has changed it, others
//! wait until it was looked at again. Who looks, and what is found, is left to the application and the cluster snapshot.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// How long a statement waits to know.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often somebody had to look, and how far it was done.
#[derive(Debug)]
pub struct Looks {
    wanted: AtomicU64,
    done: AtomicU64,
    wants: watch::Sender<u64>,
    does: watch::Sender<u64>,
}

impl Default for Looks {
    /// Nobody has looked yet.
    fn default() -> Self {
        Self { wanted: 1.into(), done: 0.into(), wants: watch::Sender::new(1), does: watch::Sender::new(0) }
    }
}

impl Looks {
    /// Stored code was changed.
    pub fn want(&self) {
        let wanted = self.wanted.fetch_add(1, SeqCst) + 1;
        self.wants.send_replace(wanted);
    }

    /// Whether nothing was changed since somebody looked.
    pub fn are_done(&self) -> bool {
        self.done.load(SeqCst) >= self.wanted.load(SeqCst)
    }

    /// Waits until somebody has looked. If that takes too long, nobody waits for it any more.
    pub async fn done(&self) {
        let (wanted, mut does) = (self.wanted.load(SeqCst), self.does.subscribe());
        if timeout(PATIENCE, does.wait_for(|done| *done >= wanted)).await.is_err() {
            self.answer(wanted);
        }
    }

    /// What a look that begins now answers.
    pub fn wanted(&self) -> watch::Receiver<u64> {
        self.wants.subscribe()
    }

    /// Somebody has looked, or has to give up.
    pub fn answer(&self, wanted: u64) {
        self.done.fetch_max(wanted, SeqCst);
        self.does.send_modify(|done| *done = wanted.max(*done));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn statements_wait_for_the_look_behind_a_change() {
        let looks = Looks::default();
        assert!(!looks.are_done(), "nobody has looked");
        let first = *looks.wanted().borrow();
        looks.want();
        looks.answer(first);
        assert!(!looks.are_done(), "it began before the change");
        let second = *looks.wanted().borrow();
        let answer = async { looks.answer(second) };
        tokio::join!(looks.done(), answer);
        assert!(looks.are_done());
        looks.want();
        looks.done().await;
        assert!(looks.are_done(), "nobody looks, and nobody waits for ever");
    }
}
