//! The response to come, with its headers.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use pin_project_lite::pin_project;

use crate::security::layer::OverrideSecurityHeaders;
use crate::security::nonce::CspNonce;
use crate::security::prebuilt::Prebuilt;

pin_project! {
    /// The future of [`SecurityHeadersService`](crate::SecurityHeadersService).
    #[derive(Debug)]
    pub struct SecurityHeadersFuture<F> {
        #[pin]
        pub(crate) inner: F,
        pub(crate) prebuilt: Arc<Prebuilt>,
        pub(crate) https: bool,
        pub(crate) no_store: bool,
        pub(crate) nonce: Option<CspNonce>,
    }
}

impl<F, B, E> Future for SecurityHeadersFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = ready!(this.inner.poll(cx))?;
        let replacement = response
            .extensions_mut()
            .remove::<OverrideSecurityHeaders>();
        let prebuilt = match &replacement {
            Some(replacement) => &replacement.prebuilt,
            None => &*this.prebuilt,
        };
        prebuilt.apply(
            response.headers_mut(),
            *this.https,
            *this.no_store,
            *this.nonce,
        );
        Poll::Ready(Ok(response))
    }
}
