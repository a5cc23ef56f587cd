//! What happens to sessions, told to whoever wants to know.

use std::sync::Arc;

use http::request::Parts;

use crate::error::Rejection;
use crate::session::{Caller, RevokeCause, Session, SessionId};
use crate::store::Selector;

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
    /// A secret was presented after it had been replaced: it, or its successor, was stolen. The
    /// session is revoked, which is told next.
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
