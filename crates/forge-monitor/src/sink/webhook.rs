//! Alerts as signed HTTP requests.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::json;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::http::Poster;
use super::reach::Reach;
use crate::alert::{Alert, AlertFuture, AlertSink, AlertState, plain};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{BoxError, SinkError};

/// The shortest secret, in bytes.
const MIN_SECRET: usize = 16;

/// What the body of a webhook looks like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum WebhookForm {
    /// The alert, with all its fields.
    #[default]
    Alert,
    /// A message as Slack, Mattermost and others take it: `{"text": …}`.
    Slack,
}

/// Posts each alert to an address, signed as [Standard Webhooks] describes it: `webhook-id` is the
/// alert's, the same for every try, `webhook-timestamp` is in seconds, and `webhook-signature` is
/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`.
///
/// The address is https and of the public Internet; the name is resolved for each alert, and what it
/// resolves to is checked and then connected to. Redirects are not followed. A receiver that does
/// not answer within 8 seconds, or not with a 2xx status, is tried again later.
///
/// [Standard Webhooks]: https://www.standardwebhooks.com
#[derive(Clone)]
pub struct WebhookSink {
    poster: Poster,
    secret: Option<Arc<Zeroizing<Vec<u8>>>>,
    form: WebhookForm,
}

impl WebhookSink {
    /// A sink for `url`, unsigned: a receiver such as Slack knows the address as a secret.
    ///
    /// # Errors
    /// [`SinkError`] where it is no https address, or one of a private network.
    pub fn new(url: &str) -> Result<Self, SinkError> {
        Self::reaching(url, Reach::Public)
    }

    /// The same for an address that may be of a private network or this machine, and may be plain
    /// http. Link-local addresses, where clouds have their metadata services, are refused even so.
    ///
    /// # Errors
    /// [`SinkError`] where it is no such address.
    pub fn dangerous_private(url: &str) -> Result<Self, SinkError> {
        Self::reaching(url, Reach::Private)
    }

    fn reaching(url: &str, reach: Reach) -> Result<Self, SinkError> {
        Ok(Self {
            poster: Poster::new(url, reach)?,
            secret: None,
            form: WebhookForm::Alert,
        })
    }

    /// Signs with this secret, shared with the receiver: at least 16 bytes, or `whsec_` and base64.
    ///
    /// # Errors
    /// [`SinkError::Secret`] where it is shorter, or no base64.
    pub fn secret(mut self, secret: &str) -> Result<Self, SinkError> {
        let bytes = match secret.strip_prefix("whsec_") {
            Some(encoded) => BASE64_STANDARD
                .decode(encoded)
                .map_err(|_| SinkError::Secret)?,
            None => secret.as_bytes().to_vec(),
        };
        let bytes = Zeroizing::new(bytes);
        if bytes.len() < MIN_SECRET {
            return Err(SinkError::Secret);
        }
        self.secret = Some(Arc::new(bytes));
        Ok(self)
    }

    /// What the body looks like. Default: [`WebhookForm::Alert`].
    #[must_use]
    pub fn form(mut self, form: WebhookForm) -> Self {
        self.form = form;
        self
    }

    fn headers(&self, id: &str, now: Timestamp, body: &str) -> Result<HeaderMap, BoxError> {
        let seconds = now.as_micros().div_euclid(1_000_000);
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", HeaderValue::from_str(id)?);
        headers.insert("webhook-timestamp", seconds.into());
        if let Some(secret) = &self.secret {
            let mut mac = Hmac::<Sha256>::new_from_slice(secret)?;
            mac.update(format!("{id}.{seconds}.{body}").as_bytes());
            let signature = BASE64_STANDARD.encode(mac.finalize().into_bytes());
            let signature = HeaderValue::from_str(&format!("v1,{signature}"))?;
            headers.insert("webhook-signature", signature);
        }
        Ok(headers)
    }

    fn body(&self, alert: &Alert) -> Result<String, BoxError> {
        Ok(match self.form {
            WebhookForm::Alert => serde_json::to_string(alert)?,
            WebhookForm::Slack => json!({ "text": slack(alert) }).to_string(),
        })
    }
}

/// With the three characters escaped that Slack gives a meaning to.
fn slack(alert: &Alert) -> String {
    let escape = |text: &str| {
        let text = plain(text).replace('&', "&amp;");
        text.replace('<', "&lt;").replace('>', "&gt;")
    };
    let mut text = format!("{}\n{}", escape(&alert.title()), escape(&alert.summary));
    if alert.state == AlertState::Firing && alert.count > 1 {
        text.push_str(&format!("\n{} times since {}", alert.count, alert.first));
    }
    text
}

impl AlertSink for WebhookSink {
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_> {
        Box::pin(async move {
            let body = self.body(&alert)?;
            let id = alert.id.to_string();
            let headers = self.headers(&id, SystemClock::new().now(), &body)?;
            self.poster.post(headers, body).await
        })
    }
}

impl fmt::Debug for WebhookSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebhookSink")
            .field("to", &self.poster.origin())
            .field("signed", &self.secret.is_some())
            .field("form", &self.form)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;

    #[test]
    fn signs_as_the_standard_says() {
        // The example of the specification's own libraries.
        let sink = WebhookSink::new("https://example.com/")
            .unwrap()
            .secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
            .unwrap();
        let now = Timestamp::from_micros(1_614_265_330_999_999);
        let body = r#"{"test": 2432232314}"#;
        let headers = sink
            .headers("msg_p5jXN8AQM9LWM0D4loKWxJek", now, body)
            .unwrap();
        assert_eq!(headers["webhook-timestamp"], "1614265330");
        assert_eq!(
            headers["webhook-signature"],
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
        let unsigned = WebhookSink::new("https://example.com/").unwrap();
        let headers = unsigned.headers("x", now, body).unwrap();
        assert!(!headers.contains_key("webhook-signature"));
    }

    #[test]
    fn refuses_addresses_and_secrets_that_are_not_safe() {
        for url in [
            "",
            "example.com",
            "http://example.com/",
            "ftp://x/",
            "https://u:p@x.com/",
        ] {
            assert!(
                matches!(WebhookSink::new(url), Err(SinkError::Url)),
                "{url}"
            );
        }
        for url in [
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://10.0.0.1/",
            "https://2130706433/",
        ] {
            let refused = WebhookSink::new(url);
            assert!(matches!(refused, Err(SinkError::Unreachable)), "{url}");
        }
        let metadata = WebhookSink::dangerous_private("http://169.254.169.254/");
        assert!(matches!(metadata, Err(SinkError::Unreachable)));
        assert!(WebhookSink::dangerous_private("http://127.0.0.1:1/").is_ok());
        let sink = || WebhookSink::new("https://example.com/").unwrap();
        for secret in ["", "short", "whsec_!", "whsec_c2hvcnQ="] {
            let refused = sink().secret(secret);
            assert!(matches!(refused, Err(SinkError::Secret)), "{secret}");
        }
    }

    #[test]
    fn a_client_can_neither_mention_nor_link_in_slack() {
        let at = Timestamp::from_micros(0);
        let alert = Alert::new(
            "x",
            "user <!channel>&<http://x|y>",
            Severity::Critical,
            "z",
            at,
        );
        let text = slack(&alert);
        assert!(
            text.starts_with("[critical] x: user &lt;!channel&gt;&amp;&lt;"),
            "{text}"
        );
        assert!(!text.contains('<'));
    }

    #[test]
    fn debug_shows_neither_the_secret_nor_the_path() {
        let sink = WebhookSink::new("https://example.com/services/T0/secret").unwrap();
        let shown = format!("{:?}", sink.secret("0123456789abcdef").unwrap());
        assert!(
            !shown.contains("secret/") && !shown.contains("services"),
            "{shown}"
        );
        assert!(!shown.contains("0123456789"), "{shown}");
    }
}
