//! How much of a request is recorded.

use http::request::Parts;

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Policy {
    /// Nothing.
    None,
    /// What the request was and how it ended, queued when its response has ended.
    ///
    /// The request is served even if the event is lost; the loss is counted and recorded.
    #[default]
    Metadata,
    /// The same, durable before the response is given out.
    ///
    /// If the log is known not to work, the request is refused before it reaches the service. If
    /// the event cannot be recorded after it, the response is withheld and the client gets the
    /// refusal; what the service has done by then is done. The event says how the response began:
    /// a gRPC status that comes in trailers is not part of it. A handler cannot suppress it.
    Required,
}

/// Chooses the [`Policy`] of a request.
///
/// Implemented for closures over the request's [`Parts`], and for [`Policy`], which is the same
/// for all.
pub trait AuditPolicy {
    /// The policy for the request of `parts`.
    fn policy(&self, parts: &Parts) -> Policy;
}

impl<F: Fn(&Parts) -> Policy> AuditPolicy for F {
    fn policy(&self, parts: &Parts) -> Policy {
        self(parts)
    }
}

impl AuditPolicy for Policy {
    fn policy(&self, _: &Parts) -> Policy {
        *self
    }
}
