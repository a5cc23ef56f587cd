//! Sessions in memory: for tests, and for services that may lose them with a restart.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::Timestamp;
use crate::kind::Kind;
use crate::policy::choose_evicted;
use crate::secret::{FamilyHash, RotationSalt, SecretHash};
use crate::session::{RevokeCause, Session, SessionId, UserId};
use crate::store::{Found, Matched, Rotation, Selector, SessionStore, StoreFuture, Touch};

/// Sessions in this process's memory. Clones share them.
///
/// Not bounded by itself: what bounds it is the number of users times the policies' limits, plus
/// what is over and not yet swept.
#[derive(Clone, Default)]
pub struct MemorySessionStore {
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    rows: HashMap<SessionId, Row>,
    by_family: HashMap<FamilyHash, SessionId>,
}

struct Row {
    session: Session,
    family: FamilyHash,
    current: SecretHash,
    previous: Option<(SecretHash, RotationSalt)>,
}

impl MemorySessionStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A panic while the lock was held cannot leave a row half written: every change is made of
    /// plain assignments.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SessionStore for MemorySessionStore {
    fn create<'a>(
        &'a self,
        session: &'a Session,
        family: FamilyHash,
        secret: SecretHash,
        max: NonZeroU32,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move { Ok(self.table().create(session, family, secret, max)) })
    }

    fn find_by_secret(
        &self,
        family: FamilyHash,
        secret: SecretHash,
    ) -> StoreFuture<'_, Option<Found>> {
        Box::pin(async move { Ok(self.table().find_by_secret(family, secret)) })
    }

    fn find(&self, id: SessionId) -> StoreFuture<'_, Option<Session>> {
        Box::pin(async move { Ok(self.table().rows.get(&id).map(|row| row.session.clone())) })
    }

    fn list<'a>(&'a self, user: &'a UserId, now: Timestamp) -> StoreFuture<'a, Vec<Session>> {
        Box::pin(async move {
            let table = self.table();
            let live = table
                .sessions()
                .filter(|s| s.user == *user && s.is_live(now));
            let mut live: Vec<_> = live.cloned().collect();
            live.sort_by_key(|s| Reverse((s.created, s.id)));
            Ok(live)
        })
    }

    fn count(&self, now: Timestamp) -> StoreFuture<'_, Vec<(Kind, u64)>> {
        Box::pin(async move {
            let mut counts: Vec<(Kind, u64)> = Vec::new();
            for session in self.table().sessions().filter(|s| s.is_live(now)) {
                match counts.iter_mut().find(|(kind, _)| *kind == session.kind) {
                    Some((_, count)) => *count += 1,
                    None => counts.push((session.kind.clone(), 1)),
                }
            }
            counts.sort();
            Ok(counts)
        })
    }

    fn rotate<'a>(&'a self, rotation: &'a Rotation) -> StoreFuture<'a, Option<Session>> {
        Box::pin(async move { Ok(self.table().rotate(rotation)) })
    }

    fn touch<'a>(&'a self, touches: &'a [Touch], now: Timestamp) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let mut table = self.table();
            let taken = touches.iter().filter(|touch| table.touch(touch, now));
            Ok(taken.count() as u64)
        })
    }

    fn revoke<'a>(
        &'a self,
        selector: &'a Selector,
        cause: RevokeCause,
        at: Timestamp,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move {
            let mut table = self.table();
            let sessions = table.rows.values_mut().map(|row| &mut row.session);
            let selected = sessions.filter(|s| s.revoked.is_none() && selector.selects(s));
            let revoked = selected.map(|session| {
                session.revoked = Some((at, cause));
                session.id
            });
            Ok(revoked.collect())
        })
    }

    fn sweep(&self, before: Timestamp, limit: NonZeroU32) -> StoreFuture<'_, u64> {
        Box::pin(async move { Ok(self.table().sweep(before, limit)) })
    }
}

impl Table {
    fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.rows.values().map(|row| &row.session)
    }

    fn create(
        &mut self,
        session: &Session,
        family: FamilyHash,
        secret: SecretHash,
        max: NonZeroU32,
    ) -> Vec<SessionId> {
        let now = session.created;
        let same = |s: &&Session| s.user == session.user && s.kind == session.kind;
        let mut live: Vec<_> = self
            .sessions()
            .filter(same)
            .filter(|s| s.is_live(now))
            .collect();
        live.sort_by_key(|s| (s.created, s.id));
        let live: Vec<_> = live.into_iter().map(|s| (s.id, s.client.clone())).collect();
        let evicted = choose_evicted(&live, session.client.as_ref(), max);
        for id in &evicted {
            if let Some(row) = self.rows.get_mut(id) {
                row.session.revoked = Some((now, RevokeCause::Evicted));
            }
        }
        let row = Row {
            session: session.clone(),
            family,
            current: secret,
            previous: None,
        };
        self.by_family.insert(family, session.id);
        self.rows.insert(session.id, row);
        evicted
    }

    fn find_by_secret(&self, family: FamilyHash, secret: SecretHash) -> Option<Found> {
        let row = self.rows.get(self.by_family.get(&family)?)?;
        let matched = match row.previous {
            _ if row.current == secret => Matched::Current,
            Some((previous, _)) if previous == secret => Matched::Previous,
            _ => Matched::Older,
        };
        Some(Found {
            session: row.session.clone(),
            matched,
            current: row.current,
            salt: row.previous.map(|(_, salt)| salt),
        })
    }

    fn rotate(&mut self, rotation: &Rotation) -> Option<Session> {
        let row = self.rows.get_mut(&rotation.id).filter(|row| {
            row.session.is_live(rotation.at)
                && row.session.generation == rotation.expected_generation
                && row.current == rotation.expected_secret
        })?;
        row.previous = Some((row.current, rotation.salt));
        row.current = rotation.secret;
        let session = &mut row.session;
        session.generation += 1;
        session.rotated = Some(rotation.at);
        forward(session, rotation.at, rotation.idle_expires);
        see(session, rotation.ip, rotation.user_agent.as_deref());
        Some(session.clone())
    }

    fn touch(&mut self, touch: &Touch, now: Timestamp) -> bool {
        let Some(row) = self.rows.get_mut(&touch.id) else {
            return false;
        };
        let session = &mut row.session;
        if !session.is_live(now) || touch.at <= session.last_used {
            return false;
        }
        forward(session, touch.at, touch.idle_expires);
        see(session, touch.ip, touch.user_agent.as_deref());
        true
    }

    fn sweep(&mut self, before: Timestamp, limit: NonZeroU32) -> u64 {
        let is_over = |s: &&Session| {
            s.expires() < before || s.revoked.is_some_and(|(revoked, _)| revoked < before)
        };
        let limit = usize::try_from(limit.get()).unwrap_or(usize::MAX);
        let over: Vec<_> = self
            .sessions()
            .filter(is_over)
            .map(|s| s.id)
            .take(limit)
            .collect();
        for row in over.iter().filter_map(|id| self.rows.remove(id)) {
            self.by_family.remove(&row.family);
        }
        over.len() as u64
    }
}

/// Moves the times of a session forward, never back.
fn forward(session: &mut Session, at: Timestamp, idle_expires: Timestamp) {
    session.last_used = session.last_used.max(at);
    let idle_expires = idle_expires.min(session.absolute_expires);
    session.idle_expires = session.idle_expires.max(idle_expires);
}

fn see(session: &mut Session, ip: Option<IpAddr>, user_agent: Option<&str>) {
    session.last_ip = ip.or(session.last_ip);
    if let Some(user_agent) = user_agent {
        session.user_agent = Some(user_agent.to_owned());
    }
}

impl fmt::Debug for MemorySessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemorySessionStore").finish_non_exhaustive()
    }
}
