//! The layer: whom it asks about, who is told, how a refusal looks.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use super::{Guard, Guarded};
use crate::refusal::Problem;

/// Refuses the requests of blocked addresses with 403, for gRPC with `PERMISSION_DENIED`.
///
/// A request whose address cannot be told is refused as well.
#[must_use]
pub struct GuardLayer<C, O = (), R = Problem> {
    guard: Guard,
    client_address: Arc<C>,
    admit_unknown_address: bool,
    on_refusal: Arc<O>,
    responder: Arc<R>,
}

impl<C> GuardLayer<C> {
    /// A layer that asks `guard`, from [`Monitor::guard`](crate::Monitor::guard), about the address
    /// that `client_address` reads, a [`ClientAddress`](crate::ClientAddress).
    pub fn new(guard: Guard, client_address: C) -> Self {
        Self {
            guard,
            client_address: Arc::new(client_address),
            admit_unknown_address: false,
            on_refusal: Arc::new(()),
            responder: Arc::new(Problem),
        }
    }
}

impl<C, O, R> GuardLayer<C, O, R> {
    /// Whether a request whose address cannot be told is passed on, out of reach of any block.
    /// Default: false, it is refused.
    pub fn dangerous_admit_unknown_address(mut self, admit: bool) -> Self {
        self.admit_unknown_address = admit;
        self
    }

    /// Who is told of every refusal, an [`OnRefusal`](crate::OnRefusal). Default: nobody.
    pub fn on_refusal<T>(self, on_refusal: T) -> GuardLayer<C, T, R> {
        GuardLayer {
            guard: self.guard,
            client_address: self.client_address,
            admit_unknown_address: self.admit_unknown_address,
            on_refusal: Arc::new(on_refusal),
            responder: self.responder,
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> GuardLayer<C, O, T> {
        GuardLayer {
            guard: self.guard,
            client_address: self.client_address,
            admit_unknown_address: self.admit_unknown_address,
            on_refusal: self.on_refusal,
            responder: Arc::new(responder),
        }
    }
}

impl<S, C, O, R> Layer<S> for GuardLayer<C, O, R> {
    type Service = Guarded<S, C, O, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Guarded {
            inner,
            guard: self.guard.clone(),
            client_address: Arc::clone(&self.client_address),
            admit_unknown_address: self.admit_unknown_address,
            on_refusal: Arc::clone(&self.on_refusal),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<C, O, R> Clone for GuardLayer<C, O, R> {
    fn clone(&self) -> Self {
        Self {
            guard: self.guard.clone(),
            client_address: Arc::clone(&self.client_address),
            admit_unknown_address: self.admit_unknown_address,
            on_refusal: Arc::clone(&self.on_refusal),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<C, O, R> fmt::Debug for GuardLayer<C, O, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardLayer")
            .field("guard", &self.guard)
            .field("admit_unknown_address", &self.admit_unknown_address)
            .finish_non_exhaustive()
    }
}
