//! Refresh tokens: each good once.

use secrecy::SecretString;

use crate::access_token::AccessToken;
use crate::error::{RefreshError, Rejection, StoreError};
use crate::on_event::SessionEvent;
use crate::policy::{Carrier, KindPolicy};
use crate::secret::{Secret, SecretHash};
use crate::session::{Caller, ClientId, RevokeCause, Session, SessionId};
use crate::sessions::Sessions;
use crate::store::{Matched, Rotation, Selector};

impl Sessions {
    /// Exchanges a refresh token for an access token and the next refresh token.
    ///
    /// A refresh token is good once. Whoever presents the one before the current one has, or was
    /// robbed of, a copy: the session is revoked with [`RevokeCause::Reuse`]. Of two requests that
    /// present the current one in the same moment one wins, and the other is rejected with
    /// [`Rejection::Raced`], without revocation.
    ///
    /// `client` is the client that presents it, which must be the one it was issued to (RFC 6749,
    /// section 6). Whether the client is who it says is for you to check before.
    ///
    /// # Errors
    ///
    /// [`RefreshError`]; unless the store failed, this call has replaced nothing.
    ///
    /// # Panics
    ///
    /// As [`authenticate_bearer`](Self::authenticate_bearer).
    pub async fn refresh(
        &self,
        token: &str,
        client: &ClientId,
        caller: &Caller,
    ) -> Result<Refreshed, RefreshError> {
        let mut known = None;
        let result = self.try_refresh(token, client, caller, &mut known).await;
        if let Err(RefreshError::Rejected(rejection)) = &result {
            self.tell(&SessionEvent::RefreshRejected {
                rejection: *rejection,
                session: known,
                caller: caller.clone(),
            });
        }
        result
    }

    async fn try_refresh(
        &self,
        token: &str,
        client: &ClientId,
        caller: &Caller,
        known: &mut Option<SessionId>,
    ) -> Result<Refreshed, RefreshError> {
        let presented = Secret::parse(token).ok_or(Rejection::Malformed)?.hash();
        let found = self.shared.store.find_by_secret(presented).await?;
        let found = found.ok_or(Rejection::Unknown)?;
        *known = Some(found.session.id);
        let policy = self.admit(&found.session, Carrier::Bearer)?;
        if found.matched == Matched::Previous {
            let stolen = Selector::Session(found.session.id);
            self.tell(&SessionEvent::ReuseDetected {
                session: found.session,
                caller: caller.clone(),
            });
            self.revoke(stolen, RevokeCause::Reuse).await?;
            return Err(Rejection::Reused.into());
        }
        if found.session.client.as_ref() != Some(client) {
            return Err(Rejection::WrongClient.into());
        }
        // Signed before the rotation: if it fails, the presented token is still the current one.
        let access_token = self.issue_access_token(&found.session)?;
        let secret = Secret::generate()?;
        let session = self
            .rotate(&found.session, policy, presented, secret.hash(), caller)
            .await?
            .ok_or(Rejection::Raced)?;
        self.tell(&SessionEvent::Rotated {
            session: session.clone(),
        });
        Ok(Refreshed {
            session,
            access_token,
            refresh_token: secret.reveal(),
        })
    }

    async fn rotate(
        &self,
        session: &Session,
        policy: &KindPolicy,
        old: SecretHash,
        new: SecretHash,
        caller: &Caller,
    ) -> Result<Option<Session>, StoreError> {
        let now = self.now();
        let rotation = Rotation {
            id: session.id,
            expected_generation: session.generation,
            expected_secret: old,
            secret: new,
            at: now,
            idle_expires: (now + policy.idle).min(session.absolute_expires),
            ip: caller.ip(),
            user_agent: caller.user_agent().map(str::to_owned),
        };
        self.shared.store.rotate(&rotation).await
    }
}

/// What a refresh token was exchanged for.
#[derive(Debug)]
pub struct Refreshed {
    /// The session as it is now.
    pub session: Session,
    /// An access token for it.
    pub access_token: AccessToken,
    /// The next refresh token. The presented one is used up.
    pub refresh_token: SecretString,
}
