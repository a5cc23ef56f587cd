//! What is remembered of the store, so that not every request has to ask it.
//!
//! Only what was read and has not changed since on this node is remembered: a read that a
//! revocation overtook is not. Nothing is ever remembered as *not* good.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Timestamp;
use crate::secret::{FamilyHash, SecretHash};
use crate::session::{Session, SessionId};
use crate::store::{Selector, Touch};

/// How long nothing is remembered after a change that was given up half way: by then the store has
/// finished, or undone, what it was asked for.
const UNSETTLED: Duration = Duration::from_secs(60);

/// A map that keeps the most recent entries, between half and all of its capacity.
///
/// What is looked up moves to the young half; when that is full the old half is forgotten. So
/// each operation takes the same time, whatever the number of entries.
pub(crate) struct Recent<K, V> {
    young: HashMap<K, V, BuildHasherDefault<Fold>>,
    old: HashMap<K, V, BuildHasherDefault<Fold>>,
    half: usize,
}

/// A hash for keys that are random, or a hash, already. Only what was found good is ever inserted,
/// so nobody can fill a map with keys that collide.
#[derive(Default)]
pub(crate) struct Fold(u64);

impl Hasher for Fold {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        // A multiplication carries each bit of the key into the upper bits, which the map uses too.
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }

    fn write_usize(&mut self, _: usize) {
        // The length of the key, which is the same for all.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<K: Eq + Hash, V> Recent<K, V> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            half: capacity.div_ceil(2),
        }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let (key, value) = self.old.remove_entry(key)?;
            self.insert(key, value);
        }
        self.young.get_mut(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.young.remove(key).or_else(|| self.old.remove(key))
    }

    fn retain(&mut self, mut keep: impl FnMut(&V) -> bool) {
        self.young.retain(|_, value| keep(value));
        self.old.retain(|_, value| keep(value));
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

/// The sessions that were looked up lately, and the uses of them that are not written yet.
pub(crate) struct Cache {
    inner: Mutex<Inner>,
    ttl: Duration,
}

struct Inner {
    sessions: Recent<SessionId, Entry>,
    families: Recent<FamilyHash, SessionId>,
    touches: HashMap<SessionId, Touch>,
    /// When touches were written last.
    flushed: Option<Timestamp>,
    /// How often something was revoked.
    changes: u64,
    /// How many revocations are under way.
    changing: usize,
    unsettled_until: Option<Timestamp>,
}

struct Entry {
    session: Arc<Session>,
    current: Option<SecretHash>,
    loaded: Timestamp,
}

/// The state of the cache before the store was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen(u64);

impl Cache {
    pub(crate) fn new(capacity: usize, ttl: Duration) -> Self {
        let capacity = if ttl.is_zero() { 0 } else { capacity };
        Self {
            inner: Mutex::new(Inner {
                sessions: Recent::new(capacity),
                families: Recent::new(capacity),
                touches: HashMap::new(),
                flushed: None,
                changes: 0,
                changing: 0,
                unsettled_until: None,
            }),
            ttl,
        }
    }

    /// Whether anything was revoked since.
    pub(crate) fn changed_since(&self, seen: Seen) -> bool {
        self.inner().changes != seen.0
    }

    /// The session whose current secret this is.
    pub(crate) fn by_secret(
        &self,
        family: FamilyHash,
        secret: SecretHash,
        now: Timestamp,
    ) -> (Seen, Option<Arc<Session>>) {
        let mut inner = self.inner();
        let seen = Seen(inner.changes);
        let Some(id) = inner.families.get(&family).copied() else {
            return (seen, None);
        };
        let entry = inner.fresh(id, now, self.ttl);
        let entry = entry.filter(|entry| entry.current == Some(secret));
        (seen, entry.map(|entry| Arc::clone(&entry.session)))
    }

    pub(crate) fn by_id(&self, id: SessionId, now: Timestamp) -> (Seen, Option<Arc<Session>>) {
        let mut inner = self.inner();
        let seen = Seen(inner.changes);
        let entry = inner.fresh(id, now, self.ttl);
        (seen, entry.map(|entry| Arc::clone(&entry.session)))
    }

    /// Remembers a session that was found good, unless something was revoked since it was read.
    pub(crate) fn remember(
        &self,
        seen: Seen,
        session: &Arc<Session>,
        secret: Option<(FamilyHash, SecretHash)>,
        now: Timestamp,
    ) {
        let mut inner = self.inner();
        let unsettled = inner.unsettled_until.is_some_and(|until| now < until);
        if inner.changes != seen.0 || inner.changing > 0 || unsettled {
            return;
        }
        if let Some((family, _)) = secret {
            inner.families.insert(family, session.id);
        }
        let entry = Entry {
            session: Arc::clone(session),
            current: secret.map(|(_, current)| current),
            loaded: now,
        };
        inner.sessions.insert(session.id, entry);
    }

    /// Queues a use of a session. Returns whether it is time to write: when that was not done for
    /// so long, or when so many wait.
    pub(crate) fn touch(&self, touch: Touch, wait: Duration, max: usize) -> bool {
        let mut inner = self.inner();
        if let Some(entry) = inner.sessions.get(&touch.id) {
            let mut session = Session::clone(&entry.session);
            session.last_used = touch.at.max(session.last_used);
            session.idle_expires = touch.idle_expires.max(session.idle_expires);
            session.last_ip = touch.ip.or(session.last_ip);
            if touch.user_agent.is_some() {
                session.user_agent.clone_from(&touch.user_agent);
            }
            entry.session = Arc::new(session);
        }
        let now = touch.at;
        inner.touches.insert(touch.id, touch);
        let flushed = inner.flushed;
        inner.touches.len() >= max || flushed.is_none_or(|at| now.duration_since(at) >= wait)
    }

    /// The uses that are not written yet, which are then forgotten here.
    pub(crate) fn take_touches(&self, now: Timestamp) -> Vec<Touch> {
        let mut inner = self.inner();
        inner.flushed = Some(now);
        std::mem::take(&mut inner.touches).into_values().collect()
    }

    /// Takes back what could not be written, as far as there is nothing newer.
    pub(crate) fn put_touches_back(&self, touches: Vec<Touch>, max: usize) {
        let mut inner = self.inner();
        for touch in touches {
            if inner.touches.len() < max {
                inner.touches.entry(touch.id).or_insert(touch);
            }
        }
    }

    /// Announces that sessions are about to be revoked: until the end nothing new is remembered.
    pub(crate) fn begin_change(&self) {
        self.inner().changing += 1;
    }

    /// Forgets sessions after they were revoked. When `given_up_at` is set nobody waited for the
    /// store to say so.
    pub(crate) fn end_change(&self, selector: &Selector, given_up_at: Option<Timestamp>) {
        let mut inner = self.inner();
        inner.changing -= 1;
        if let Some(now) = given_up_at {
            inner.unsettled_until = Some(now + UNSETTLED);
        }
        inner.forget(selector);
    }

    /// Nothing was revoked after all.
    pub(crate) fn end_without_change(&self) {
        self.inner().changing -= 1;
    }

    /// Forgets sessions that another node revoked.
    pub(crate) fn forget(&self, selector: &Selector) {
        self.inner().forget(selector);
    }

    /// A panic while the lock was held cannot leave more than one entry missing.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn fresh(&mut self, id: SessionId, now: Timestamp, ttl: Duration) -> Option<&Entry> {
        // A clock that was set back makes everything stale, not fresh for longer.
        let entry = self.sessions.get(&id)?;
        (now >= entry.loaded && now.duration_since(entry.loaded) < ttl).then_some(entry)
    }

    fn forget(&mut self, selector: &Selector) {
        self.changes += 1;
        match selector {
            Selector::Session(id) => drop(self.sessions.remove(id)),
            _ => self
                .sessions
                .retain(|entry| !selector.selects(&entry.session)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn never_holds_more_than_its_capacity_and_always_the_latest_half(
            keys in proptest::collection::vec(0..50u8, 0..300),
            capacity in 0..20usize,
        ) {
            let mut recent = Recent::new(capacity);
            let mut order: Vec<u8> = Vec::new();
            for key in keys {
                if recent.get(&key).is_none() {
                    recent.insert(key, key);
                }
                order.retain(|k| *k != key);
                order.push(key);
                prop_assert!(recent.len() <= capacity + 1);
                for key in order.iter().rev().take(capacity.div_ceil(2)) {
                    let held = recent.young.contains_key(key) || recent.old.contains_key(key);
                    prop_assert!(held);
                }
            }
        }
    }
}
