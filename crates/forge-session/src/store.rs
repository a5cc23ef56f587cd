//! The contract of a place that keeps sessions.

use std::future::Future;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::kind::Kind;
use crate::secret::{FamilyHash, RotationSalt, SecretHash};
use crate::session::{ClientId, RevokeCause, Session, SessionId, UserId};

pub(crate) mod memory;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

/// What a store's method returns.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Keeps sessions.
///
/// Every method is one atomic step: a reader never sees half of it, and two of them never
/// interleave. A revoked session is a tombstone: no method may change it again, except
/// [`sweep`](Self::sweep), which deletes it. There is no method that writes a whole session, so
/// that a slow request can never bring back what has been revoked meanwhile.
///
/// A session is *live* at a time when it is not revoked and that time is before its
/// [`expires`](Session::expires).
pub trait SessionStore: Send + Sync + 'static {
    /// Stores a new session with the hashes of its secret, after revoking with
    /// [`RevokeCause::Evicted`] as many live sessions of its user and kind as
    /// [`choose_evicted`](crate::choose_evicted) says for `max`. Returns the evicted.
    ///
    /// However many are created at once, at most `max` of them are live afterwards.
    fn create<'a>(
        &'a self,
        session: &'a Session,
        family: FamilyHash,
        secret: SecretHash,
        max: NonZeroU32,
    ) -> StoreFuture<'a, Vec<SessionId>>;

    /// The session whose secrets are of this family, live or not, and which of them this one is.
    fn find_by_secret(
        &self,
        family: FamilyHash,
        secret: SecretHash,
    ) -> StoreFuture<'_, Option<Found>>;

    /// The session with this id, live or not.
    fn find(&self, id: SessionId) -> StoreFuture<'_, Option<Session>>;

    /// The user's sessions live at `now`, the newest first.
    fn list<'a>(&'a self, user: &'a UserId, now: Timestamp) -> StoreFuture<'a, Vec<Session>>;

    /// How many sessions are live at `now`, by kind; kinds that have none may be left out.
    fn count(&self, now: Timestamp) -> StoreFuture<'_, Vec<(Kind, u64)>>;

    /// Replaces a session's secret, if it is live and its secret is still the one expected.
    /// Returns the session as it is then, or `None` when it was not changed.
    ///
    /// The replaced secret becomes the previous one, the salt is kept with it, `generation` grows
    /// by one, `rotated` and `last_used` become `rotation.at`.
    fn rotate<'a>(&'a self, rotation: &'a Rotation) -> StoreFuture<'a, Option<Session>>;

    /// Notes uses of sessions. Each is taken only if its session is live at `now`, whenever the use
    /// was, since another may have been made in the place of one that was over; and only forward:
    /// neither `last_used` nor `idle_expires` ever goes back, and `idle_expires` stays within
    /// `absolute_expires`. Returns how many were taken.
    fn touch<'a>(&'a self, touches: &'a [Touch], now: Timestamp) -> StoreFuture<'a, u64>;

    /// Revokes the selected sessions that are not revoked yet. Returns their ids.
    fn revoke<'a>(
        &'a self,
        selector: &'a Selector,
        cause: RevokeCause,
        at: Timestamp,
    ) -> StoreFuture<'a, Vec<SessionId>>;

    /// Deletes up to `limit` sessions that expired or were revoked before `before`. Returns how
    /// many.
    fn sweep(&self, before: Timestamp, limit: NonZeroU32) -> StoreFuture<'_, u64>;
}

impl<S: SessionStore + ?Sized> SessionStore for Arc<S> {
    fn create<'a>(
        &'a self,
        session: &'a Session,
        family: FamilyHash,
        secret: SecretHash,
        max: NonZeroU32,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        (**self).create(session, family, secret, max)
    }

    fn find_by_secret(
        &self,
        family: FamilyHash,
        secret: SecretHash,
    ) -> StoreFuture<'_, Option<Found>> {
        (**self).find_by_secret(family, secret)
    }

    fn find(&self, id: SessionId) -> StoreFuture<'_, Option<Session>> {
        (**self).find(id)
    }

    fn list<'a>(&'a self, user: &'a UserId, now: Timestamp) -> StoreFuture<'a, Vec<Session>> {
        (**self).list(user, now)
    }

    fn count(&self, now: Timestamp) -> StoreFuture<'_, Vec<(Kind, u64)>> {
        (**self).count(now)
    }

    fn rotate<'a>(&'a self, rotation: &'a Rotation) -> StoreFuture<'a, Option<Session>> {
        (**self).rotate(rotation)
    }

    fn touch<'a>(&'a self, touches: &'a [Touch], now: Timestamp) -> StoreFuture<'a, u64> {
        (**self).touch(touches, now)
    }

    fn revoke<'a>(
        &'a self,
        selector: &'a Selector,
        cause: RevokeCause,
        at: Timestamp,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        (**self).revoke(selector, cause, at)
    }

    fn sweep(&self, before: Timestamp, limit: NonZeroU32) -> StoreFuture<'_, u64> {
        (**self).sweep(before, limit)
    }
}

/// A session found by a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The session.
    pub session: Session,
    /// Which of its secrets it was.
    pub matched: Matched,
    /// The hash of the secret that is valid now.
    pub current: SecretHash,
    /// What the current secret was derived with from the one before; none before the first
    /// rotation.
    pub salt: Option<RotationSalt>,
}

/// Which of a session's secrets was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Matched {
    /// The one that is valid now.
    Current,
    /// The one before, which has been replaced.
    Previous,
    /// None of the two, but of the family: one that was replaced longer ago, or made up by
    /// somebody who has seen one.
    Older,
}

/// A replacement of a session's secret, as a compare-and-set.
#[derive(Clone, Debug)]
pub struct Rotation {
    /// The session.
    pub id: SessionId,
    /// Its generation as last read.
    pub expected_generation: u32,
    /// The hash of its secret as last read.
    pub expected_secret: SecretHash,
    /// The hash of the new secret.
    pub secret: SecretHash,
    /// What the new secret was derived with.
    pub salt: RotationSalt,
    /// When.
    pub at: Timestamp,
    /// When it ends now unless it is used before.
    pub idle_expires: Timestamp,
    /// From where; `None` leaves what is known.
    pub ip: Option<IpAddr>,
    /// With what; `None` leaves what is known.
    pub user_agent: Option<String>,
}

/// A use of a session.
#[derive(Clone, Debug)]
pub struct Touch {
    /// The session.
    pub id: SessionId,
    /// When.
    pub at: Timestamp,
    /// When it ends now unless it is used before.
    pub idle_expires: Timestamp,
    /// From where; `None` leaves what is known.
    pub ip: Option<IpAddr>,
    /// With what; `None` leaves what is known.
    pub user_agent: Option<String>,
}

/// Which sessions to revoke.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Selector {
    /// One session, whoever's it is.
    Session(SessionId),
    /// One session, if it is this user's: for a user who names a session to end.
    SessionOf {
        /// Whose it must be.
        user: UserId,
        /// The session.
        session: SessionId,
    },
    /// All of a user.
    User(UserId),
    /// All of a user of one kind.
    Kind {
        /// Whose.
        user: UserId,
        /// Of which kind.
        kind: Kind,
    },
    /// All of a user that were made for one client.
    Client {
        /// Whose.
        user: UserId,
        /// For which client.
        client: ClientId,
    },
    /// All of a user but one.
    AllBut {
        /// Whose.
        user: UserId,
        /// The one that stays.
        keep: SessionId,
    },
    /// All of everybody: a store does it in one step, whatever their number.
    Everybody,
}

impl Selector {
    /// Whether it selects this session.
    #[must_use]
    pub fn selects(&self, session: &Session) -> bool {
        match self {
            Self::Session(id) => session.id == *id,
            Self::SessionOf { user, session: id } => session.id == *id && session.user == *user,
            Self::User(user) => session.user == *user,
            Self::Kind { user, kind } => session.user == *user && session.kind == *kind,
            Self::Client { user, client } => {
                session.user == *user && session.client.as_ref() == Some(client)
            }
            Self::AllBut { user, keep } => session.user == *user && session.id != *keep,
            Self::Everybody => true,
        }
    }
}
