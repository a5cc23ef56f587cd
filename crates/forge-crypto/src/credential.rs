//! Credentials for calls to others: opened just in time, put into a header, wiped afterwards.

mod future;
mod layer;
mod service;

use std::fmt;
use std::pin::Pin;

use http::request::Parts;

pub use future::ResponseFuture;
pub use layer::CredentialLayer;
pub use service::WithCredential;

use crate::context::Context;
use crate::error::{BoxError, CredentialError};
use crate::sealed::Sealed;
use crate::sealed_table::SealedColumn;

/// A sealed credential and the place it is stored at.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredCredential {
    column: SealedColumn,
    row: Vec<u8>,
    tenant: Option<Vec<u8>>,
    sealed: Sealed,
}

impl StoredCredential {
    /// What was read from `column` in the row of that id.
    pub fn new(column: SealedColumn, row: impl Into<Vec<u8>>, sealed: Sealed) -> Self {
        Self {
            column,
            row: row.into(),
            tenant: None,
            sealed,
        }
    }

    /// The tenant of the row. Default: the table has none.
    #[must_use]
    pub fn tenant(mut self, tenant: impl Into<Vec<u8>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// The place it is stored at.
    pub fn context(&self) -> Context<'_> {
        let place = self.column.row(&self.row);
        match &self.tenant {
            Some(tenant) => place.tenant(tenant),
            None => place,
        }
    }

    /// The id of the row.
    pub fn row(&self) -> &[u8] {
        &self.row
    }

    /// The credential, sealed.
    pub fn sealed(&self) -> &Sealed {
        &self.sealed
    }
}

impl fmt::Debug for StoredCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredCredential")
            .field("table", &self.column.table().name())
            .field("column", &self.column.name())
            .field("sealed", &self.sealed)
            .finish_non_exhaustive()
    }
}

/// What a [`Credentials`] source gives: `None` when there is no credential for the request, which
/// then is not sent.
pub type CredentialFuture =
    Pin<Box<dyn Future<Output = Result<Option<StoredCredential>, BoxError>> + Send>>;

/// Finds the credential that a request is to bear, in a database or wherever it is stored.
///
/// Implemented for closures, `|parts: &Parts| async move { … }`, and by [`FromExtensions`].
pub trait Credentials: Send + Sync + 'static {
    /// The credential for the request of these parts.
    fn find(&self, parts: &Parts) -> CredentialFuture;
}

impl<F, Fut> Credentials for F
where
    F: Fn(&Parts) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Option<StoredCredential>, BoxError>> + Send + 'static,
{
    fn find(&self, parts: &Parts) -> CredentialFuture {
        Box::pin(self(parts))
    }
}

/// Takes the [`StoredCredential`] that the caller put into the request's extensions.
#[derive(Clone, Copy, Debug, Default)]
pub struct FromExtensions;

impl Credentials for FromExtensions {
    fn find(&self, parts: &Parts) -> CredentialFuture {
        let found = parts.extensions.get().cloned();
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// Something a [`CredentialLayer`] did or refused to do. It holds no secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum CredentialEvent<'a> {
    /// A credential went out with a request.
    Injected {
        /// The place it is stored at.
        context: &'a Context<'a>,
    },
    /// A request was not sent.
    Refused {
        /// The place of the credential, when it was found.
        context: Option<&'a Context<'a>>,
        /// Why.
        error: &'a CredentialError,
    },
    /// Upstream answered that the credential is not valid.
    Unauthorized {
        /// The place it is stored at.
        context: &'a Context<'a>,
    },
}

/// Is told what a [`CredentialLayer`] does, for audit.
///
/// Called where the request is sent: never block, never panic. `()` does nothing, a closure is
/// called, and both of `(A, B)` are told.
pub trait OnCredential: Send + Sync + 'static {
    /// Takes note of `event`.
    fn on_credential(&self, event: &CredentialEvent<'_>);
}

impl OnCredential for () {
    fn on_credential(&self, _event: &CredentialEvent<'_>) {}
}

impl<F> OnCredential for F
where
    F: Fn(&CredentialEvent<'_>) + Send + Sync + 'static,
{
    fn on_credential(&self, event: &CredentialEvent<'_>) {
        self(event);
    }
}

impl<A: OnCredential, B: OnCredential> OnCredential for (A, B) {
    fn on_credential(&self, event: &CredentialEvent<'_>) {
        self.0.on_credential(event);
        self.1.on_credential(event);
    }
}

/// Is called with the credential that upstream no longer takes: 401, or the gRPC status
/// `UNAUTHENTICATED` in the head of a response. To have it deleted or renewed.
///
/// Never block, never panic. `()` does nothing, a closure is called, and both of `(A, B)` are.
pub trait OnUnauthorized: Send + Sync + 'static {
    /// Takes note that `credential` is not valid any more.
    fn on_unauthorized(&self, credential: &StoredCredential);
}

impl OnUnauthorized for () {
    fn on_unauthorized(&self, _credential: &StoredCredential) {}
}

impl<F> OnUnauthorized for F
where
    F: Fn(&StoredCredential) + Send + Sync + 'static,
{
    fn on_unauthorized(&self, credential: &StoredCredential) {
        self(credential);
    }
}

impl<A: OnUnauthorized, B: OnUnauthorized> OnUnauthorized for (A, B) {
    fn on_unauthorized(&self, credential: &StoredCredential) {
        self.0.on_unauthorized(credential);
        self.1.on_unauthorized(credential);
    }
}
