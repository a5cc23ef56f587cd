//! What happens to sessions, told to whoever wants to know.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;

use crate::error::Rejection;
use crate::kind::Kind;
use crate::session::{Caller, RevokeCause, Session, SessionId};
use crate::store::Selector;
use crate::threat::{Assessment, ThreatResponse};

/// Something that happened to sessions. Bears no secret.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A session was made.
    Created {
        /// The session.
        session: Session,
    },
    /// A session gave way to a new one of the same user and kind.
    Evicted {
        /// The session that was revoked.
        session: SessionId,
        /// The one it gave way to.
        by: Session,
    },
    /// A session's secret was replaced.
    Rotated {
        /// The session as it is now.
        session: Session,
    },
    /// Sessions were revoked.
    Revoked {
        /// What was asked for.
        selector: Selector,
        /// Why.
        cause: RevokeCause,
        /// The sessions it ended; those over before are not among them.
        sessions: Vec<SessionId>,
    },
    /// A credential was found good.
    Validated {
        /// The session's kind.
        kind: Kind,
        /// Whether the store had not to be asked.
        cached: bool,
        /// How long it took.
        took: Duration,
    },
    /// A secret was presented after its overlap, and honoured because the client is similar to the
    /// one the session was last used with: see
    /// [`OnReuse::TolerateSimilar`](crate::OnReuse::TolerateSimilar).
    ReuseTolerated {
        /// The session.
        session: Session,
        /// Who presented it.
        caller: Caller,
    },
    /// A session is used in a way that may mean that it was stolen.
    Threat {
        /// What was noticed.
        assessment: Assessment,
        /// What the policy makes of it.
        response: ThreatResponse,
    },
    /// How many sessions are live, by kind; told with each sweep.
    Counted {
        /// The kinds that have live sessions, and how many.
        live: Vec<(Kind, u64)>,
    },
    /// A secret was presented after it had been replaced, and after the overlap: it, or its
    /// successor, was stolen. The session is revoked, which is told next.
    ReuseDetected {
        /// The session.
        session: Session,
        /// Who presented it.
        caller: Caller,
    },
    /// A refresh token was not accepted.
    RefreshRejected {
        /// Why.
        rejection: Rejection,
        /// The session, where it is known.
        session: Option<SessionId>,
        /// Who presented it.
        caller: Caller,
    },
    /// Sessions that were over have been deleted.
    Swept {
        /// How many.
        count: u64,
    },
}

/// Is told what happens to sessions.
///
/// Implemented for closures, for `()`, which does nothing, and for pairs, which tell both. It is
/// called in the middle of a request: it must not block.
pub trait OnEvent: Send + Sync + 'static {
    /// `event` has happened.
    fn on_event(&self, event: &SessionEvent);
}

impl<F> OnEvent for F
where
    F: Fn(&SessionEvent) + Send + Sync + 'static,
{
    fn on_event(&self, event: &SessionEvent) {
        self(event);
    }
}

impl OnEvent for () {
    fn on_event(&self, _: &SessionEvent) {}
}

impl<A: OnEvent, B: OnEvent> OnEvent for (A, B) {
    fn on_event(&self, event: &SessionEvent) {
        self.0.on_event(event);
        self.1.on_event(event);
    }
}

impl OnEvent for Arc<dyn OnEvent> {
    fn on_event(&self, event: &SessionEvent) {
        (**self).on_event(event);
    }
}

/// Is told which sessions have been revoked here, so that other nodes that share the store can be
/// told to [`invalidate`](crate::Sessions::invalidate) them.
///
/// Implemented for closures and for `()`, which does nothing: with one node nobody else has to
/// know. It is called in the middle of a request: it must not block. What a node is not told it
/// learns when what it remembers is over, so delivery need not be reliable.
pub trait OnRevoked: Send + Sync + 'static {
    /// These have been revoked. Some of the selected may have been over before, and a change that
    /// was given up half way is told too: telling too much costs a look-up.
    fn on_revoked(&self, selector: &Selector);
}

impl<F> OnRevoked for F
where
    F: Fn(&Selector) + Send + Sync + 'static,
{
    fn on_revoked(&self, selector: &Selector) {
        self(selector);
    }
}

impl OnRevoked for () {
    fn on_revoked(&self, _: &Selector) {}
}

/// Is told which requests bear a credential that is not accepted, or lack one that is required.
///
/// Implemented for closures, for `()`, which does nothing, and for pairs, which tell both. It is
/// called in the middle of a request: it must not block. The parts are the request's own, with
/// its headers: do not log them whole, since they bear the credential.
pub trait OnRejection: Send + Sync + 'static {
    /// `parts` was not accepted because of `rejection`.
    fn on_rejection(&self, parts: &Parts, rejection: Rejection);
}

impl<F> OnRejection for F
where
    F: Fn(&Parts, Rejection) + Send + Sync + 'static,
{
    fn on_rejection(&self, parts: &Parts, rejection: Rejection) {
        self(parts, rejection);
    }
}

impl OnRejection for () {
    fn on_rejection(&self, _: &Parts, _: Rejection) {}
}

impl<A: OnRejection, B: OnRejection> OnRejection for (A, B) {
    fn on_rejection(&self, parts: &Parts, rejection: Rejection) {
        self.0.on_rejection(parts, rejection);
        self.1.on_rejection(parts, rejection);
    }
}
