//! What the tests of this crate share.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use forge_session::{
    AccessTokens, ClientId, Created, Found, Kind, ManualClock, MemorySessionStore, NewSession,
    RevokeCause, Rotation, SecretHash, Selector, Session, SessionEvent, SessionId, SessionStore,
    Sessions, SessionsBuilder, SigningKey, StoreError, StoreFuture, Timestamp, TokenKeys, Touch,
    UserId,
};

pub(crate) const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn client() -> ClientId {
    ClientId::new("inspector").unwrap()
}

pub(crate) fn access_tokens() -> AccessTokens {
    let keys = TokenKeys::new(SigningKey::generate().unwrap());
    AccessTokens::new("https://forge.example", "https://forge.example/mcp", keys)
}

/// Sessions with a clock that stands, a store that can fail, and a record of what happened.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) sessions: Sessions,
    pub(crate) clock: ManualClock,
    pub(crate) store: Faulty,
    pub(crate) events: Arc<Mutex<Vec<SessionEvent>>>,
}

impl Ground {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with(configure: impl FnOnce(SessionsBuilder) -> SessionsBuilder) -> Self {
        let clock = ManualClock::new(T0);
        let store = Faulty::default();
        let events = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&events);
        let builder = Sessions::builder(store.clone())
            .access_tokens(access_tokens())
            .clock(clock.clone())
            .on_event(move |event: &SessionEvent| record.lock().unwrap().push(event.clone()));
        Self {
            sessions: configure(builder).build().unwrap(),
            clock,
            store,
            events,
        }
    }

    pub(crate) async fn web(&self, owner: &str) -> Created {
        let new = NewSession::new(user(owner), Kind::WEB);
        self.sessions.create(new).await.unwrap()
    }

    pub(crate) async fn mcp(&self, owner: &str) -> Created {
        let new = NewSession::new(user(owner), Kind::MCP).client(client());
        self.sessions.create(new).await.unwrap()
    }

    pub(crate) async fn revoke(&self, session: SessionId) {
        let selector = Selector::Session(session);
        let cause = RevokeCause::Admin;
        assert_eq!(self.sessions.revoke(selector, cause).await.unwrap(), 1);
    }

    /// The names of the events so far, which are then forgotten.
    pub(crate) fn told(&self) -> Vec<&'static str> {
        let events = std::mem::take(&mut *self.events.lock().unwrap());
        let name = |event: &SessionEvent| match event {
            SessionEvent::Created { .. } => "created",
            SessionEvent::Evicted { .. } => "evicted",
            SessionEvent::Rotated { .. } => "rotated",
            SessionEvent::Revoked { .. } => "revoked",
            SessionEvent::ReuseDetected { .. } => "reuse",
            SessionEvent::RefreshRejected { .. } => "refresh rejected",
            SessionEvent::Swept { .. } => "swept",
            _ => "other",
        };
        events.iter().map(name).collect()
    }
}

/// A store in memory that fails while it is told to.
#[derive(Clone, Default)]
pub(crate) struct Faulty {
    pub(crate) inner: MemorySessionStore,
    down: Arc<AtomicBool>,
    writes_down: Arc<AtomicBool>,
}

impl Faulty {
    pub(crate) fn fail(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    pub(crate) fn fail_touches(&self, down: bool) {
        self.writes_down.store(down, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("told to fail".into()));
        }
        Ok(())
    }
}

impl SessionStore for Faulty {
    fn create<'a>(
        &'a self,
        session: &'a Session,
        secret: SecretHash,
        max: NonZeroU32,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move {
            self.check()?;
            self.inner.create(session, secret, max).await
        })
    }

    fn find_by_secret(&self, secret: SecretHash) -> StoreFuture<'_, Option<Found>> {
        Box::pin(async move {
            self.check()?;
            self.inner.find_by_secret(secret).await
        })
    }

    fn find(&self, id: SessionId) -> StoreFuture<'_, Option<Session>> {
        Box::pin(async move {
            self.check()?;
            self.inner.find(id).await
        })
    }

    fn list<'a>(&'a self, user: &'a UserId, now: Timestamp) -> StoreFuture<'a, Vec<Session>> {
        Box::pin(async move {
            self.check()?;
            self.inner.list(user, now).await
        })
    }

    fn rotate<'a>(&'a self, rotation: &'a Rotation) -> StoreFuture<'a, Option<Session>> {
        Box::pin(async move {
            self.check()?;
            self.inner.rotate(rotation).await
        })
    }

    fn touch<'a>(&'a self, touches: &'a [Touch]) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            self.check()?;
            if self.writes_down.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("told to fail".into()));
            }
            self.inner.touch(touches).await
        })
    }

    fn revoke<'a>(
        &'a self,
        selector: &'a Selector,
        cause: RevokeCause,
        at: Timestamp,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move {
            self.check()?;
            self.inner.revoke(selector, cause, at).await
        })
    }

    fn sweep(&self, before: Timestamp, limit: NonZeroU32) -> StoreFuture<'_, u64> {
        Box::pin(async move {
            self.check()?;
            self.inner.sweep(before, limit).await
        })
    }
}
