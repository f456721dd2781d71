//! Users whom the writer let in, and whom it did not, lately: `auth = "passthrough"`. Decides what is believed without
//! asking again, and how often the writer is asked. How it is asked is `proxy::passthrough`'s.
//!
//! What is wrong costs the writer no more than a question a [`PAUSE`] and user, and [`AT_ONCE`] at a time in all. What was
//! proven waits for nobody. An answer is good for everybody who came before the question was asked, and for nobody else:
//! passwords are changed any time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::protocol::{
    ProxyHeader,
    auth::{Credential, Stored, Verdict},
};

/// How many users the writer is asked about at once.
const AT_ONCE: usize = 8;
/// After a wrong password, the next one is not tried for so long; nor is looked up again what is stored.
const PAUSE: Duration = Duration::from_millis(100);

/// What is known of users.
#[derive(Debug)]
pub struct Proven {
    users: Mutex<HashMap<Box<[u8]>, User>>,
    asking: Semaphore,
}

#[derive(Debug)]
struct User {
    /// What the writer took, and when.
    proven: Option<(Credential, Instant)>,
    /// What it did not take last, why, and when that was asked.
    refused: Option<(Credential, Verdict, Instant)>,
    /// The user's accounts, and when that was asked.
    stored: Option<(Stored, Instant)>,
    /// Whoever holds it asks about the user.
    turn: Arc<tokio::sync::Mutex<()>>,
    last: Instant,
}

impl Default for Proven {
    fn default() -> Self {
        Self { users: Mutex::default(), asking: Semaphore::new(AT_ONCE) }
    }
}

impl Proven {
    /// Under what a user is remembered. Servers that are told the client's address may judge by it.
    pub fn key(user: &[u8], origin: Option<ProxyHeader>) -> Box<[u8]> {
        match origin {
            Some(ProxyHeader::Client(address)) => [user, b"\0", address.ip().to_string().as_bytes()].concat().into(),
            Some(ProxyHeader::Own) | None => user.into(),
        }
    }

    /// What the writer took less than `ttl` ago.
    pub fn known(&self, key: &[u8], now: Instant, ttl: Duration) -> Option<Credential> {
        let users = self.users();
        let (credential, when) = users.get(key)?.proven.as_ref()?;
        (now.saturating_duration_since(*when) < ttl).then(|| credential.clone())
    }

    /// Who may ask about the user: one at a time. There are at most `most` users; those that nobody has proven give way
    /// first, then those whose proof is oldest.
    pub fn turn(&self, key: &[u8], now: Instant, most: u32) -> Arc<tokio::sync::Mutex<()>> {
        let mut users = self.users();
        if !users.contains_key(key) {
            while users.len() >= most as usize {
                let age = |user: &User| (user.proven.as_ref().map(|(_, when)| *when), user.last);
                let Some(oldest) = users.iter().min_by_key(|(_, user)| age(user)).map(|(key, _)| key.clone()) else {
                    break;
                };
                users.remove(&oldest);
            }
        }
        let new = || User { proven: None, refused: None, stored: None, turn: Arc::default(), last: now };
        let user = users.entry(key.into()).or_insert_with(new);
        user.last = now;
        user.turn.clone()
    }

    /// The right to ask the writer something.
    pub async fn place(&self) -> Option<SemaphorePermit<'_>> {
        self.asking.acquire().await.ok()
    }

    /// The writer took it.
    pub fn learn(&self, key: &[u8], credential: Credential, now: Instant) {
        self.change(key, |user| {
            user.proven = Some((credential, now));
            user.refused = None;
        });
    }

    /// The writer, asked `then`, did not take it.
    pub fn refuse(&self, key: &[u8], credential: Credential, verdict: Verdict, then: Instant) {
        self.change(key, |user| {
            if user.proven.as_ref().is_some_and(|(proven, _)| *proven == credential) {
                user.proven = None;
            }
            user.refused = Some((credential, verdict, then));
        });
    }

    /// A server did not take what was proven.
    pub fn forget(&self, key: &[u8], credential: &Credential) {
        self.change(key, |user| {
            user.proven.take_if(|(proven, _)| proven == credential);
        });
    }

    /// The user's account does not go by digests any more.
    pub fn forget_digest(&self, key: &[u8]) {
        self.change(key, |user| {
            user.proven.take_if(|(proven, _)| proven.password().is_none());
        });
    }

    /// What the writer said to the same, asked at `since` or later.
    pub fn refused(&self, key: &[u8], credential: &Credential, since: Instant) -> Option<Verdict> {
        let users = self.users();
        let (refused, verdict, then) = users.get(key)?.refused.as_ref()?;
        (refused == credential && *then >= since).then(|| verdict.clone())
    }

    /// The user's accounts, as a server told them that was asked at `since` or later.
    pub fn stored(&self, key: &[u8], since: Instant) -> Option<Stored> {
        let users = self.users();
        let (stored, then) = users.get(key)?.stored.as_ref()?;
        (*then >= since).then(|| stored.clone())
    }

    /// A server, asked `then`, told the user's accounts.
    pub fn store(&self, key: &[u8], stored: Stored, then: Instant) {
        self.change(key, |user| user.stored = Some((stored, then)));
    }

    /// When the next password may be tried.
    pub fn next_proof(&self, key: &[u8]) -> Option<Instant> {
        let users = self.users();
        users.get(key)?.refused.as_ref().map(|(_, _, then)| *then + PAUSE)
    }

    /// When the user's accounts may be looked up again.
    pub fn next_look(&self, key: &[u8]) -> Option<Instant> {
        let users = self.users();
        users.get(key)?.stored.as_ref().map(|(_, then)| *then + PAUSE)
    }

    /// Forgets everybody.
    pub fn clear(&self) {
        self.users().clear();
    }

    /// A user who was pushed out in the meantime stays out.
    fn change(&self, key: &[u8], change: impl FnOnce(&mut User)) {
        if let Some(user) = self.users().get_mut(key) {
            change(user);
        }
    }

    fn users(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, User>> {
        // No change is left half-way by a panic.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(60);

    fn password(text: &str) -> Credential {
        Credential::Password(text.as_bytes().into())
    }

    #[test]
    fn what_was_proven_is_known_until_it_is_too_old() {
        let (proven, begun) = (Proven::default(), Instant::now());
        proven.turn(b"a", begun, 10);
        proven.learn(b"a", password("x"), begun);
        for (after, known) in [(0, true), (59, true), (60, false), (3600, false)] {
            let now = begun + Duration::from_secs(after);
            assert_eq!(proven.known(b"a", now, TTL), known.then(|| password("x")), "after {after} s");
        }
        assert_eq!(proven.known(b"b", begun, TTL), None);
        proven.forget(b"a", &password("y"));
        assert_eq!(proven.known(b"a", begun, TTL), Some(password("x")), "another one was refused");
        proven.forget(b"a", &password("x"));
        assert_eq!(proven.known(b"a", begun, TTL), None);
    }

    #[test]
    fn an_answer_is_good_for_who_came_before_it_was_asked() {
        let (proven, begun) = (Proven::default(), Instant::now());
        let (before, after) = (begun, begun + Duration::from_millis(2));
        let then = begun + Duration::from_millis(1);
        proven.turn(b"a", begun, 10);
        proven.learn(b"a", password("old"), begun);
        assert_eq!((proven.next_proof(b"a"), proven.next_look(b"a")), (None, None));
        proven.refuse(b"a", password("x"), Verdict::Wrong, then);
        assert_eq!(proven.refused(b"a", &password("x"), before), Some(Verdict::Wrong));
        assert_eq!(proven.refused(b"a", &password("x"), then), Some(Verdict::Wrong));
        assert_eq!(proven.refused(b"a", &password("x"), after), None);
        assert_eq!(proven.refused(b"a", &password("y"), before), None);
        proven.store(b"a", Stored::UNTOLD, then);
        assert_eq!(proven.stored(b"a", before), Some(Stored::UNTOLD));
        assert_eq!(proven.stored(b"a", after), None);
        assert_eq!((proven.next_proof(b"a"), proven.next_look(b"a")), (Some(then + PAUSE), Some(then + PAUSE)));
        assert_eq!(proven.known(b"a", begun, TTL), Some(password("old")), "a wrong guess harms nobody");
        proven.refuse(b"a", password("old"), Verdict::Wrong, begun);
        assert_eq!(proven.known(b"a", begun, TTL), None, "the password was changed");
    }

    #[test]
    fn strangers_give_way_before_who_was_proven() {
        let (proven, begun) = (Proven::default(), Instant::now());
        let at = |second| begun + Duration::from_secs(second);
        for (second, name) in [(1, b"a"), (2, b"b")] {
            proven.turn(name, at(second), 3);
            proven.learn(name, password("x"), at(second));
        }
        for stranger in 0..1000_u32 {
            proven.turn(&stranger.to_le_bytes(), at(3), 3);
            assert!(proven.users().len() <= 3, "{stranger}");
        }
        assert!(proven.known(b"a", at(3), TTL).is_some() && proven.known(b"b", at(3), TTL).is_some());
        proven.turn(b"c", at(4), 3);
        proven.learn(b"c", password("x"), at(4));
        proven.turn(b"d", at(5), 3);
        assert_eq!(proven.known(b"a", at(5), TTL), None, "the oldest proof");
        assert!(proven.known(b"b", at(5), TTL).is_some() && proven.known(b"c", at(5), TTL).is_some());
        proven.turn(b"e", at(6), 0);
        assert_eq!(proven.users().len(), 1, "whoever asks has a place");
    }

    #[test]
    fn nothing_of_it_prints_a_secret() {
        let proven = Proven::default();
        proven.turn(b"a", Instant::now(), 3);
        proven.learn(b"a", password("s3cret"), Instant::now());
        proven.refuse(b"a", password("gu3ss"), Verdict::Wrong, Instant::now());
        proven.store(b"a", Stored { native: vec![[0xAB; 20]], other: false }, Instant::now());
        let text = format!("{proven:?}");
        assert!(text.contains("***") && !text.contains("s3cret") && !text.contains("gu3ss"), "{text}");
        assert!(!text.contains("171, 171"), "a stored digest logs nobody in, and is nobody's business: {text}");
    }

    #[test]
    fn addresses_tell_users_apart_where_servers_know_them() {
        let from = |ip: &str| Some(ProxyHeader::Client(format!("{ip}:1").parse().unwrap()));
        assert_eq!(Proven::key(b"a", None), Proven::key(b"a", Some(ProxyHeader::Own)));
        assert_eq!(Proven::key(b"a", from("10.0.0.1")), Proven::key(b"a", from("10.0.0.1")));
        assert_ne!(Proven::key(b"a", from("10.0.0.1")), Proven::key(b"a", from("10.0.0.2")));
        assert_ne!(Proven::key(b"a", from("10.0.0.1")), Proven::key(b"a", None));
    }
}
