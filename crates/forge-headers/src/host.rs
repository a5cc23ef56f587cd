//! Which hosts the service answers for, and what host a request names.

use http::header::HOST;
use http::request::Parts;

use crate::authority::Host;
use crate::connection::Connection;
use crate::error::HostError;

pub(crate) mod allow_list;
pub(crate) mod layer;
pub(crate) mod service;

/// The host that a request names: `Host`, `:authority` or an absolute request target.
///
/// # Errors
/// [`HostError`] where there is none, more than one `Host`, a malformed one, or where `Host` and
/// `:authority` differ (RFC 9112 §3.2, RFC 9113 §8.3.1).
pub fn request_host(parts: &Parts) -> Result<Host, HostError> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let field = fields.next();
    if fields.next().is_some() {
        return Err(HostError::Duplicated);
    }
    let field = field
        .map(|value| Host::parse(value.as_bytes()))
        .transpose()?;
    let authority = parts
        .uri
        .authority()
        .map(|authority| Host::parse(authority.as_str().as_bytes()))
        .transpose()?;
    match (field, authority) {
        (Some(field), Some(authority)) if field != authority => Err(HostError::Mismatch),
        (Some(host), _) | (None, Some(host)) => Ok(host),
        (None, None) => Err(HostError::Missing),
    }
}

/// The host that the client asked for: as a trusted proxy says where a [`Connection`] was
/// resolved, but only of a request that names exactly one itself.
pub(crate) fn effective_host(parts: &Parts) -> Result<Host, HostError> {
    let host = request_host(parts)?;
    match parts.extensions.get::<Connection>() {
        Some(connection) => connection.host.clone().ok_or(HostError::Malformed),
        None => Ok(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;
    use http::header::HeaderValue;

    fn host(uri: &str, fields: &[&'static [u8]]) -> Result<String, HostError> {
        let mut request = Request::builder().uri(uri).body(()).unwrap();
        for field in fields {
            let value = HeaderValue::from_bytes(field).unwrap();
            request.headers_mut().append(HOST, value);
        }
        request_host(&request.into_parts().0).map(|host| host.to_string())
    }

    #[test]
    fn takes_exactly_one_well_formed_host() {
        for (uri, fields, expected) in [
            ("/", &[&b"a.example"[..]][..], Ok("a.example")),
            ("/", &[b"A.example:8080"], Ok("a.example:8080")),
            ("https://a.example/", &[], Ok("a.example")),
            ("https://a.example/", &[b"a.example"], Ok("a.example")),
            ("/", &[], Err(HostError::Missing)),
            (
                "/",
                &[b"a.example", b"a.example"],
                Err(HostError::Duplicated),
            ),
            ("/", &[b""], Err(HostError::Malformed)),
            ("/", &[b"a.example/x"], Err(HostError::Malformed)),
            ("/", &[b"a.example?x"], Err(HostError::Malformed)),
            ("/", &[b"a.example#x"], Err(HostError::Malformed)),
            ("/", &[b"u@a.example"], Err(HostError::Malformed)),
            ("/", &[b"a.example b"], Err(HostError::Malformed)),
            ("/", &[b"a.\xffexample"], Err(HostError::Malformed)),
            ("https://u@a.example/", &[], Err(HostError::Malformed)),
            (
                "https://a.example/",
                &[b"b.example"],
                Err(HostError::Mismatch),
            ),
            (
                "https://a.example/",
                &[b"a.example:443"],
                Err(HostError::Mismatch),
            ),
        ] {
            assert_eq!(
                host(uri, fields),
                expected.map(str::to_owned),
                "{uri} {fields:?}"
            );
        }
    }
}
