//! What the tests of this crate share.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tower::{Layer, ServiceExt};

use forge_session::{
    AccessTokens, ClientId, Created, FamilyHash, Found, Kind, ManualClock, MemorySessionStore,
    NewSession, RevokeCause, Rotation, SecretHash, Selector, Session, SessionEvent, SessionId,
    SessionLayer, SessionStore, Sessions, SessionsBuilder, SigningKey, StoreError, StoreFuture,
    Timestamp, TokenKeys, Touch, UserId,
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

    /// Lets half a day pass, and replaces a cookie's secret; returns the new one.
    pub(crate) async fn rotate_behind(&self, created: &Created) -> SecretString {
        self.clock.advance(Duration::from_secs(12 * 3600));
        let layer = SessionLayer::new(self.sessions.clone());
        let inner = tower::service_fn(async |_: http::Request<()>| {
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::<Bytes>::default()))
        });
        let cookie = format!("__Host-forge={}", created.secret.expose_secret());
        let request = http::Request::get("/").header("cookie", cookie).body(());
        let response = layer.layer(inner).oneshot(request.unwrap()).await.unwrap();
        let field = response.headers()["set-cookie"].to_str().unwrap();
        let secret = field.strip_prefix("__Host-forge=").unwrap();
        secret.split(';').next().unwrap().into()
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
            SessionEvent::ReuseTolerated { .. } => "reuse tolerated",
            SessionEvent::Threat { .. } => "threat",
            _ => "other",
        };
        let of_interest = |event: &&SessionEvent| {
            !matches!(
                event,
                SessionEvent::Validated { .. } | SessionEvent::Counted { .. }
            )
        };
        events.iter().filter(of_interest).map(name).collect()
    }
}

/// A store in memory that fails while it is told to.
#[derive(Clone, Default)]
pub(crate) struct Faulty {
    pub(crate) inner: MemorySessionStore,
    down: Arc<AtomicBool>,
    writes_down: Arc<AtomicBool>,
    revocations_down: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    touches: Arc<AtomicUsize>,
}

impl Faulty {
    pub(crate) fn fail(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// How often a session was looked up.
    pub(crate) fn reads(&self) -> usize {
        self.reads.load(Ordering::SeqCst)
    }

    /// How many batches of uses were written.
    pub(crate) fn touches(&self) -> usize {
        self.touches.load(Ordering::SeqCst)
    }

    pub(crate) fn fail_revocations(&self, down: bool) {
        self.revocations_down.store(down, Ordering::SeqCst);
    }

    /// Revokes as another process would.
    pub(crate) async fn revoke_behind(&self, selector: &Selector) {
        let cause = RevokeCause::SignOut;
        self.inner.revoke(selector, cause, T0).await.unwrap();
    }

    pub(crate) fn fail_writes(&self, down: bool) {
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
        family: FamilyHash,
        secret: SecretHash,
        max: NonZeroU32,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move {
            self.check()?;
            self.inner.create(session, family, secret, max).await
        })
    }

    fn find_by_secret(
        &self,
        family: FamilyHash,
        secret: SecretHash,
    ) -> StoreFuture<'_, Option<Found>> {
        Box::pin(async move {
            self.check()?;
            self.reads.fetch_add(1, Ordering::SeqCst);
            self.inner.find_by_secret(family, secret).await
        })
    }

    fn count(&self, now: Timestamp) -> StoreFuture<'_, Vec<(Kind, u64)>> {
        Box::pin(async move {
            self.check()?;
            self.inner.count(now).await
        })
    }

    fn find(&self, id: SessionId) -> StoreFuture<'_, Option<Session>> {
        Box::pin(async move {
            self.check()?;
            self.reads.fetch_add(1, Ordering::SeqCst);
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
            if self.writes_down.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("told to fail".into()));
            }
            self.inner.rotate(rotation).await
        })
    }

    fn touch<'a>(&'a self, touches: &'a [Touch], now: Timestamp) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            self.check()?;
            if self.writes_down.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("told to fail".into()));
            }
            self.touches.fetch_add(1, Ordering::SeqCst);
            self.inner.touch(touches, now).await
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
            if self.revocations_down.load(Ordering::SeqCst) {
                return Err(StoreError::Unavailable("told to fail".into()));
            }
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

/// A way into a store that can be closed: reads that are done wait before they are told, and
/// revocations wait before they are done.
#[derive(Clone)]
pub(crate) struct Gate {
    closed: watch::Sender<bool>,
    waiting: watch::Sender<usize>,
}

impl Default for Gate {
    fn default() -> Self {
        Self {
            closed: watch::Sender::new(false),
            waiting: watch::Sender::new(0),
        }
    }
}

impl Gate {
    pub(crate) fn around(&self, inner: Faulty) -> Gated {
        let gate = self.clone();
        Gated { gate, inner }
    }

    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    pub(crate) fn open(&self) {
        self.closed.send_replace(false);
    }

    pub(crate) async fn someone_waits(&self) {
        let mut waiting = self.waiting.subscribe();
        waiting.wait_for(|count| *count > 0).await.unwrap();
    }

    async fn pass(&self) {
        self.waiting.send_modify(|count| *count += 1);
        let mut closed = self.closed.subscribe();
        closed.wait_for(|closed| !closed).await.unwrap();
        self.waiting.send_modify(|count| *count -= 1);
    }
}

/// A store behind a [`Gate`]. Only the slow read waits: a revocation passes as long as a read
/// waits, so that it can overtake it.
pub(crate) struct Gated {
    gate: Gate,
    inner: Faulty,
}

impl SessionStore for Gated {
    fn create<'a>(
        &'a self,
        session: &'a Session,
        family: FamilyHash,
        secret: SecretHash,
        max: NonZeroU32,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        self.inner.create(session, family, secret, max)
    }

    fn find_by_secret(
        &self,
        family: FamilyHash,
        secret: SecretHash,
    ) -> StoreFuture<'_, Option<Found>> {
        Box::pin(async move {
            let found = self.inner.find_by_secret(family, secret).await;
            self.gate.pass().await;
            found
        })
    }

    fn find(&self, id: SessionId) -> StoreFuture<'_, Option<Session>> {
        self.inner.find(id)
    }

    fn list<'a>(&'a self, user: &'a UserId, now: Timestamp) -> StoreFuture<'a, Vec<Session>> {
        self.inner.list(user, now)
    }

    fn count(&self, now: Timestamp) -> StoreFuture<'_, Vec<(Kind, u64)>> {
        self.inner.count(now)
    }

    fn rotate<'a>(&'a self, rotation: &'a Rotation) -> StoreFuture<'a, Option<Session>> {
        self.inner.rotate(rotation)
    }

    fn touch<'a>(&'a self, touches: &'a [Touch], now: Timestamp) -> StoreFuture<'a, u64> {
        self.inner.touch(touches, now)
    }

    fn revoke<'a>(
        &'a self,
        selector: &'a Selector,
        cause: RevokeCause,
        at: Timestamp,
    ) -> StoreFuture<'a, Vec<SessionId>> {
        Box::pin(async move {
            if *self.gate.waiting.borrow() == 0 {
                self.gate.pass().await;
            }
            self.inner.revoke(selector, cause, at).await
        })
    }

    fn sweep(&self, before: Timestamp, limit: NonZeroU32) -> StoreFuture<'_, u64> {
        self.inner.sweep(before, limit)
    }
}
