//! The HTTP client of the sinks: pinned addresses, no redirects, no proxy, bounded time.

use std::time::Duration;

use reqwest::Client;
use reqwest::header::{HeaderMap, HeaderValue, USER_AGENT};
use url::{Host, Url};

use super::reach::{Reach, Resolver, Unreachable};
use crate::error::{BoxError, SinkError};

/// How long one request may take in all; less than a sink is given.
const TIME_OUT: Duration = Duration::from_secs(8);

#[derive(Clone, Debug)]
pub(super) struct Poster {
    client: Client,
    url: Url,
}

impl Poster {
    /// For one address, https unless private networks may be reached.
    pub(super) fn new(url: &str, reach: Reach) -> Result<Self, SinkError> {
        let url: Url = url.parse().map_err(|_| SinkError::Url)?;
        match url.scheme() {
            "https" => {}
            "http" if reach == Reach::Private => {}
            _ => return Err(SinkError::Url),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SinkError::Url);
        }
        // The client resolves names; an address it takes as it is.
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => Some(v4.into()),
            Some(Host::Ipv6(v6)) => Some(v6.into()),
            Some(Host::Domain(_)) => None,
            None => return Err(SinkError::Url),
        };
        if address.is_some_and(|address| !reach.allows(address)) {
            return Err(SinkError::Unreachable);
        }
        // Several providers may be compiled in; the process must choose one, once.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .dns_resolver(Resolver(reach))
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(TIME_OUT)
            // An alert is rare, and what is behind the name may change between two.
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| SinkError::Client(error.into()))?;
        Ok(Self { client, url })
    }

    /// Posts JSON. Whatever is not a success is an error that names the status and nothing else.
    pub(super) async fn post(&self, headers: HeaderMap, body: String) -> Result<(), BoxError> {
        let request = self
            .client
            .post(self.url.clone())
            .headers(headers)
            .header(USER_AGENT, HeaderValue::from_static("forge-monitor"))
            .header("content-type", "application/json")
            .body(body);
        // The error's own text holds the address, in whose path some services keep a secret.
        let response = request.send().await.map_err(|error| {
            let is_refused = std::iter::successors(
                Some(&error as &(dyn std::error::Error + 'static)),
                |error| error.source(),
            )
            .any(|error| error.downcast_ref::<Unreachable>().is_some());
            match is_refused {
                true => Box::new(Unreachable) as BoxError,
                false => error.without_url().into(),
            }
        })?;
        let status = response.status();
        match status.is_success() {
            true => Ok(()),
            false if status.is_redirection() => Err(format!(
                "the receiver redirects (status {status}), which is not followed"
            )
            .into()),
            false => Err(format!("the receiver answered with status {status}").into()),
        }
    }

    /// The address's scheme and host, for people to read.
    pub(super) fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }
}
