//! The layer that gives requests their credential.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri};
use secrecy::ExposeSecret;
use tower_layer::Layer;
use zeroize::Zeroizing;

use super::service::WithCredential;
use super::{OnCredential, OnUnauthorized, StoredCredential};
use crate::error::CredentialError;
use crate::vault::Vault;

/// Gives each request of a client the credential it is to bear, opened just in time.
///
/// The header is marked sensitive, so that it is not shown by `Debug` and not indexed by HTTP/2,
/// and its bytes are wiped from memory when the last copy of it is dropped. (What the connection
/// below writes from it, it keeps in buffers of its own.)
///
/// It fails closed: when there is no credential, it cannot be opened, or it would go out in clear
/// to another machine, the request is not sent. That is an error of the client, as there is nobody
/// who answers; so `Error` is [`CredentialError`], in which the client's own errors are
/// [`Upstream`](CredentialError::Upstream).
///
/// It works on an HTTP client and on a Tonic channel alike.
///
/// ```
/// use forge_crypto::{CredentialLayer, FromExtensions, Keyring, StoredCredential, Vault};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vault = Vault::new(&Keyring::generate()?);
/// let layer = CredentialLayer::new(vault, FromExtensions)
///     .only_to("api.github.com".parse()?)
///     .on_unauthorized(|credential: &StoredCredential| {
///         // Queue the row to be asked for a new token.
///     });
/// # let _ = layer;
/// # Ok(())
/// # }
/// ```
///
/// Mount it inside of what follows redirects or retries, so that each request is looked at.
#[must_use = "a layer does nothing until it is mounted"]
pub struct CredentialLayer<C, O = (), U = ()> {
    credentials: Arc<C>,
    hooks: Arc<(O, U)>,
    inject: Inject,
}

/// How a credential gets into a request.
#[derive(Clone)]
pub(super) struct Inject {
    vault: Vault,
    header: HeaderName,
    scheme: &'static str,
    only_to: Option<Authority>,
    plain_http: bool,
}

impl<C> CredentialLayer<C> {
    /// Gives each request what `credentials` finds for it, opened by `vault`, as
    /// `authorization: Bearer …`.
    pub fn new(vault: Vault, credentials: C) -> Self {
        Self {
            credentials: Arc::new(credentials),
            hooks: Arc::new(((), ())),
            inject: Inject {
                vault,
                header: AUTHORIZATION,
                scheme: "Bearer ",
                only_to: None,
                plain_http: false,
            },
        }
    }
}

impl<C, O, U> CredentialLayer<C, O, U> {
    /// The header that bears the credential. Default: `authorization`.
    pub fn header(mut self, name: HeaderName) -> Self {
        self.inject.header = name;
        self
    }

    /// What stands before the credential, with the space after it; empty for the bare credential.
    /// Default: `"Bearer "`.
    pub fn scheme(mut self, scheme: &'static str) -> Self {
        self.inject.scheme = scheme;
        self
    }

    /// The one host, with its port if it has one, that may get credentials. A request to another
    /// one, or whose URI names none, is not sent. Default: wherever the request goes.
    pub fn only_to(mut self, authority: Authority) -> Self {
        self.inject.only_to = Some(authority);
        self
    }

    /// Also sends credentials over plain HTTP to other machines. Default: only to loopback
    /// addresses; a request whose URI has no scheme is left to the client below.
    pub fn dangerous_allow_plain_http(mut self) -> Self {
        self.inject.plain_http = true;
        self
    }

    /// Tells `observer` what happens. Default: nobody.
    pub fn on_credential<N: OnCredential>(self, observer: N) -> CredentialLayer<C, N, U>
    where
        U: Clone,
    {
        CredentialLayer {
            credentials: self.credentials,
            hooks: Arc::new((observer, self.hooks.1.clone())),
            inject: self.inject,
        }
    }

    /// Calls `hook` when upstream answers that a credential is not valid. Default: nothing.
    pub fn on_unauthorized<N: OnUnauthorized>(self, hook: N) -> CredentialLayer<C, O, N>
    where
        O: Clone,
    {
        CredentialLayer {
            credentials: self.credentials,
            hooks: Arc::new((self.hooks.0.clone(), hook)),
            inject: self.inject,
        }
    }
}

impl<S, C, O, U> Layer<S> for CredentialLayer<C, O, U> {
    type Service = WithCredential<S, C, O, U>;

    fn layer(&self, inner: S) -> Self::Service {
        WithCredential::new(
            inner,
            Arc::clone(&self.credentials),
            Arc::clone(&self.hooks),
            self.inject.clone(),
        )
    }
}

impl<C, O, U> Clone for CredentialLayer<C, O, U> {
    fn clone(&self) -> Self {
        Self {
            credentials: Arc::clone(&self.credentials),
            hooks: Arc::clone(&self.hooks),
            inject: self.inject.clone(),
        }
    }
}

impl<C, O, U> fmt::Debug for CredentialLayer<C, O, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inject.fmt_as("CredentialLayer", f)
    }
}

impl Inject {
    /// Looks where the request goes, before anything is opened.
    pub(super) fn check(&self, uri: &Uri) -> Result<(), CredentialError> {
        if let Some(only) = &self.only_to
            && uri.authority() != Some(only)
        {
            return Err(CredentialError::Destination);
        }
        let in_clear = uri.scheme() == Some(&Scheme::HTTP);
        if in_clear && !self.plain_http && !uri.host().is_some_and(is_loopback) {
            return Err(CredentialError::PlainHttp);
        }
        Ok(())
    }

    /// The header of a credential.
    pub(super) fn open(
        &self,
        credential: &StoredCredential,
    ) -> Result<(HeaderName, HeaderValue), CredentialError> {
        let opened = self
            .vault
            .open(&credential.context(), credential.sealed())
            .map_err(CredentialError::Open)?;
        let opened = opened.expose_secret();
        // Exactly sized, so that it is not moved and left behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(self.scheme.len() + opened.len()));
        bytes.extend_from_slice(self.scheme.as_bytes());
        bytes.extend_from_slice(opened);
        let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(Wiped(bytes)))
            .map_err(|_| CredentialError::NotAHeader)?;
        value.set_sensitive(true);
        Ok((self.header.clone(), value))
    }

    pub(super) fn fmt_as(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(name)
            .field("vault", &self.vault)
            .field("header", &self.header)
            .field("only_to", &self.only_to)
            .finish_non_exhaustive()
    }
}

/// The bytes of a header, which are wiped when nobody has them any more.
struct Wiped(Zeroizing<Vec<u8>>);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keyring::KeyState;
    use crate::testing::keyring;

    #[test]
    fn credentials_go_in_clear_to_this_machine_alone() {
        let vault = Vault::new(&keyring(&[(KeyState::Primary, "a")]));
        let layer = CredentialLayer::new(vault, super::super::FromExtensions);
        let check = |layer: &CredentialLayer<_>, uri: &str| {
            layer.inject.check(&uri.parse::<Uri>().unwrap()).is_ok()
        };
        for (uri, accepted) in [
            ("https://api.github.com/user", true),
            ("http://api.github.com/user", false),
            ("http://127.0.0.1:3000/user", true),
            ("http://127.0.0.1.example.com/user", false),
            ("http://[::1]:3000/user", true),
            ("http://localhost/user", true),
            ("/grpc.health.v1.Health/Check", true),
        ] {
            assert_eq!(check(&layer, uri), accepted, "{uri}");
            assert!(check(&layer.clone().dangerous_allow_plain_http(), uri));
        }
        let layer = layer.only_to("api.github.com".parse().unwrap());
        for (uri, accepted) in [
            ("https://api.github.com/user", true),
            ("https://API.github.com/user", true),
            ("https://api.github.com:8443/user", false),
            ("https://user@api.github.com/user", false),
            ("https://api.github.com.example.com/user", false),
            ("/user", false),
        ] {
            assert_eq!(check(&layer, uri), accepted, "{uri}");
        }
    }
}
