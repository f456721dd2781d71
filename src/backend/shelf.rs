//! The bookkeeping of one server's pool: who is idle, how many are open, who waits. Pure: `now` is an argument, and what
//! is to be done is the result.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// How long connections are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ages {
    pub idle: Duration,
    pub total: Duration,
}

/// Idle connections `C`, and waiters `W` in order of arrival.
#[derive(Debug)]
pub struct Shelf<C, W> {
    /// The longest idle first.
    idle: Vec<Idle<C>>,
    /// Connections that exist or are being opened, idle ones included.
    open: u32,
    limit: u32,
    waiters: VecDeque<W>,
    closing: bool,
    /// Connections opened before it are not used again.
    renewed: Option<Instant>,
    ages: Ages,
}

#[derive(Debug)]
struct Idle<C> {
    connection: C,
    opened: Instant,
    since: Instant,
}

/// What to do for someone who wants a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Take<C> {
    Use(C),
    /// Open a new one; it is counted already. The connection in it must be closed to make room.
    Open(Option<C>),
    /// Nothing is free: wait.
    Wait,
}

/// What to do with a connection that comes back.
#[derive(Debug, PartialEq, Eq)]
pub enum Put<C, W> {
    Shelved,
    Close(C),
    Give(W, C),
}

/// The score of a connection that somebody else still has a use for.
pub const LAST_RESORT: u32 = 0;

/// How many idle connections are looked at for a better one, the most recently used first.
const LOOK_AT: usize = 16;

impl<C, W> Shelf<C, W> {
    pub fn new(limit: u32, ages: Ages) -> Self {
        Self { idle: Vec::new(), open: 0, limit, waiters: VecDeque::new(), closing: false, renewed: None, ages }
    }

    pub fn idle_count(&self) -> u32 {
        self.idle.len() as u32
    }

    pub fn used_count(&self) -> u32 {
        self.open - self.idle_count()
    }

    /// Whether a connection is to be had at once.
    pub fn has_room(&self) -> bool {
        self.used_count() < self.limit
    }

    /// Returns the waiters who may open a connection as there is room now; they are counted already.
    #[must_use = "the waiters are counted as open"]
    pub fn set_limits(&mut self, limit: u32, ages: Ages) -> Vec<W> {
        self.limit = limit;
        self.ages = ages;
        let room = limit.saturating_sub(self.open) as usize;
        let served: Vec<W> = self.waiters.drain(..room.min(self.waiters.len())).collect();
        self.open += served.len() as u32;
        served
    }

    /// From now on connections close when they come back. Returns the idle ones, to be closed, and those who wait in
    /// vain.
    pub fn close(&mut self) -> (Vec<C>, VecDeque<W>) {
        self.closing = true;
        (self.clear(), std::mem::take(&mut self.waiters))
    }

    /// Connections that are open now are not used again. Returns the idle ones, to be closed.
    pub fn renew(&mut self, now: Instant) -> Vec<C> {
        self.renewed = Some(now);
        self.clear()
    }

    /// Takes out the idle connections, to be closed.
    pub fn clear(&mut self) -> Vec<C> {
        self.open -= self.idle.len() as u32;
        self.idle.drain(..).map(|idle| idle.connection).collect()
    }

    /// Takes back [`Self::close`].
    pub fn reopen(&mut self) {
        self.closing = false;
    }

    /// Takes the idle connection with the highest score; `score` is None for one that cannot be used, [`LAST_RESORT`] for
    /// one that is used only if no other can be opened, and `best` ends the search. Of equals the most recently used.
    pub fn take_idle(&mut self, best: u32, score: impl Fn(&C) -> Option<u32>) -> Option<C> {
        let mut found: Option<(usize, u32)> = None;
        for (looked, (place, idle)) in self.idle.iter().enumerate().rev().enumerate() {
            if looked >= LOOK_AT && found.is_some() {
                break;
            }
            let Some(score) = score(&idle.connection) else { continue };
            if found.is_none_or(|(_, highest)| score > highest) {
                found = Some((place, score));
            }
            if score >= best {
                break;
            }
        }
        let (place, score) = found?;
        let use_it = score > LAST_RESORT || self.open >= self.limit;
        use_it.then(|| self.idle.remove(place).connection)
    }

    /// [`Self::take_idle`], or the right to open one.
    pub fn take(&mut self, best: u32, score: impl Fn(&C) -> Option<u32>) -> Take<C> {
        if let Some(idle) = self.take_idle(best, score) {
            return Take::Use(idle);
        }
        if self.open < self.limit {
            self.open += 1;
            return Take::Open(None);
        }
        if self.idle.is_empty() {
            return Take::Wait;
        }
        Take::Open(Some(self.idle.remove(0).connection))
    }

    /// Takes the idle connection for which `that` holds.
    pub fn take_that(&mut self, that: impl Fn(&C) -> bool) -> Option<C> {
        let place = self.idle.iter().rposition(|idle| that(&idle.connection))?;
        Some(self.idle.remove(place).connection)
    }

    /// Queues up. Waiters at the front who are `gone` leave, so that the queue does not grow while nothing comes back.
    pub fn wait(&mut self, waiter: W, gone: impl Fn(&W) -> bool) {
        while self.waiters.pop_front_if(|first| gone(first)).is_some() {}
        self.waiters.push_back(waiter);
    }

    /// A connection that is fit for the next user comes back. The first waiter gets it, whoever that is: it closes what it
    /// cannot use and opens its own.
    pub fn put(&mut self, connection: C, opened: Instant, now: Instant) -> Put<C, W> {
        // A sum costs less than a difference, and this is on every statement's way.
        let too_old = opened.checked_add(self.ages.total).is_some_and(|end| now >= end);
        let outdated = too_old || self.renewed.is_some_and(|then| opened <= then);
        if self.closing || self.open > self.limit || outdated {
            return Put::Close(connection);
        }
        match self.waiters.pop_front() {
            Some(waiter) => Put::Give(waiter, connection),
            None => {
                self.idle.push(Idle { connection, opened, since: now });
                Put::Shelved
            }
        }
    }

    /// A connection is gone, or was never opened. Returns the waiter who may open one instead; it is counted already.
    pub fn forget(&mut self) -> Option<W> {
        self.open -= 1;
        if self.open >= self.limit {
            return None;
        }
        let waiter = self.waiters.pop_front()?;
        self.open += 1;
        Some(waiter)
    }

    /// Takes out the connections that were idle too long or are too old, to be closed.
    pub fn expire(&mut self, now: Instant) -> Vec<C> {
        let ages = self.ages;
        let expired = |idle: &mut Idle<C>| {
            now.saturating_duration_since(idle.since) >= ages.idle
                || now.saturating_duration_since(idle.opened) >= ages.total
        };
        let gone: Vec<C> = self.idle.extract_if(.., expired).map(|idle| idle.connection).collect();
        self.open -= gone.len() as u32;
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGES: Ages = Ages { idle: Duration::from_secs(60), total: Duration::from_secs(3600) };

    fn any(_: &u32) -> Option<u32> {
        Some(1)
    }

    #[test]
    fn opens_up_to_the_limit_then_waits_in_order() {
        let now = Instant::now();
        let mut shelf: Shelf<u32, &str> = Shelf::new(2, AGES);
        assert_eq!(shelf.take(0, any), Take::Open(None));
        assert_eq!(shelf.take(0, any), Take::Open(None));
        assert_eq!(shelf.take(0, any), Take::Wait);
        for waiter in ["gone", "first", "second"] {
            shelf.wait(waiter, |&waiter| waiter == "gone");
        }
        assert_eq!(shelf.put(1, now, now), Put::Give("first", 1));
        assert_eq!(shelf.forget(), Some("second"));
        assert_eq!(shelf.forget(), None);
        assert_eq!(shelf.used_count(), 1);
    }

    #[test]
    fn prefers_the_best_then_the_latest() {
        let now = Instant::now();
        let mut shelf: Shelf<u32, ()> = Shelf::new(9, AGES);
        for connection in [10, 20, 30] {
            assert_eq!(shelf.take(0, |_| None), Take::Open(None));
            assert_eq!(shelf.put(connection, now, now), Put::Shelved);
        }
        assert_eq!(shelf.take(1, |&connection| Some(u32::from(connection == 20))), Take::Use(20));
        assert_eq!(shelf.take(0, any), Take::Use(30));
        assert_eq!(shelf.take(0, |_| None), Take::Open(None));
    }

    #[test]
    fn finds_the_one_that_fits_among_many() {
        let now = Instant::now();
        let mut shelf: Shelf<usize, ()> = Shelf::new(99, AGES);
        for connection in 0..2 * LOOK_AT {
            assert_eq!(shelf.take(0, |_| None), Take::Open(None));
            assert_eq!(shelf.put(connection, now, now), Put::Shelved);
        }
        assert_eq!(shelf.take(2, |&connection| (connection == 0).then_some(1)), Take::Use(0));
    }

    #[test]
    fn a_higher_limit_serves_those_who_wait() {
        let mut shelf: Shelf<u32, u32> = Shelf::new(1, AGES);
        assert_eq!(shelf.take(0, any), Take::Open(None));
        for waiter in 1..=3 {
            shelf.wait(waiter, |_| false);
        }
        assert_eq!(shelf.set_limits(3, AGES), [1, 2]);
        assert_eq!(shelf.used_count(), 3);
        assert_eq!(shelf.forget(), Some(3));
    }

    #[test]
    fn makes_room_by_closing_one_that_nobody_can_use() {
        let now = Instant::now();
        let mut shelf: Shelf<u32, ()> = Shelf::new(1, AGES);
        assert_eq!(shelf.take(0, any), Take::Open(None));
        assert_eq!(shelf.put(1, now, now), Put::Shelved);
        assert_eq!(shelf.take(0, |_| None), Take::Open(Some(1)));
        assert_eq!(shelf.take(0, any), Take::Wait);
    }

    #[test]
    fn old_and_idle_ones_leave() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut shelf: Shelf<u32, ()> = Shelf::new(9, AGES);
        for (connection, opened, since) in [(1, 0, 0), (2, 0, 30), (3, 50, 50)] {
            assert_eq!(shelf.take(0, |_| None), Take::Open(None));
            assert_eq!(shelf.put(connection, later(opened), later(since)), Put::Shelved);
        }
        assert_eq!(shelf.expire(later(60)), vec![1]);
        assert_eq!(shelf.expire(later(95)), vec![2]);
        assert_eq!(shelf.take(0, any), Take::Use(3));
        assert_eq!(shelf.put(3, later(50), later(3650)), Put::Close(3));
    }

    #[test]
    fn a_closed_shelf_keeps_nothing() {
        let now = Instant::now();
        let mut shelf: Shelf<u32, &str> = Shelf::new(9, AGES);
        assert_eq!(shelf.take(0, any), Take::Open(None));
        assert_eq!(shelf.take(0, any), Take::Open(None));
        assert_eq!(shelf.put(1, now, now), Put::Shelved);
        shelf.wait("somebody", |_| false);
        assert_eq!(shelf.close(), (vec![1], VecDeque::from(["somebody"])));
        assert_eq!(shelf.put(2, now, now), Put::Close(2));
        assert_eq!(shelf.forget(), None);
        assert_eq!(shelf.used_count(), 0);
    }
}
