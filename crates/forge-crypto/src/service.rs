//! The service that puts the vault at hand.

use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use crate::vault::Vault;

/// Puts a [`Vault`] into the extensions of every request; made by
/// [`VaultLayer`](crate::VaultLayer).
///
/// It refuses nothing and changes no response, so it adds no future of its own.
#[derive(Clone, Debug)]
pub struct WithVault<S> {
    inner: S,
    vault: Vault,
}

impl<S> WithVault<S> {
    pub(crate) fn new(inner: S, vault: Vault) -> Self {
        Self { inner, vault }
    }
}

impl<S, ReqBody> Service<Request<ReqBody>> for WithVault<S>
where
    S: Service<Request<ReqBody>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> S::Future {
        request.extensions_mut().insert(self.vault.clone());
        self.inner.call(request)
    }
}
