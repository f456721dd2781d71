//! Keeps a worker awake after something happened. Waking a thread up takes longer than a small statement does, and while
//! there is little to do each statement waits for that twice: when it comes and when its reply comes.

use std::{
    cell::Cell,
    rc::Rc,
    time::{Duration, Instant},
};

/// How long a worker looks for more to do before it sleeps.
#[derive(Debug)]
pub struct Spin {
    length: Duration,
    /// Until when it looks, if it does.
    until: Cell<Option<Instant>>,
}

impl Spin {
    /// Of length 0, it does nothing.
    pub fn new(length: Duration) -> Rc<Self> {
        Rc::new(Self { length, until: Cell::default() })
    }

    /// Something happened at `now`, so that more may come soon.
    #[inline]
    pub fn go_on(self: &Rc<Self>, now: Instant) {
        if !self.length.is_zero() {
            self.look_until(now + self.length);
        }
    }

    fn look_until(self: &Rc<Self>, end: Instant) {
        if self.until.replace(Some(end)).is_none() {
            tokio::task::spawn_local(self.clone().run());
        }
    }

    /// With a task that is always ready, the runtime looks for events instead of waiting for them.
    async fn run(self: Rc<Self>) {
        while self.until.get().is_some_and(|until| Instant::now() < until) {
            tokio::task::yield_now().await;
        }
        self.until.set(None);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, yield_now};

    use super::*;

    async fn ends(spin: &Spin) -> Instant {
        while spin.until.get().is_some() {
            yield_now().await;
        }
        Instant::now()
    }

    #[tokio::test]
    async fn it_lasts_from_the_last_event_on_and_begins_again() {
        let test = async {
            let spin = Spin::new(Duration::from_millis(2));
            for _ in 0..3 {
                let first = Instant::now();
                spin.go_on(first);
                let last = first + Duration::from_millis(1);
                spin.go_on(last);
                assert!(ends(&spin).await >= last + spin.length);
            }
        };
        LocalSet::new().run_until(test).await;
    }

    #[test]
    fn of_length_0_it_starts_nothing() {
        let spin = Spin::new(Duration::ZERO);
        // A task could not be started here.
        spin.go_on(Instant::now());
        assert_eq!(spin.until.get(), None);
    }
}
