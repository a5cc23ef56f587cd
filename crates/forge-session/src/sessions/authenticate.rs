//! From a credential to its session, through the cache where that knows it.

use std::sync::Arc;
use std::time::Instant;

use crate::access_token::Verified;
use crate::cache::Seen;
use crate::error::{AuthenticateError, Rejection, TokenError};
use crate::on_event::SessionEvent;
use crate::policy::Carrier;
use crate::scopes::Scopes;
use crate::secret::Secret;
use crate::session::{Caller, ClientId, Session};
use crate::sessions::Sessions;
use crate::sessions::rotate::Renewed;
use crate::store::Matched;

/// A session that was found good.
pub(crate) struct Valid {
    pub(crate) session: Arc<Session>,
    /// The state of the cache before it was looked up.
    pub(crate) seen: Seen,
    /// What the access token says it is good for.
    pub(crate) scopes: Option<Scopes>,
    /// The secret that the client is to use from now on.
    pub(crate) renewed: Option<Renewed>,
}

impl Valid {
    pub(super) fn new(session: Arc<Session>, seen: Seen) -> Self {
        let scopes = session.scopes.clone();
        Self {
            session,
            seen,
            scopes,
            renewed: None,
        }
    }
}

impl Sessions {
    /// The live session whose secret is in a cookie.
    ///
    /// This replaces nothing; what comes from a browser goes through a
    /// [`SessionLayer`](crate::SessionLayer), which does. A secret that has been replaced is good
    /// for the overlap of its kind's policy; after that the session is revoked.
    ///
    /// # Errors
    ///
    /// [`AuthenticateError::Rejected`] when there is none, [`AuthenticateError::Store`] when that
    /// could not be decided.
    pub async fn authenticate_cookie(&self, secret: &str) -> Result<Session, AuthenticateError> {
        let valid = self.check_cookie(secret, &Caller::default(), false).await?;
        Ok(Arc::unwrap_or_clone(valid.session))
    }

    /// The live session that an access token was issued for.
    ///
    /// That the session is still good is checked each time, so that a token ends with its session.
    ///
    /// # Errors
    ///
    /// [`AuthenticateError::Rejected`] when the token or the session is not good,
    /// [`AuthenticateError::Store`] when that could not be decided.
    pub async fn authenticate_bearer(&self, token: &str) -> Result<Session, AuthenticateError> {
        let valid = self.check_bearer(token).await?;
        Ok(Arc::unwrap_or_clone(valid.session))
    }

    pub(crate) async fn check_cookie(
        &self,
        secret: &str,
        caller: &Caller,
        may_rotate: bool,
    ) -> Result<Valid, AuthenticateError> {
        let began = Instant::now();
        let secret = Secret::parse(secret).ok_or(Rejection::Malformed)?;
        let (family, hash) = (secret.family(), secret.hash());
        let cache = &self.shared.cache;
        let (seen, known) = cache.by_secret(family, hash, self.now());
        if let Some(session) = known {
            let policy = self.admit(&session, Carrier::Cookie)?;
            if !(may_rotate && self.is_due(&session, policy)) {
                self.tell_valid(&session, true, began);
                return Ok(Valid::new(session, seen));
            }
        }
        let found = self.shared.store.find_by_secret(family, hash).await?;
        let found = found.ok_or(Rejection::Unknown)?;
        let policy = self.admit(&found.session, Carrier::Cookie)?;
        let due = may_rotate && self.is_due(&found.session, policy);
        if found.matched == Matched::Current && !due {
            let session = Arc::new(found.session);
            cache.remember(seen, &session, Some((family, hash)), self.now());
            self.tell_valid(&session, false, began);
            return Ok(Valid::new(session, seen));
        }
        let (session, renewed) = self.renew(found, policy, &secret, caller).await?;
        let session = Arc::new(session);
        self.tell_valid(&session, false, began);
        Ok(Valid {
            renewed,
            ..Valid::new(session, seen)
        })
    }

    pub(crate) async fn check_bearer(&self, token: &str) -> Result<Valid, AuthenticateError> {
        let began = Instant::now();
        let tokens = self.shared.access_tokens.as_ref();
        let tokens = tokens.ok_or(Rejection::Token(TokenError::NotConfigured))?;
        let verified = tokens.verify(token, self.now()).map_err(Rejection::from)?;
        let cache = &self.shared.cache;
        let (seen, known) = cache.by_id(verified.session, self.now());
        let cached = known.is_some();
        let session = match known {
            Some(session) => session,
            None => {
                let session = self.shared.store.find(verified.session).await?;
                Arc::new(session.ok_or(Rejection::Unknown)?)
            }
        };
        self.admit(&session, Carrier::Bearer)?;
        if !is_about(&verified, &session) {
            return Err(Rejection::Token(TokenError::Claims).into());
        }
        if !cached {
            cache.remember(seen, &session, None, self.now());
        }
        self.tell_valid(&session, cached, began);
        Ok(Valid {
            scopes: verified.scopes.clone(),
            ..Valid::new(session, seen)
        })
    }

    fn tell_valid(&self, session: &Session, cached: bool, began: Instant) {
        self.tell(&SessionEvent::Validated {
            kind: session.kind.clone(),
            cached,
            took: began.elapsed(),
        });
    }

    /// Ends when the session is revoked, or was since it was looked up.
    pub(crate) async fn ended(&self, session: Arc<Session>, seen: Seen) {
        let ended = self.shared.watchers.watch(Arc::clone(&session));
        // A revocation that came between the look-up and the watch was told to nobody.
        if self.shared.cache.changed_since(seen) {
            let found = self.shared.store.find(session.id).await;
            let still = found.is_ok_and(|found| found.is_some_and(|s| s.revoked.is_none()));
            if !still {
                return;
            }
        }
        ended.await;
    }
}

/// A token that a session got is no good for another, nor for more than the session is.
fn is_about(verified: &Verified, session: &Session) -> bool {
    let client = session.client.as_ref().map(ClientId::as_str);
    session.user.as_str() == verified.user
        && session.kind.as_str() == verified.kind
        && client == Some(&verified.client)
        && session.has_scopes(verified.scopes.as_ref())
}
