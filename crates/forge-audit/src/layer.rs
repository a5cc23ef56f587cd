//! The layer: what is recorded, of whom, and how a refusal looks.

use std::fmt;
use std::sync::Arc;

use tower_layer::Layer;

use crate::log::AuditLog;
use crate::policy::Policy;
use crate::refusal::Problem;
use crate::service::Audit;

/// Records one event for each request. See the [crate's documentation](crate).
#[must_use]
pub struct AuditLayer<P = Policy, I = (), F = (), R = Problem> {
    log: AuditLog,
    policy: Arc<P>,
    identify: Arc<I>,
    source_of: Arc<F>,
    responder: Arc<R>,
}

impl AuditLayer {
    /// A layer that records the metadata of every request in `log`.
    pub fn new(log: AuditLog) -> Self {
        Self {
            log,
            policy: Arc::new(Policy::Metadata),
            identify: Arc::new(()),
            source_of: Arc::new(()),
            responder: Arc::new(Problem),
        }
    }
}

impl<P, I, F, R> AuditLayer<P, I, F, R> {
    /// How much is recorded, an [`AuditPolicy`](crate::AuditPolicy). Default: metadata, of all.
    pub fn policy<T>(self, policy: T) -> AuditLayer<T, I, F, R> {
        AuditLayer {
            log: self.log,
            policy: Arc::new(policy),
            identify: self.identify,
            source_of: self.source_of,
            responder: self.responder,
        }
    }

    /// Who makes a request, an [`Identify`](crate::Identify). Default: nobody known.
    pub fn identify<T>(self, identify: T) -> AuditLayer<P, T, F, R> {
        AuditLayer {
            log: self.log,
            policy: self.policy,
            identify: Arc::new(identify),
            source_of: self.source_of,
            responder: self.responder,
        }
    }

    /// Where a request comes from, a [`SourceOf`](crate::SourceOf). Default: its `User-Agent`.
    pub fn source_of<T>(self, source_of: T) -> AuditLayer<P, I, T, R> {
        AuditLayer {
            log: self.log,
            policy: self.policy,
            identify: self.identify,
            source_of: Arc::new(source_of),
            responder: self.responder,
        }
    }

    /// What makes the response to a refusal, a [`Respond`](crate::Respond). Default: [`Problem`].
    pub fn respond_with<T>(self, responder: T) -> AuditLayer<P, I, F, T> {
        AuditLayer {
            log: self.log,
            policy: self.policy,
            identify: self.identify,
            source_of: self.source_of,
            responder: Arc::new(responder),
        }
    }
}

impl<S, P, I, F, R> Layer<S> for AuditLayer<P, I, F, R> {
    type Service = Audit<S, P, I, F, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Audit {
            inner,
            layer: self.clone(),
        }
    }
}

impl<P, I, F, R> AuditLayer<P, I, F, R> {
    pub(crate) fn log(&self) -> &AuditLog {
        &self.log
    }

    pub(crate) fn seams(&self) -> (&P, &I, &F, &Arc<R>) {
        (
            &self.policy,
            &self.identify,
            &self.source_of,
            &self.responder,
        )
    }
}

impl<P, I, F, R> Clone for AuditLayer<P, I, F, R> {
    fn clone(&self) -> Self {
        Self {
            log: self.log.clone(),
            policy: Arc::clone(&self.policy),
            identify: Arc::clone(&self.identify),
            source_of: Arc::clone(&self.source_of),
            responder: Arc::clone(&self.responder),
        }
    }
}

impl<P, I, F, R> fmt::Debug for AuditLayer<P, I, F, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditLayer")
            .field("log", &self.log)
            .finish_non_exhaustive()
    }
}
