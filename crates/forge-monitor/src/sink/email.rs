//! Alerts by e-mail.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{
    Certificate, CertificateStore, Tls, TlsParameters, TlsVersion,
};
use lettre::transport::smtp::extension::ClientId;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use crate::alert::{Alert, AlertFuture, AlertSink, AlertState, plain};
use crate::error::{BoxError, SinkError};

/// How long the server may take for one answer; less than a sink is given.
const TIME_OUT: Duration = Duration::from_secs(8);
/// How many people a mail goes to at most.
const MAX_RECIPIENTS: usize = 50;

/// How the connection to the mail server is secured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmailTls {
    /// It begins in clear and must become TLS before anything is said (RFC 3207), usually on port
    /// 587. A server that does not offer it is not used.
    #[default]
    StartTls,
    /// TLS from the beginning (RFC 8314), usually on port 465.
    Tls,
    /// In clear, for a mail server on this machine: `localhost`, `127.0.0.1` or `::1`.
    InsecureLoopback,
}

/// Sends each alert as a mail, in text and HTML, with the alert's id in the `Message-ID`, the same
/// however often it is tried.
///
/// Every mail is a connection of its own. Nothing of an alert reaches a header but its title, without
/// control characters and encoded (RFC 2047), so that no client can add a header or a recipient.
///
/// ```
/// # fn main() -> Result<(), forge_monitor::SinkError> {
/// use forge_monitor::{EmailSink, EmailTls};
///
/// let sink = EmailSink::builder("smtp.example.com", "Forge <forge@example.com>")
///     .to("security@example.com")
///     .tls(EmailTls::Tls)
///     .credentials("forge", "a secret")
///     .build()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct EmailSink {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Vec<Mailbox>,
    host: String,
}

impl EmailSink {
    /// A sink that sends through the mail server `host`, from that mailbox.
    pub fn builder(host: impl Into<String>, from: impl Into<String>) -> EmailSinkBuilder {
        EmailSinkBuilder {
            host: host.into(),
            port: None,
            tls: EmailTls::StartTls,
            authority: None,
            credentials: None,
            hello: None,
            from: from.into(),
            to: Vec::new(),
        }
    }

    fn message(&self, alert: &Alert) -> Result<Message, BoxError> {
        let id = format!("<{}@{}>", alert.id, self.from.email.domain());
        let message = self
            .to
            .iter()
            .fold(Message::builder().from(self.from.clone()), |message, to| {
                message.to(to.clone())
            })
            .subject(subject(alert))
            .message_id(Some(id))
            // No out-of-office note is to come back (RFC 3834).
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Auto-Response-Suppress", "All"));
        let part = |kind, body: String| SinglePart::builder().header(kind).body(body);
        Ok(message.multipart(
            MultiPart::alternative()
                .singlepart(part(ContentType::TEXT_PLAIN, text(alert)))
                .singlepart(part(ContentType::TEXT_HTML, html(alert))),
        )?)
    }
}

impl AlertSink for EmailSink {
    fn send(&self, alert: Arc<Alert>) -> AlertFuture<'_> {
        Box::pin(async move {
            let message = self.message(&alert)?;
            self.transport.send(message).await?;
            Ok(())
        })
    }
}

impl fmt::Debug for EmailSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailSink")
            .field("host", &self.host)
            .field("from", &self.from.email)
            .field("recipients", &self.to.len())
            .finish_non_exhaustive()
    }
}

/// Completes an [`EmailSink`].
#[must_use = "nothing is sent until it is built and given to a monitor"]
pub struct EmailSinkBuilder {
    host: String,
    port: Option<u16>,
    tls: EmailTls,
    authority: Option<Vec<u8>>,
    credentials: Option<Credentials>,
    hello: Option<String>,
    from: String,
    to: Vec<String>,
}

impl EmailSinkBuilder {
    /// Adds somebody it goes to: `security@example.com`, or with a name.
    pub fn to(mut self, mailbox: impl Into<String>) -> Self {
        self.to.push(mailbox.into());
        self
    }

    /// The server's port. Default: 587, with [`EmailTls::Tls`] 465, with
    /// [`EmailTls::InsecureLoopback`] 25.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// How the connection is secured. Default: [`EmailTls::StartTls`].
    pub fn tls(mut self, tls: EmailTls) -> Self {
        self.tls = tls;
        self
    }

    /// The certificates, in PEM, of the authority that the server's is to be of, in place of those
    /// the machine trusts. Default: none.
    pub fn authority(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authority = Some(pem.into());
        self
    }

    /// Whom to sign in as. Default: nobody.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Credentials::new(user.into(), password.into()));
        self
    }

    /// How this machine calls itself to the server. Default: the domain of the sender.
    pub fn hello(mut self, name: impl Into<String>) -> Self {
        self.hello = Some(name.into());
        self
    }

    /// The sink.
    ///
    /// # Errors
    /// [`SinkError::Mailbox`] where the sender or one it goes to is none, or nobody or more than
    /// fifty are named; [`SinkError::Insecure`] where a connection in clear would leave the machine;
    /// [`SinkError::Client`] where the certificates cannot be read.
    pub fn build(self) -> Result<EmailSink, SinkError> {
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|_| SinkError::Mailbox);
        let from = mailbox(&self.from)?;
        let to = self.to.iter().map(|text| mailbox(text));
        let to = to.collect::<Result<Vec<_>, _>>()?;
        if !(1..=MAX_RECIPIENTS).contains(&to.len()) {
            return Err(SinkError::Mailbox);
        }
        let is_loopback = ["localhost", "127.0.0.1", "::1"].contains(&self.host.as_str());
        let (tls, port) = match self.tls {
            EmailTls::StartTls => (Tls::Required(self.parameters()?), 587),
            EmailTls::Tls => (Tls::Wrapper(self.parameters()?), 465),
            EmailTls::InsecureLoopback if is_loopback => (Tls::None, 25),
            EmailTls::InsecureLoopback => return Err(SinkError::Insecure),
        };
        let hello = self.hello.unwrap_or_else(|| from.email.domain().to_owned());
        let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port.unwrap_or(port))
            .tls(tls)
            .hello_name(ClientId::Domain(hello))
            .timeout(Some(TIME_OUT));
        if let Some(credentials) = self.credentials {
            transport = transport.credentials(credentials);
        }
        Ok(EmailSink {
            transport: transport.build(),
            from,
            to,
            host: self.host,
        })
    }

    fn parameters(&self) -> Result<TlsParameters, SinkError> {
        let failed = |error: lettre::transport::smtp::Error| SinkError::Client(error.into());
        let mut builder =
            TlsParameters::builder(self.host.clone()).set_min_tls_version(TlsVersion::Tlsv12);
        if let Some(pem) = &self.authority {
            let mark = b"-----BEGIN CERTIFICATE-----";
            if !pem.windows(mark.len()).any(|window| window == mark) {
                return Err(SinkError::Client("there is no certificate".into()));
            }
            builder = builder
                .certificate_store(CertificateStore::None)
                .add_root_certificate(Certificate::from_pem(pem).map_err(failed)?);
        }
        builder.build_rustls().map_err(failed)
    }
}

impl fmt::Debug for EmailSinkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmailSinkBuilder")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// One line, without control characters, of bounded length.
fn subject(alert: &Alert) -> String {
    const MAX: usize = 200;
    let title = alert.title();
    let end = title.floor_char_boundary(MAX.min(title.len()));
    format!("Forge {}", &title[..end])
}

/// What there is to say, a row each.
fn rows(alert: &Alert) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("What", plain(&alert.summary)),
        ("Whom", plain(&alert.scope)),
        ("Scenario", plain(&alert.scenario)),
        ("Severity", alert.severity.as_str().to_owned()),
        ("First", alert.first.to_string()),
        (
            match alert.state {
                AlertState::Firing => "Last",
                AlertState::Resolved => "Over since",
            },
            alert.last.to_string(),
        ),
    ];
    if alert.count > 1 {
        rows.push(("Times", alert.count.to_string()));
    }
    rows.push(("Notice", alert.id.to_string()));
    rows
}

fn text(alert: &Alert) -> String {
    let rows = rows(alert).into_iter();
    let lines = rows.map(|(name, value)| format!("{name}: {value}\n"));
    format!("{}\n\n{}", alert.title(), lines.collect::<String>())
}

fn html(alert: &Alert) -> String {
    let rows = rows(alert).into_iter().map(|(name, value)| {
        format!(
            "<tr><th align=\"left\">{name}</th><td>{}</td></tr>\n",
            escaped(&value)
        )
    });
    format!(
        "<!doctype html>\n<html><body>\n<h3>{}</h3>\n<table>\n{}</table>\n</body></html>\n",
        escaped(&alert.title()),
        rows.collect::<String>()
    )
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;
    use crate::clock::Timestamp;
    use proptest::prelude::*;

    fn sink() -> EmailSink {
        EmailSink::builder("localhost", "Forge <forge@example.com>")
            .to("ops@example.com")
            .tls(EmailTls::InsecureLoopback)
            .build()
            .unwrap()
    }

    /// The names of the headers of the whole message, and what stands before its body.
    fn headers(message: &Message) -> Vec<String> {
        let raw = String::from_utf8(message.formatted()).unwrap();
        let (head, _) = raw.split_once("\r\n\r\n").unwrap();
        let lines = head
            .split("\r\n")
            .filter(|line| !line.starts_with([' ', '\t']));
        lines
            .map(|line| line.split(':').next().unwrap().to_ascii_lowercase())
            .collect()
    }

    #[test]
    fn a_mail_has_the_notices_id_and_both_forms() {
        let at = Timestamp::from_micros(1_700_000_000_000_000);
        let alert = Alert::new(
            "x",
            "network 192.0.2.1",
            Severity::Critical,
            "a < b & c",
            at,
        );
        let raw = String::from_utf8(sink().message(&alert).unwrap().formatted()).unwrap();
        assert!(
            raw.contains(&format!("Message-ID: <{}@example.com>", alert.id)),
            "{raw}"
        );
        assert!(
            raw.contains("Subject: Forge [critical] x: network 192.0.2.1"),
            "{raw}"
        );
        assert!(raw.contains("What: a < b & c"), "{raw}");
        assert!(raw.contains("<td>a &lt; b &amp; c</td>"), "{raw}");
        assert!(raw.contains("First: 2023-11-14T22:13:20"), "{raw}");
        assert!(raw.contains("Auto-Submitted: auto-generated"), "{raw}");
    }

    proptest! {
        #[test]
        fn no_text_of_an_alert_adds_a_header(scope in any::<String>(), summary in any::<String>()) {
            let at = Timestamp::from_micros(0);
            let mut alert = Alert::new("x", "y", Severity::Info, "z", at);
            let plain = headers(&sink().message(&alert).unwrap());
            // As from a caller that escapes nothing.
            alert.scope = format!("a\r\nBcc: evil@example.com\r\n\r\n{scope}");
            alert.summary = format!("\nX-Evil: 1\r\n.\r\n{summary}");
            prop_assert_eq!(headers(&sink().message(&alert).unwrap()), plain);
        }
    }

    #[test]
    fn refuses_what_cannot_be_sent_safely() {
        let build = |host: &str, from: &str, to: &str, tls| {
            let sink = EmailSink::builder(host, from).to(to).tls(tls);
            sink.build().map(|_| ())
        };
        let clear = EmailTls::InsecureLoopback;
        let refused = build("mail.example.com", "a@b.c", "a@b.c", clear);
        assert!(matches!(refused, Err(SinkError::Insecure)));
        for (from, to) in [
            ("a", "a@b.c"),
            ("a@b.c", "x"),
            ("a@b.c", "a@b.c\r\nBcc: d@e.f"),
        ] {
            let refused = build("localhost", from, to, clear);
            assert!(matches!(refused, Err(SinkError::Mailbox)), "{from} {to}");
        }
        let nobody = EmailSink::builder("localhost", "a@b.c").build();
        assert!(matches!(nobody, Err(SinkError::Mailbox)));
        let no_pem = EmailSink::builder("localhost", "a@b.c")
            .to("a@b.c")
            .authority("no certificate")
            .build();
        assert!(matches!(no_pem, Err(SinkError::Client(_))));
    }
}
