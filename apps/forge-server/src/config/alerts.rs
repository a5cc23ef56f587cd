//! `alerts.*`: who is told.

use std::time::Duration;

use forge_monitor::{
    AlertmanagerSink, EmailSink, EmailTls, Severity, SinkError, WebhookForm, WebhookSink,
};
use secrecy::{ExposeSecret, SecretString};

use super::problem::Problem;
use super::{Reader, parse, visible};

/// `alerts.*`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the key of its name")]
pub struct AlertsConfig {
    pub at_least: Severity,
    pub cool_down: Duration,
    pub max_age: Duration,
    pub sink_grace: Duration,
    /// In bytes.
    pub spill: usize,
    pub email: Option<EmailSink>,
    pub alertmanager: Option<AlertmanagerSink>,
    /// `[[alerts.webhook]]`, by name.
    pub webhooks: Vec<(String, WebhookSink)>,
}

impl AlertsConfig {
    pub(super) fn from_reader(reader: &mut Reader) -> Option<Self> {
        let at_least = reader.one("alerts.at_least", severity);
        let cool_down = reader.one("alerts.cool_down", parse::duration);
        let max_age = reader.one("alerts.max_age", patience);
        let sink_grace = reader.one("alerts.sink_grace", patience);
        let spill = reader.one("alerts.spill", parse::number(1 << 16..=64 << 20));
        let email = email(reader);
        let alertmanager = alertmanager(reader);
        let webhooks = webhooks(reader);
        Some(Self {
            at_least: at_least?,
            cool_down: cool_down?,
            max_age: max_age?,
            sink_grace: sink_grace?,
            spill: spill?,
            email,
            alertmanager,
            webhooks,
        })
    }
}

/// How long an alert may wait: no shorter than nodes need to say which ways they have.
fn patience(text: &str) -> Result<Duration, String> {
    let patience = parse::duration(text)?;
    match patience < Duration::from_secs(600) {
        true => Err("must be at least ten minutes, `10m`".to_owned()),
        false => Ok(patience),
    }
}

fn severity(text: &str) -> Result<Severity, String> {
    match text {
        "info" => Ok(Severity::Info),
        "warning" => Ok(Severity::Warning),
        "critical" => Ok(Severity::Critical),
        _ => Err("must be info, warning or critical".to_owned()),
    }
}

fn email(reader: &mut Reader) -> Option<EmailSink> {
    let host = reader.one("alerts.email.host", visible);
    let port = reader.one("alerts.email.port", parse::number(1..=65_535));
    let tls = reader.one("alerts.email.tls", |text| match text {
        "starttls" => Ok(EmailTls::StartTls),
        "tls" => Ok(EmailTls::Tls),
        "none" => Ok(EmailTls::InsecureLoopback),
        _ => Err("must be starttls, tls, or none for a mail server on this machine".to_owned()),
    });
    let from = reader.one("alerts.email.from", |text| Ok(text.to_owned()));
    let to = reader.one("alerts.email.to", parse::list(|text| Ok(text.to_owned())));
    let user = reader.one("alerts.email.user", visible);
    let password = reader.one("alerts.email.password", |text| {
        Ok(SecretString::from(text.to_owned()))
    });
    let ca = reader.one("alerts.email.ca", |text| {
        std::fs::read(text).map_err(|error| format!("cannot be read: {error}"))
    });
    let host = host?;
    let Some(from) = from else {
        let fix = "set alerts.email.from to a mailbox such as forge@example.com";
        reader.refuse("alerts.email.host", "is set without a sender", fix);
        return None;
    };
    let mut builder = EmailSink::builder(host, from).tls(tls?);
    for to in to.unwrap_or_default() {
        builder = builder.to(to);
    }
    if let Some(port) = port {
        builder = builder.port(u16::try_from(port).ok()?);
    }
    if let Some(ca) = ca {
        builder = builder.authority(ca);
    }
    match (user, password) {
        (Some(user), Some(password)) => {
            builder = builder.credentials(user, password.expose_secret());
        }
        (None, None) => {}
        _ => {
            let fix = "set both alerts.email.user and alerts.email.password, or none";
            reader.refuse("alerts.email.user", "goes with a password", fix);
            return None;
        }
    }
    match builder.build() {
        Ok(sink) => Some(sink),
        Err(error) => {
            let key = match error {
                SinkError::Mailbox => "alerts.email.to",
                SinkError::Insecure => "alerts.email.tls",
                _ => "alerts.email.ca",
            };
            let fix = "see `forge config reference`";
            reader.refuse(key, format!("cannot be used: {error}"), fix);
            None
        }
    }
}

fn alertmanager(reader: &mut Reader) -> Option<AlertmanagerSink> {
    let url = reader.one("alerts.alertmanager.url", visible);
    let token = reader.one("alerts.alertmanager.token", visible);
    let sink = AlertmanagerSink::new(&url?).and_then(|sink| match token {
        Some(token) => sink.bearer(&token),
        None => Ok(sink),
    });
    match sink {
        Ok(sink) => Some(sink),
        Err(error) => {
            let fix = "write it as http://alertmanager:9093";
            let what = format!("cannot be used: {error}");
            reader.refuse("alerts.alertmanager.url", what, fix);
            None
        }
    }
}

/// The webhooks that are well-formed; each that is not is a problem.
fn webhooks(reader: &mut Reader) -> Vec<(String, WebhookSink)> {
    let Some(tables) = reader.tables("alerts.webhook") else {
        return Vec::new();
    };
    let mut webhooks: Vec<(String, WebhookSink)> = Vec::new();
    for (number, item) in tables.items.iter().enumerate() {
        match webhook(item) {
            Ok((name, _)) if webhooks.iter().any(|(taken, _)| *taken == name) => {
                let key = format!("alerts.webhook.{name}");
                let problem = Problem::new(key, "is there twice", "give each a name of its own");
                reader.problems.push(problem.from(tables.origin.clone()));
            }
            Ok(webhook) => webhooks.push(webhook),
            Err((field, what, fix)) => {
                let key = format!("alerts.webhook.{}.{field}", number + 1);
                let problem = Problem::new(key, what, fix).from(tables.origin.clone());
                reader.problems.push(problem);
            }
        }
    }
    webhooks
}

type Mistake = (String, String, String);

fn webhook(item: &toml::Value) -> Result<(String, WebhookSink), Mistake> {
    let wrong =
        |field: &str, what: &str, fix: &str| (field.to_owned(), what.to_owned(), fix.to_owned());
    let toml::Value::Table(table) = item else {
        return Err(wrong(
            "*",
            "is no table",
            "begin it with `[[alerts.webhook]]`",
        ));
    };
    const FIELDS: [&str; 6] = ["name", "url", "secret", "secret_file", "form", "private"];
    if let Some(unknown) = table.keys().find(|field| !FIELDS.contains(&field.as_str())) {
        let fix = format!("the fields are {}", FIELDS.join(", "));
        return Err(wrong(
            &unknown.escape_debug().to_string(),
            "is not known",
            &fix,
        ));
    }
    let text = |field: &str| match table.get(field) {
        None => Ok(None),
        Some(toml::Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(wrong(field, "is no text", "write it in quotes")),
    };
    let name = text("name")?.unwrap_or_default();
    let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    if !(1..=32).contains(&name.len()) || !name.bytes().all(is_plain) {
        let fix = "give it one, of 1 to 32 of a-z, 0-9, `_` and `-`";
        return Err(wrong("name", "is no name", fix));
    }
    let url = text("url")?
        .ok_or_else(|| wrong("url", "is missing", "set it to https://… of the receiver"))?;
    let private = match table.get("private") {
        None => false,
        Some(toml::Value::Boolean(private)) => *private,
        Some(_) => {
            return Err(wrong(
                "private",
                "is not true or false",
                "write one of them",
            ));
        }
    };
    let sink = match private {
        true => WebhookSink::dangerous_private(&url),
        false => WebhookSink::new(&url),
    };
    let sink = sink.map_err(|error| {
        let fix = "use a public https address, or set `private = true`";
        wrong("url", &format!("cannot be used: {error}"), fix)
    })?;
    let secret = match (text("secret")?, text("secret_file")?) {
        (Some(secret), _) => Some(secret),
        (None, Some(path)) => Some(std::fs::read_to_string(&path).map_err(|error| {
            let what = format!("cannot be read: {error}");
            wrong("secret_file", &what, "name a readable file of text")
        })?),
        (None, None) => None,
    };
    let sink = match secret {
        Some(secret) => sink.secret(secret.trim()).map_err(|error| {
            wrong(
                "secret",
                &format!("cannot be used: {error}"),
                "make it longer",
            )
        })?,
        None => sink,
    };
    let form = match text("form")?.as_deref() {
        None | Some("alert") => WebhookForm::Alert,
        Some("slack") => WebhookForm::Slack,
        Some(_) => return Err(wrong("form", "is not known", "use alert or slack")),
    };
    Ok((name, sink.form(form)))
}
