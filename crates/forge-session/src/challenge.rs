//! The `WWW-Authenticate` of a refusal (RFC 6750, section 3).

use std::fmt::Write;
use std::time::Duration;

use http::HeaderValue;

/// What a client that is not signed in is told about how to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    parameters: String,
}

impl Challenge {
    /// `Bearer realm="forge"`.
    #[must_use]
    pub fn bearer() -> Self {
        Self {
            parameters: r#"Bearer realm="forge""#.to_owned(),
        }
    }

    /// Adds `resource_metadata`, the URL where a client learns which authorization server to ask
    /// (RFC 9728, section 5.1).
    #[must_use]
    pub fn resource_metadata(self, url: &str) -> Self {
        self.parameter("resource_metadata", url)
    }

    /// Adds `scope`, the scopes that are needed, separated by spaces.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        self.parameter("scope", scope)
    }

    /// Adds `max_age`, how many seconds ago the last sign-in may be (RFC 9470, section 3).
    #[must_use]
    pub fn max_age(self, max_age: Duration) -> Self {
        self.parameter("max_age", &max_age.as_secs().to_string())
    }

    /// Quotes the value (RFC 9110, section 5.6.4). What no quoted string may hold is left out.
    fn parameter(mut self, name: &str, value: &str) -> Self {
        self.parameters.push_str(", ");
        self.parameters.push_str(name);
        self.parameters.push_str("=\"");
        for c in value.chars().filter(|c| matches!(c, ' '..='~')) {
            if matches!(c, '"' | '\\') {
                self.parameters.push('\\');
            }
            self.parameters.push(c);
        }
        self.parameters.push('"');
        self
    }

    /// The field's value, with an error code where the client sent a credential.
    pub(crate) fn header(&self, error: Option<&'static str>) -> HeaderValue {
        let mut text = self.parameters.clone();
        if let Some(error) = error {
            // Writing to a string cannot fail.
            let _ = write!(text, r#", error="{error}""#);
        }
        // `parameter` lets only visible characters through.
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static("Bearer"))
    }
}

impl Default for Challenge {
    fn default() -> Self {
        Self::bearer()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_metadata_and_the_error() {
        let challenge = Challenge::bearer().resource_metadata("https://a/.well-known/x");
        assert_eq!(
            challenge.header(Some("invalid_token")),
            r#"Bearer realm="forge", resource_metadata="https://a/.well-known/x", error="invalid_token""#
        );
        assert_eq!(Challenge::bearer().header(None), r#"Bearer realm="forge""#);
    }

    #[test]
    fn lets_no_value_out_of_its_quotes() {
        let challenge = Challenge::bearer().scope("a\" b\\\r\nx: é");
        assert_eq!(
            challenge.header(None),
            r#"Bearer realm="forge", scope="a\" b\\x: ""#
        );
    }
}
