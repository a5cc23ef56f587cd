//! Refresh tokens: each has one successor.

use secrecy::SecretString;

use crate::access_token::AccessToken;
use crate::error::{RefreshError, Rejection};
use crate::on_event::SessionEvent;
use crate::policy::Carrier;
use crate::secret::Secret;
use crate::session::{Caller, ClientId, Session, SessionId};
use crate::sessions::Sessions;
use crate::sessions::rotate::Refused;

impl Sessions {
    /// Exchanges a refresh token for an access token and the next refresh token.
    ///
    /// A refresh token has one successor. Within the overlap of the kind's policy it yields the
    /// same one again, so that a client may repeat a request whose response was lost, and two
    /// requests at once do no harm. Whoever presents it after that, or one that was replaced
    /// longer ago, has, or was robbed of, a copy: the session is revoked with
    /// [`RevokeCause::Reuse`](crate::RevokeCause::Reuse).
    ///
    /// `client` is the client that presents it, which must be the one it was issued to (RFC 6749,
    /// section 6). Whether the client is who it says is for you to check before.
    ///
    /// # Errors
    ///
    /// [`RefreshError`]; unless the store failed, this call has replaced nothing.
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
            if let Some(id) = known {
                self.refresh_failed(id);
            }
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
        let presented = Secret::parse(token).ok_or(Rejection::Malformed)?;
        let store = &self.shared.store;
        let found = store.find_by_secret(presented.family(), presented.hash());
        let found = found.await?.ok_or(Rejection::Unknown)?;
        *known = Some(found.session.id);
        let policy = self.admit(&found.session, Carrier::Bearer)?;
        if found.session.client.as_ref() != Some(client) {
            if self.is_reuse(&found, policy) {
                self.stolen(found.session, caller).await?;
                return Err(Rejection::Reused.into());
            }
            return Err(Rejection::WrongClient.into());
        }
        // Signed before the rotation: if it fails, the presented token is still the current one.
        let access_token = self.issue_access_token(&found.session)?;
        if self.observe(&found.session, caller).await?.must_end() {
            return Err(Rejection::Threat.into());
        }
        let successor = self.successor(found, policy, &presented, caller).await;
        let (session, secret) = successor.map_err(|refused| match refused {
            Refused::Rejected(rejection) => RefreshError::Rejected(rejection),
            Refused::Random(error) => error.into(),
            Refused::NotWritten(error) | Refused::Store(error) => error.into(),
        })?;
        Ok(Refreshed {
            session,
            access_token,
            refresh_token: secret.reveal(),
        })
    }
}

/// What a refresh token was exchanged for.
#[derive(Debug)]
pub struct Refreshed {
    /// The session as it is now.
    pub session: Session,
    /// An access token for it.
    pub access_token: AccessToken,
    /// The next refresh token; the presented one is over with the overlap.
    pub refresh_token: SecretString,
}
