//! Noticing how sessions are used.

use crate::error::StoreError;
use crate::on_event::SessionEvent;
use crate::session::{Caller, RevokeCause, Session, SessionId};
use crate::sessions::Sessions;
use crate::store::Selector;
use crate::threat::{Assessment, ThreatResponse, ThreatSignal};

impl Sessions {
    /// Notes who uses a session. The response is the strongest there was for the session.
    pub(crate) async fn observe(
        &self,
        session: &Session,
        caller: &Caller,
    ) -> Result<ThreatResponse, StoreError> {
        let Some(policy) = self.policy(&session.kind) else {
            return Ok(ThreatResponse::Note);
        };
        let sightings = &self.shared.sightings;
        match sightings.see(session, caller, policy, self.now()) {
            (Some(signals), _) => self.respond(session, caller, signals).await,
            (None, response) => Ok(response),
        }
    }

    pub(super) async fn observe_reuse(
        &self,
        session: &Session,
        caller: &Caller,
    ) -> Result<(), StoreError> {
        let signal = ThreatSignal::ReuseAfterRotation;
        match self.shared.sightings.add(session, signal, self.now()) {
            Some(signals) => self.respond(session, caller, signals).await.map(|_| ()),
            None => Ok(()),
        }
    }

    pub(super) fn refresh_failed(&self, session: SessionId) {
        self.shared.sightings.refresh_failed(session, self.now());
    }

    async fn respond(
        &self,
        session: &Session,
        caller: &Caller,
        signals: Vec<ThreatSignal>,
    ) -> Result<ThreatResponse, StoreError> {
        let assessment = Assessment {
            session: session.clone(),
            caller: caller.clone(),
            score: signals.iter().map(|signal| signal.weight()).sum(),
            signals,
        };
        let response = self.shared.threat_policy.respond(&assessment);
        self.shared.sightings.set_response(session.id, response);
        self.tell(&SessionEvent::Threat {
            assessment,
            response,
        });
        if response.must_end() {
            let selector = Selector::Session(session.id);
            self.revoke(selector, RevokeCause::Threat).await?;
        }
        Ok(self.shared.sightings.response(session.id))
    }
}
