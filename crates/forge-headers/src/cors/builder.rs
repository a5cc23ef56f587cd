//! Builds a policy, and refuses to build what must not be.

use std::time::Duration;

use http::Method;
use http::header::{HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};

use crate::cors::{Cors, Origins, Values};
use crate::environment::Environment;
use crate::error::CorsError;
use crate::origin_pattern::{OriginPattern, is_local_with_port};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Collects a [`Cors`] policy.
#[derive(Clone, Debug)]
#[must_use]
pub struct CorsBuilder {
    origins: Vec<String>,
    development_origins: Vec<String>,
    environment: Environment,
    any_origin: bool,
    methods: Vec<String>,
    headers: Vec<String>,
    exposed_headers: Vec<String>,
    credentials: bool,
    max_age: Duration,
}

impl Default for CorsBuilder {
    fn default() -> Self {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Self {
            origins: Vec::new(),
            development_origins: Vec::new(),
            environment: Environment::default(),
            any_origin: false,
            methods: owned(&["GET", "HEAD", "POST"]),
            headers: Vec::new(),
            exposed_headers: owned(&[
                WWW_AUTHENTICATE.as_str(),
                RETRY_AFTER.as_str(),
                "ratelimit",
                "ratelimit-policy",
                "grpc-status",
                "grpc-message",
            ]),
            credentials: false,
            max_age: Duration::from_secs(10 * 60),
        }
    }
}

impl CorsBuilder {
    /// Allows these origins, such as `https://app.example.com` or `https://*.example.com`. May be
    /// called several times.
    pub fn origins<T: Into<String>>(mut self, origins: impl IntoIterator<Item = T>) -> Self {
        self.origins.extend(origins.into_iter().map(Into::into));
        self
    }

    /// Allows these origins too, but in [`Environment::Development`] only: this machine at ports
    /// that are written out, such as `http://localhost:5173`. May be called several times.
    pub fn development_origins<T: Into<String>>(
        mut self,
        origins: impl IntoIterator<Item = T>,
    ) -> Self {
        self.development_origins
            .extend(origins.into_iter().map(Into::into));
        self
    }

    /// Where the service runs. Default: [`Environment::Production`].
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = environment;
        self
    }

    /// Allows every origin, without credentials: for what anyone may read anyway.
    pub fn any_origin(mut self) -> Self {
        self.any_origin = true;
        self
    }

    /// The methods that other origins may use. Default: `GET`, `HEAD`, `POST`.
    pub fn methods<T: Into<String>>(mut self, methods: impl IntoIterator<Item = T>) -> Self {
        self.methods = methods.into_iter().map(Into::into).collect();
        self
    }

    /// The request header fields that other origins may set. Default: none beyond those that need
    /// no preflight.
    pub fn headers<T: Into<String>>(mut self, headers: impl IntoIterator<Item = T>) -> Self {
        self.headers = headers.into_iter().map(Into::into).collect();
        self
    }

    /// The response header fields that other origins may read. Default: `WWW-Authenticate`,
    /// `Retry-After`, `RateLimit`, `RateLimit-Policy`, and for gRPC-Web `grpc-status` and
    /// `grpc-message`.
    pub fn exposed_headers<T: Into<String>>(
        mut self,
        headers: impl IntoIterator<Item = T>,
    ) -> Self {
        self.exposed_headers = headers.into_iter().map(Into::into).collect();
        self
    }

    /// Whether the browser may send cookies and client certificates along. Default: no.
    pub fn credentials(mut self, credentials: bool) -> Self {
        self.credentials = credentials;
        self
    }

    /// How long a browser may remember the answer to a preflight, in whole seconds. Default: ten
    /// minutes.
    pub fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = max_age;
        self
    }

    /// The policy. Without an origin it is [`Cors::none`].
    ///
    /// # Errors
    /// [`CorsError`] for what is not an origin, a method or a header field; `null`; a wildcard
    /// that is not the leftmost label, or stands over a public suffix such as `co.uk`; credentials
    /// with any origin, or with one that is neither https nor this machine; any origin beside a
    /// list; an origin for development that is not this machine; `CONNECT`, `TRACE` and `TRACK`;
    /// a `max_age` of more than a day.
    pub fn build(self) -> Result<Cors, CorsError> {
        if self.any_origin && self.credentials {
            return Err(CorsError::CredentialsWithAnyOrigin);
        }
        if self.any_origin && !self.origins.is_empty() {
            return Err(CorsError::AnyOriginWithList);
        }
        if self.max_age > DAY {
            return Err(CorsError::MaxAge);
        }
        let parse = |origin| parse_origin(origin, self.credentials);
        let mut origins = self
            .origins
            .into_iter()
            .map(parse)
            .collect::<Result<Vec<_>, _>>()?;
        for origin in self.development_origins {
            let is_local = is_local_with_port(&origin);
            let pattern = parse(origin.clone())?;
            if !is_local {
                return Err(CorsError::NotLocal { origin });
            }
            if self.environment == Environment::Development {
                origins.push(pattern);
            }
        }
        let methods = self
            .methods
            .into_iter()
            .map(parse_method)
            .collect::<Result<Vec<_>, _>>()?;
        let headers = parse_headers(self.headers)?;
        let exposed = parse_headers(self.exposed_headers)?;
        if origins.is_empty() && !self.any_origin {
            return Ok(Cors::none());
        }
        Ok(Cors {
            values: Values {
                methods: list(methods.iter().map(Method::as_str)),
                headers: list(headers.iter().map(HeaderName::as_str)),
                exposed: list(exposed.iter().map(HeaderName::as_str)),
                max_age: HeaderValue::from(self.max_age.as_secs()),
            },
            origins: if self.any_origin {
                Origins::Any
            } else {
                Origins::List(origins)
            },
            methods,
            headers,
            credentials: self.credentials,
        })
    }
}

fn parse_origin(text: String, credentials: bool) -> Result<OriginPattern, CorsError> {
    let pattern = OriginPattern::parse(text)?;
    if credentials && !pattern.is_trustworthy() {
        let origin = pattern.to_string();
        return Err(CorsError::InsecureOriginWithCredentials { origin });
    }
    Ok(pattern)
}

fn parse_method(text: String) -> Result<Method, CorsError> {
    // Browsers refuse to send these (Fetch §2.2.1), in whatever case.
    let is_forbidden = ["CONNECT", "TRACE", "TRACK"]
        .iter()
        .any(|forbidden| text.eq_ignore_ascii_case(forbidden));
    match Method::from_bytes(text.as_bytes()) {
        Ok(method) if !is_forbidden && text != "*" => Ok(method),
        _ => Err(CorsError::Method { method: text }),
    }
}

fn parse_headers(names: Vec<String>) -> Result<Vec<HeaderName>, CorsError> {
    names
        .into_iter()
        .map(|name| match HeaderName::from_bytes(name.as_bytes()) {
            // Not even `*` covers `Authorization`, so that a list is clearer.
            Ok(parsed) if name != "*" => Ok(parsed),
            _ => Err(CorsError::Header { name }),
        })
        .collect()
}

/// Names joined by commas; `None` for an empty list.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let joined = names.collect::<Vec<_>>().join(", ");
    let joined = Some(joined).filter(|joined| !joined.is_empty())?;
    HeaderValue::try_from(joined).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::OriginError;

    fn origin_error(origin: &str, source: OriginError) -> CorsError {
        let origin = origin.to_owned();
        CorsError::Origin { origin, source }
    }

    #[test]
    fn refuses_to_build_what_must_not_be() {
        let app = || Cors::builder().origins(["https://app.example.com"]);
        for (builder, error) in [
            (
                Cors::builder().any_origin().credentials(true),
                CorsError::CredentialsWithAnyOrigin,
            ),
            (app().any_origin(), CorsError::AnyOriginWithList),
            (
                app().origins(["null"]),
                origin_error("null", OriginError::Null),
            ),
            (
                app().origins(["*"]),
                origin_error("*", OriginError::Wildcard),
            ),
            (
                app().origins(["https://app.example.com/"]),
                origin_error("https://app.example.com/", OriginError::Path),
            ),
            (
                app().origins(["app.example.com"]),
                origin_error("app.example.com", OriginError::Malformed),
            ),
            (
                app().origins(["http://app.example.com"]).credentials(true),
                CorsError::InsecureOriginWithCredentials {
                    origin: "http://app.example.com".to_owned(),
                },
            ),
            (
                app().origins(["http://*.example.com"]).credentials(true),
                CorsError::InsecureOriginWithCredentials {
                    origin: "http://*.example.com".to_owned(),
                },
            ),
            (
                app().origins(["https://*.co.uk"]),
                CorsError::PublicSuffix {
                    origin: "https://*.co.uk".to_owned(),
                },
            ),
            (
                app().development_origins(["https://dev.example.com:5173"]),
                CorsError::NotLocal {
                    origin: "https://dev.example.com:5173".to_owned(),
                },
            ),
            (
                app().development_origins(["http://localhost"]),
                CorsError::NotLocal {
                    origin: "http://localhost".to_owned(),
                },
            ),
            (
                app().development_origins(["*"]),
                origin_error("*", OriginError::Wildcard),
            ),
            (
                app().methods(["trace"]),
                CorsError::Method {
                    method: "trace".to_owned(),
                },
            ),
            (
                app().methods(["*"]),
                CorsError::Method {
                    method: "*".to_owned(),
                },
            ),
            (
                app().headers(["*"]),
                CorsError::Header {
                    name: "*".to_owned(),
                },
            ),
            (
                app().exposed_headers(["a b"]),
                CorsError::Header {
                    name: "a b".to_owned(),
                },
            ),
            (
                app().max_age(DAY + Duration::from_secs(1)),
                CorsError::MaxAge,
            ),
        ] {
            assert_eq!(builder.build().unwrap_err(), error);
        }
        assert!(app().max_age(DAY).build().is_ok());
    }

    #[test]
    fn origins_for_development_are_allowed_there_only() {
        let allowed = |environment| {
            let cors = Cors::builder()
                .origins(["https://app.example.com"])
                .development_origins(["http://localhost:5173", "http://127.0.0.1:5173"])
                .environment(environment)
                .build()
                .unwrap();
            cors.listed().len()
        };
        assert_eq!(allowed(Environment::Production), 1);
        assert_eq!(allowed(Environment::Development), 3);
    }

    #[test]
    fn credentials_may_go_to_https_and_to_this_machine() {
        let origins = [
            "https://app.example.com",
            "http://localhost:5173",
            "http://[::1]:1",
        ];
        assert!(
            Cors::builder()
                .origins(origins)
                .credentials(true)
                .build()
                .is_ok()
        );
    }
}
