//! The service that browsers send reports to.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use tower_service::Service;

use crate::report::future::ReportFuture;
use crate::report::on_report::OnReport;
use crate::report::parse::{Format, MAX_BYTES};

/// Takes the reports that browsers send about violated policies, and hands them to an
/// [`OnReport`].
///
/// `POST` with `application/csp-report` or `application/reports+json`: 204. Another method is a
/// 405, another media type a 415, more than 16 KiB a 413, what is not a report a 400.
///
/// Reports come with no credential and from anyone. Mount the service inside of limits by
/// address, and outside of authentication; a
/// [`CrossOriginGuardLayer`](crate::CrossOriginGuardLayer) around it exempts its path, because
/// the reports of a sandboxed page come from the origin `null`.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn app() -> axum::Router {
/// use axum::Router;
/// use forge_headers::{Report, ReportCollector};
/// use http::request::Parts;
///
/// let collector = ReportCollector::new(|_: &Parts, reports: &[Report]| {
///     for report in reports {
///         if let Report::CspViolation(violation) = report {
///             tracing::warn!(
///                 directive = violation.effective_directive,
///                 blocked = violation.blocked_url,
///                 "a content security policy was violated",
///             );
///         }
///     }
/// });
/// let app: Router = Router::new().route_service("/.well-known/csp-report", collector);
/// # app
/// # }
/// # #[cfg(feature = "axum")]
/// # app();
/// ```
#[must_use]
pub struct ReportCollector<O = ()> {
    on_report: Arc<O>,
}

impl<O> ReportCollector<O> {
    /// A collector that tells `on_report`.
    pub fn new(on_report: O) -> Self {
        Self {
            on_report: Arc::new(on_report),
        }
    }
}

impl<O, B> Service<Request<B>> for ReportCollector<O>
where
    O: OnReport,
    B: Body,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = ReportFuture<B, O>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if request.method() != Method::POST {
            return ReportFuture::refused(StatusCode::METHOD_NOT_ALLOWED);
        }
        let headers = request.headers();
        let format = headers
            .get(CONTENT_TYPE)
            .and_then(|value| Format::of(value.as_bytes()));
        let Some(format) = format else {
            return ReportFuture::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        };
        let announced = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if announced.is_some_and(|length| length > MAX_BYTES) {
            return ReportFuture::refused(StatusCode::PAYLOAD_TOO_LARGE);
        }
        ReportFuture::reading(request, format, Arc::clone(&self.on_report))
    }
}

impl<O> Clone for ReportCollector<O> {
    fn clone(&self) -> Self {
        Self {
            on_report: Arc::clone(&self.on_report),
        }
    }
}

impl<O> fmt::Debug for ReportCollector<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReportCollector").finish_non_exhaustive()
    }
}
