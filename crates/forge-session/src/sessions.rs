//! The handle: make, check, refresh, list and revoke sessions.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::access_token::{AccessToken, AccessTokens};
use crate::cache::Cache;
use crate::clock::{Clock, Timestamp};
use crate::error::{CreateError, IssueError, Rejection, StoreError};
use crate::kind::Kind;
use crate::on_event::{OnEvent, OnRevoked, SessionEvent};
use crate::policy::{Carrier, KindPolicy};
use crate::scopes::Scopes;
use crate::secret::Secret;
use crate::session::{Caller, ClientId, RevokeCause, Session, SessionId, UserId};
use crate::sessions::builder::SessionsBuilder;
use crate::store::{Selector, SessionStore, Touch};
use crate::threat::{Sightings, ThreatPolicy};
use crate::ticket::Tickets;
use crate::watch::Watchers;

pub(crate) mod authenticate;
pub(crate) mod builder;
pub(crate) mod refresh;
pub(crate) mod rotate;
mod threats;
mod tickets;

/// How many rows one step of a sweep deletes, so that it holds the writer for a few milliseconds at
/// most; `benches/validation.rs` measures it.
const SWEEP_BATCH: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// How many uses wait at most to be written.
const MAX_TOUCHES: usize = 256;

/// All that can be done with sessions. Clones share the store, the cache, the policies and the
/// keys.
///
/// # What is remembered
///
/// A session that was found good is not looked up again for a few seconds (see
/// [`SessionsBuilder::cache`]). A revocation through this handle, or a clone of it, holds from the
/// next request on all the same. Where several processes share a store, let
/// [`SessionsBuilder::on_revoked`] tell the others, who call [`invalidate`](Self::invalidate);
/// without that they know when what they remember is over. With `PostgresSessionStore` the database
/// tells them: spawn its `follow`.
///
/// Uses of sessions are written in batches, see [`touch`](Self::touch): call
/// [`flush`](Self::flush) every few seconds and before the process ends.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn SessionStore>,
    /// A handful: looking through them is faster than hashing.
    policies: Vec<(Kind, KindPolicy)>,
    access_tokens: Option<AccessTokens>,
    retention: Duration,
    write_behind: Duration,
    clock: Arc<dyn Clock>,
    on_event: Arc<dyn OnEvent>,
    on_revoked: Arc<dyn OnRevoked>,
    threat_policy: Arc<dyn ThreatPolicy>,
    cache: Cache,
    sightings: Sightings,
    tickets: Tickets,
    watchers: Arc<Watchers>,
}

impl Sessions {
    /// Sessions kept in `store`, with the default policies for [`Kind::WEB`] and [`Kind::MCP`].
    pub fn builder(store: impl SessionStore) -> SessionsBuilder {
        SessionsBuilder::new(store)
    }

    /// Makes a session and its secret.
    ///
    /// For a kind with cookies, give the secret to
    /// [`SessionCookie::set_cookie`](crate::SessionCookie::set_cookie); otherwise it is the first
    /// refresh token. It cannot be shown again. A user who has as many sessions of the kind as its
    /// policy allows loses the oldest, those of the same client first.
    ///
    /// # Errors
    ///
    /// [`CreateError`]; then no session was made, unless the store failed after it had written.
    pub async fn create(&self, new: NewSession) -> Result<Created, CreateError> {
        let policy = self.policy(&new.kind).ok_or(CreateError::UnknownKind)?;
        if policy.carrier == Carrier::Bearer && new.client.is_none() {
            return Err(CreateError::MissingClient);
        }
        let now = self.now();
        let secret = Secret::generate()?;
        let absolute_expires = now + policy.absolute;
        let session = Session {
            id: SessionId::new(),
            user: new.user,
            kind: new.kind,
            client: new.client,
            scopes: new.scopes,
            created: now,
            last_used: now,
            idle_expires: (now + policy.idle).min(absolute_expires),
            absolute_expires,
            created_ip: new.caller.ip(),
            last_ip: new.caller.ip(),
            created_user_agent: new.caller.user_agent().map(str::to_owned),
            user_agent: new.caller.user_agent().map(str::to_owned),
            generation: 0,
            rotated: None,
            revoked: None,
        };
        let selector = Selector::Kind {
            user: session.user.clone(),
            kind: session.kind.clone(),
        };
        let change = self.begin_change(selector);
        let store = &self.shared.store;
        let (family, hash, max) = (secret.family(), secret.hash(), policy.max_per_user);
        let evicted = store.create(&session, family, hash, max).await?;
        change.end(evicted.iter().map(|id| Selector::Session(*id)));
        self.tell(&SessionEvent::Created {
            session: session.clone(),
        });
        for id in &evicted {
            self.tell(&SessionEvent::Evicted {
                session: *id,
                by: session.clone(),
            });
        }
        Ok(Created {
            session,
            secret: secret.reveal(),
            evicted,
        })
    }

    /// Issues an access token for a live session of a kind that bears them, with all its scopes.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    pub fn issue_access_token(&self, session: &Session) -> Result<AccessToken, IssueError> {
        self.issue_access_token_for(session, session.scopes.as_ref())
    }

    /// Issues an access token that is good for these scopes, of those the session has; without
    /// scopes for everything, if that is what the session is good for.
    ///
    /// # Errors
    ///
    /// [`IssueError`]; [`IssueError::NotEntitled`] also for a scope the session has not.
    pub fn issue_access_token_for(
        &self,
        session: &Session,
        scopes: Option<&Scopes>,
    ) -> Result<AccessToken, IssueError> {
        let tokens = self.shared.access_tokens.as_ref();
        let tokens = tokens.ok_or(IssueError::NotConfigured)?;
        let policy = self.policy(&session.kind);
        let policy = policy.filter(|policy| policy.carrier == Carrier::Bearer);
        let policy = policy.ok_or(IssueError::NotEntitled)?;
        let now = self.now();
        if !session.is_live(now) || !session.has_scopes(scopes) {
            return Err(IssueError::NotEntitled);
        }
        tokens.issue(session, scopes, policy.access_ttl, now)
    }

    /// The user's live sessions, the newest first, with the uses that were waiting to be written.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn list(&self, user: &UserId) -> Result<Vec<Session>, StoreError> {
        if let Err(error) = self.flush().await {
            warn_not_noted(&error);
        }
        self.shared.store.list(user, self.now()).await
    }

    /// Ends sessions, for good, with the next request. Returns how many were ended.
    ///
    /// What waits for their end is told: [`Authenticated::revoked`](crate::Authenticated::revoked)
    /// and [`OnRevoked`].
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn revoke(
        &self,
        selector: Selector,
        cause: RevokeCause,
    ) -> Result<usize, StoreError> {
        let change = self.begin_change(selector.clone());
        let store = &self.shared.store;
        let sessions = store.revoke(&selector, cause, self.now()).await?;
        change.end([selector.clone()]);
        let count = sessions.len();
        if count > 0 {
            self.tell(&SessionEvent::Revoked {
                selector,
                cause,
                sessions,
            });
        }
        Ok(count)
    }

    /// Forgets what is remembered of these sessions, and tells whoever waits for their end: another
    /// node has revoked them.
    pub fn invalidate(&self, selector: &Selector) {
        self.shared.cache.forget(selector);
        self.shared.watchers.end(selector);
    }

    /// Forgets all that is remembered, and looks up each session whose end somebody waits for: for
    /// a node that may have missed what others revoked.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails; then who waits was not told of every end.
    pub async fn recheck(&self) -> Result<(), StoreError> {
        self.shared.cache.forget(&Selector::Everybody);
        for id in self.shared.watchers.watched() {
            let found = self.shared.store.find(id).await?;
            if found.is_none_or(|session| session.revoked.is_some()) {
                self.shared.watchers.end(&Selector::Session(id));
            }
        }
        Ok(())
    }

    /// Notes that a session is used, which puts off its idle expiry.
    ///
    /// Noted at most once a minute for each session, so `last_used` may be that much behind; and
    /// written at most every few seconds, all together (see [`SessionsBuilder::write_behind`]), or
    /// with [`flush`](Self::flush). What a crash loses makes sessions expire that much earlier. A
    /// session that is over when it is written stays over.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails; then the batch is kept for the next time.
    pub async fn touch(&self, session: &Session, caller: &Caller) -> Result<(), StoreError> {
        let Some(policy) = self.policy(&session.kind) else {
            return Ok(());
        };
        let now = self.now();
        if now.duration_since(session.last_used) < policy.touch_interval() {
            return Ok(());
        }
        let touch = Touch {
            id: session.id,
            at: now,
            idle_expires: (now + policy.idle).min(session.absolute_expires),
            ip: caller.ip(),
            user_agent: caller.user_agent().map(str::to_owned),
        };
        let shared = &self.shared;
        // What is written after the session is over is not taken.
        let soon = session.idle_expires.duration_since(now) < shared.write_behind * 2;
        let due = shared.cache.touch(touch, shared.write_behind, MAX_TOUCHES);
        if due || soon {
            self.flush().await?;
        }
        Ok(())
    }

    /// Writes the uses of sessions that were noted and not written yet.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails; then they are kept for the next time.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let now = self.now();
        let mut batch = Batch {
            cache: &self.shared.cache,
            touches: self.shared.cache.take_touches(now),
        };
        if !batch.touches.is_empty() {
            self.shared.store.touch(&batch.touches, now).await?;
            batch.touches.clear();
        }
        Ok(())
    }

    /// Deletes the sessions that have been over for the retention time, a small batch at a time,
    /// and counts those that are live. Returns how many are deleted. Call it about once an hour.
    ///
    /// One batch follows the other at once. Where others write to the same database, take
    /// [`sweep_step`](Self::sweep_step), and pause.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails; what was deleted until then stays deleted.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        while let Some(deleted) = self.sweep_step().await? {
            count += deleted;
        }
        Ok(count)
    }

    /// One step of a [`sweep`](Self::sweep): deletes a batch, which holds the writer of a database
    /// for a few milliseconds at most. Returns how many are deleted; nothing once no more were
    /// found, and then those that are live are counted.
    ///
    /// # Errors
    ///
    /// As [`sweep`](Self::sweep).
    pub async fn sweep_step(&self) -> Result<Option<u64>, StoreError> {
        let before = self.now().saturating_sub(self.shared.retention);
        let count = self.shared.store.sweep(before, SWEEP_BATCH).await?;
        if count > 0 {
            self.tell(&SessionEvent::Swept { count });
            return Ok(Some(count));
        }
        let live = self.shared.store.count(self.now()).await?;
        self.tell(&SessionEvent::Counted { live });
        Ok(None)
    }

    /// The policy of a kind.
    #[must_use]
    pub fn policy(&self, kind: &Kind) -> Option<&KindPolicy> {
        let mut policies = self.shared.policies.iter();
        policies
            .find(|(of, _)| of == kind)
            .map(|(_, policy)| policy)
    }

    /// The issuer of access tokens, where there is one; its keys give the JWK Set.
    #[must_use]
    pub fn access_tokens(&self) -> Option<&AccessTokens> {
        self.shared.access_tokens.as_ref()
    }

    /// A kind without a policy is admitted nowhere.
    fn admit(&self, session: &Session, carrier: Carrier) -> Result<&KindPolicy, Rejection> {
        let policy = self.policy(&session.kind).ok_or(Rejection::WrongKind)?;
        if policy.carrier != carrier {
            return Err(Rejection::WrongCarrier);
        }
        if session.revoked.is_some() {
            return Err(Rejection::Revoked);
        }
        if !session.is_live(self.now()) {
            return Err(Rejection::Expired);
        }
        Ok(policy)
    }

    fn begin_change(&self, selector: Selector) -> Change {
        self.shared.cache.begin_change();
        Change {
            shared: Arc::clone(&self.shared),
            selector: Some(selector),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn tell(&self, event: &SessionEvent) {
        self.shared.on_event.on_event(event);
    }
}

/// A revocation under way. When it is dropped before its end, the store may or may not have done
/// it: what it was about is forgotten here, and nothing new is remembered for a while.
struct Change {
    shared: Arc<Shared>,
    selector: Option<Selector>,
}

impl Change {
    /// The store has said what was revoked.
    fn end(mut self, revoked: impl IntoIterator<Item = Selector>) {
        self.selector = None;
        let mut begun = true;
        for selector in revoked {
            if std::mem::take(&mut begun) {
                self.shared.cache.end_change(&selector, None);
            } else {
                self.shared.cache.forget(&selector);
            }
            self.shared.watchers.end(&selector);
            self.shared.on_revoked.on_revoked(&selector);
        }
        if begun {
            self.shared.cache.end_without_change();
        }
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        if let Some(selector) = self.selector.take() {
            let now = self.shared.clock.now();
            self.shared.cache.end_change(&selector, Some(now));
            self.shared.watchers.end(&selector);
            self.shared.on_revoked.on_revoked(&selector);
        }
    }
}

/// Uses that are being written; those that are not, go back when this is dropped.
struct Batch<'a> {
    cache: &'a Cache,
    touches: Vec<Touch>,
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        let touches = std::mem::take(&mut self.touches);
        self.cache.put_touches_back(touches, MAX_TOUCHES);
    }
}

/// The session was found good. Without the write it only expires earlier.
fn warn_not_noted(error: &StoreError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "uses of sessions not written yet");
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("policies", &self.shared.policies)
            .field("access_tokens", &self.shared.access_tokens)
            .finish_non_exhaustive()
    }
}

/// A session to make.
#[derive(Clone, Debug)]
pub struct NewSession {
    user: UserId,
    kind: Kind,
    client: Option<ClientId>,
    scopes: Option<Scopes>,
    caller: Caller,
}

impl NewSession {
    /// A session of `kind` for `user`, who has just proved who they are.
    #[must_use]
    pub fn new(user: UserId, kind: Kind) -> Self {
        Self {
            user,
            kind,
            client: None,
            scopes: None,
            caller: Caller::default(),
        }
    }

    /// The program it is for; required for a kind that bears access tokens.
    #[must_use]
    pub fn client(mut self, client: ClientId) -> Self {
        self.client = Some(client);
        self
    }

    /// What it is to be good for; everything its user may do, unless this is said.
    #[must_use]
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// From where it is made.
    #[must_use]
    pub fn caller(mut self, caller: Caller) -> Self {
        self.caller = caller;
        self
    }
}

/// A session just made.
#[derive(Debug)]
pub struct Created {
    /// The session.
    pub session: Session,
    /// Its secret: the cookie's value, or the first refresh token. Shown this once.
    pub secret: SecretString,
    /// The sessions that gave way to it.
    pub evicted: Vec<SessionId>,
}

impl Created {
    /// How long a cookie with the secret is of use: until the absolute expiry. The idle limit is
    /// kept by the server.
    #[must_use]
    pub fn max_age(&self) -> Duration {
        self.session
            .absolute_expires
            .duration_since(self.session.created)
    }
}
