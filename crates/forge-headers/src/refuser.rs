//! What every refusing layer carries: who is told, and what the answer looks like.

use std::fmt;
use std::sync::Arc;

use http::Response;
use http::request::Parts;

use crate::on_refusal::OnRefusal;
use crate::refusal::{Problem, Refusal, RefusalKind, Respond};

pub(crate) struct Refuser<O, R> {
    on_refusal: Arc<O>,
    responder: Arc<R>,
}

impl Refuser<(), Problem> {
    pub(crate) fn new() -> Self {
        Self {
            on_refusal: Arc::new(()),
            responder: Arc::new(Problem),
        }
    }
}

impl<O, R> Refuser<O, R> {
    pub(crate) fn on_refusal<T>(self, on_refusal: T) -> Refuser<T, R> {
        Refuser {
            on_refusal: Arc::new(on_refusal),
            responder: self.responder,
        }
    }

    pub(crate) fn respond_with<T>(self, responder: T) -> Refuser<O, T> {
        Refuser {
            on_refusal: self.on_refusal,
            responder: Arc::new(responder),
        }
    }

    /// Tells the observer and makes the response.
    pub(crate) fn refuse<B>(&self, parts: &Parts, kind: RefusalKind) -> Response<B>
    where
        O: OnRefusal,
        R: Respond<B>,
    {
        let refusal = Refusal::new(kind);
        self.on_refusal.on_refusal(parts, &refusal);
        self.responder.respond(parts, &refusal)
    }
}

impl<O, R> Clone for Refuser<O, R> {
    fn clone(&self) -> Self {
        Self {
            on_refusal: Arc::clone(&self.on_refusal),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<O, R> fmt::Debug for Refuser<O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refuser").finish_non_exhaustive()
    }
}
