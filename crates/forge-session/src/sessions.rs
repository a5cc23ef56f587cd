//! The handle: make, check, refresh, list and revoke sessions.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use crate::access_token::{AccessToken, AccessTokens};
use crate::clock::{Clock, Timestamp};
use crate::error::{AuthenticateError, CreateError, IssueError, Rejection, StoreError, TokenError};
use crate::kind::Kind;
use crate::on_event::{OnEvent, SessionEvent};
use crate::policy::{Carrier, KindPolicy};
use crate::secret::Secret;
use crate::session::{Caller, ClientId, RevokeCause, Session, SessionId, UserId};
use crate::sessions::builder::SessionsBuilder;
use crate::store::{Matched, Selector, SessionStore, Touch};

pub(crate) mod builder;
pub(crate) mod refresh;

/// How many rows one step of a sweep deletes, so that it never holds the writer for long.
const SWEEP_BATCH: NonZeroU32 = NonZeroU32::MIN.saturating_add(499);

/// All that can be done with sessions. Clones share the store, the policies and the keys.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn SessionStore>,
    policies: HashMap<Kind, KindPolicy>,
    access_tokens: Option<AccessTokens>,
    retention: Duration,
    clock: Arc<dyn Clock>,
    on_event: Arc<dyn OnEvent>,
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
            created: now,
            last_used: now,
            idle_expires: (now + policy.idle).min(absolute_expires),
            absolute_expires,
            created_ip: new.caller.ip(),
            last_ip: new.caller.ip(),
            user_agent: new.caller.user_agent().map(str::to_owned),
            generation: 0,
            rotated: None,
            revoked: None,
        };
        let store = &self.shared.store;
        let evicted = store
            .create(&session, secret.hash(), policy.max_per_user)
            .await?;
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

    /// The live session whose secret is in a cookie.
    ///
    /// # Errors
    ///
    /// [`AuthenticateError::Rejected`] when there is none, [`AuthenticateError::Store`] when that
    /// could not be decided.
    pub async fn authenticate_cookie(&self, secret: &str) -> Result<Session, AuthenticateError> {
        let secret = Secret::parse(secret).ok_or(Rejection::Malformed)?;
        let found = self.shared.store.find_by_secret(secret.hash()).await?;
        let found = found.ok_or(Rejection::Unknown)?;
        self.admit(&found.session, Carrier::Cookie)?;
        match found.matched {
            Matched::Current => Ok(found.session),
            Matched::Previous => Err(Rejection::Reused.into()),
        }
    }

    /// The live session that an access token was issued for.
    ///
    /// The store is asked for the session each time, so that a token ends with its session.
    ///
    /// # Errors
    ///
    /// [`AuthenticateError::Rejected`] when the token or the session is not good,
    /// [`AuthenticateError::Store`] when that could not be decided.
    ///
    /// # Panics
    ///
    /// When the binary is built with no, or with both, of `jsonwebtoken`'s features `rust_crypto`
    /// and `aws_lc_rs`.
    pub async fn authenticate_bearer(&self, token: &str) -> Result<Session, AuthenticateError> {
        let tokens = self.shared.access_tokens.as_ref();
        let tokens = tokens.ok_or(Rejection::Token(TokenError::NotConfigured))?;
        let claims = tokens.verify(token, self.now()).map_err(Rejection::from)?;
        let id = claims.session().map_err(Rejection::from)?;
        let session = self.shared.store.find(id).await?;
        let session = session.ok_or(Rejection::Unknown)?;
        self.admit(&session, Carrier::Bearer)?;
        let client = session.client.as_ref().map(ClientId::as_str);
        if session.user.as_str() != claims.sub
            || session.kind.as_str() != claims.kind
            || client != Some(&claims.client_id)
        {
            return Err(Rejection::Token(TokenError::Claims).into());
        }
        Ok(session)
    }

    /// Issues an access token for a live session of a kind that bears them.
    ///
    /// # Errors
    ///
    /// [`IssueError`].
    ///
    /// # Panics
    ///
    /// As [`authenticate_bearer`](Self::authenticate_bearer).
    pub fn issue_access_token(&self, session: &Session) -> Result<AccessToken, IssueError> {
        let tokens = self.shared.access_tokens.as_ref();
        let tokens = tokens.ok_or(IssueError::NotConfigured)?;
        let policy = self.policy(&session.kind);
        let policy = policy.filter(|policy| policy.carrier == Carrier::Bearer);
        let policy = policy.ok_or(IssueError::NotEntitled)?;
        let now = self.now();
        if !session.is_live(now) {
            return Err(IssueError::NotEntitled);
        }
        tokens.issue(session, policy.access_ttl, now)
    }

    /// The user's live sessions, the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn list(&self, user: &UserId) -> Result<Vec<Session>, StoreError> {
        self.shared.store.list(user, self.now()).await
    }

    /// Ends sessions, for good, with the next request. Returns how many were ended.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn revoke(
        &self,
        selector: Selector,
        cause: RevokeCause,
    ) -> Result<usize, StoreError> {
        let store = &self.shared.store;
        let sessions = store.revoke(&selector, cause, self.now()).await?;
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

    /// Notes that a session is used, which puts off its idle expiry.
    ///
    /// Written at most once a minute for each session, so `last_used` may be that much behind. A
    /// session revoked meanwhile stays revoked.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
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
        self.shared.store.touch(&[touch]).await.map(|_| ())
    }

    /// Deletes the sessions that have been over for the retention time, a small batch at a time.
    /// Returns how many. Call it about once an hour.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails; what was deleted until then stays deleted.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        let before = self.now().saturating_sub(self.shared.retention);
        let mut count = 0;
        loop {
            let deleted = self.shared.store.sweep(before, SWEEP_BATCH).await?;
            count += deleted;
            if deleted < u64::from(SWEEP_BATCH.get()) {
                break;
            }
        }
        if count > 0 {
            self.tell(&SessionEvent::Swept { count });
        }
        Ok(count)
    }

    /// The policy of a kind.
    #[must_use]
    pub fn policy(&self, kind: &Kind) -> Option<&KindPolicy> {
        self.shared.policies.get(kind)
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

    fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    fn tell(&self, event: &SessionEvent) {
        self.shared.on_event.on_event(event);
    }
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
            caller: Caller::default(),
        }
    }

    /// The program it is for; required for a kind that bears access tokens.
    #[must_use]
    pub fn client(mut self, client: ClientId) -> Self {
        self.client = Some(client);
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
