//! Tickets for a session.

use std::sync::Arc;

use secrecy::SecretString;

use crate::error::{AuthenticateError, RandomError, Rejection};
use crate::session::Session;
use crate::sessions::Sessions;
use crate::sessions::authenticate::Valid;

impl Sessions {
    /// A ticket with which a client that can set no header, such as `EventSource` or `WebSocket`,
    /// may make one request to `path` within 30 seconds as this session.
    ///
    /// Tickets are kept in this process: with several nodes the request must come to the node that
    /// issued it. Let the layer take them with
    /// [`SessionLayer::ticket_parameter`](crate::SessionLayer::ticket_parameter).
    ///
    /// # Errors
    ///
    /// [`RandomError`] when no ticket could be made.
    pub fn issue_ticket(&self, session: &Session, path: &str) -> Result<SecretString, RandomError> {
        self.shared.tickets.issue(session.id, path, self.now())
    }

    /// The live session that a ticket for this path was issued for. The ticket is used up, even if
    /// it is not accepted.
    ///
    /// # Errors
    ///
    /// [`AuthenticateError::Rejected`] when the ticket or the session is not good,
    /// [`AuthenticateError::Store`] when that could not be decided.
    pub async fn redeem_ticket(
        &self,
        ticket: &str,
        path: &str,
    ) -> Result<Session, AuthenticateError> {
        let valid = self.check_ticket(ticket, path).await?;
        Ok(Arc::unwrap_or_clone(valid.session))
    }

    pub(crate) async fn check_ticket(
        &self,
        ticket: &str,
        path: &str,
    ) -> Result<Valid, AuthenticateError> {
        let id = self.shared.tickets.redeem(ticket, path, self.now());
        let id = id.ok_or(Rejection::Ticket)?;
        let (seen, known) = self.shared.cache.by_id(id, self.now());
        let session = match known {
            Some(session) => session,
            None => {
                let found = self.shared.store.find(id).await?;
                Arc::new(found.ok_or(Rejection::Unknown)?)
            }
        };
        let policy = self.policy(&session.kind).ok_or(Rejection::WrongKind)?;
        self.admit(&session, policy.carrier)?;
        Ok(Valid::new(session, seen))
    }
}
