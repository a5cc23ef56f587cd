//! What the databases and the log hold of what nobody else may know: nothing.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fake_github::{OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use rusqlite::Connection;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tracing_subscriber::EnvFilter;

use crate::support::{Browser, CLIENT_SECRET, Trial, agent, postgres, seconds, text};

/// The bytes of all files in the data folder, with their names; and of a backup of the database
/// where that is shared.
fn files(trial: &Trial) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(trial.data()).unwrap().map(Result::unwrap);
    let files = entries.map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    });
    let dump = postgres::dump().map(|dump| ("pg_dump".to_owned(), with_bytes(dump)));
    files.chain(dump).collect()
}

/// A dump, and behind it the bytes that it writes in hexadecimal.
fn with_bytes(dump: String) -> Vec<u8> {
    let mut bytes = Vec::new();
    for hex in dump.split("\\\\x").skip(1) {
        let digits = hex.bytes().map_while(|b| char::from(b).to_digit(16));
        let digits: Vec<_> = digits.map(|digit| digit as u8).collect();
        bytes.extend(digits.chunks_exact(2).map(|two| two[0] << 4 | two[1]));
    }
    [dump.into_bytes(), bytes].concat()
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    assert!(needle.len() >= 8, "too short to be looked for");
    haystack
        .windows(needle.len())
        .any(|window| window == needle)
}

/// Secrets, each with a name for the message.
#[derive(Default)]
struct Secrets(Vec<(&'static str, Vec<u8>)>);

impl Secrets {
    /// As it is written, and the bytes it stands for.
    fn add(&mut self, name: &'static str, secret: &str) {
        self.0.push((name, secret.as_bytes().to_vec()));
        for part in secret.split('.') {
            if let Ok(bytes) = URL_SAFE_NO_PAD.decode(part)
                && bytes.len() >= 32
            {
                self.0.push((name, bytes));
            }
        }
    }

    fn assert_not_in(&self, what: &str, bytes: &[u8]) {
        for (name, secret) in &self.0 {
            assert!(!holds(bytes, secret), "{name} is in {what}");
        }
    }
}

/// What a sign-in under way must not leave anywhere.
fn of_sign_in(secrets: &mut Secrets, browser: &Browser, callback: &str) -> String {
    let of_browser = browser.sign_ins().pop().unwrap().1;
    secrets.add("the browser's secret", &of_browser);
    let bytes = URL_SAFE_NO_PAD.decode(&of_browser).unwrap();
    let verifier = Sha256::new_with_prefix(b"forge sign-in pkce v1")
        .chain_update(bytes)
        .finalize();
    secrets.add("the PKCE verifier", &URL_SAFE_NO_PAD.encode(verifier));
    let value = |name: &str| {
        let (_, rest) = callback.split_once(&format!("{name}=")).unwrap();
        rest.split('&').next().unwrap().to_owned()
    };
    secrets.add("the code", &value("code"));
    let state = value("state");
    secrets.add("the state", &state);
    state
}

/// Everything that can be done with credentials, with those credentials.
async fn live(trial: &Trial) -> Secrets {
    let mut secrets = Secrets::default();
    secrets.add("the client secret", CLIENT_SECRET);
    for entry in trial.app.config.keyring.entries() {
        let line = entry.key().to_text();
        secrets.add("a key of the keyring", line.expose_secret());
    }
    for account in [OCTO_ADMIN, OCTO_USER, OCTO_STRANGER] {
        let browser = trial.browser();
        let callback = trial.begin(&browser, account).await;
        let state = of_sign_in(&mut secrets, &browser, &callback);
        // What is kept of the state is a hash: this is where it is looked for.
        let hash = Sha256::digest(&state);
        assert!(files(trial).iter().any(|(_, bytes)| holds(bytes, &hash)));
        browser.get(&callback).await;
        if account == OCTO_STRANGER {
            continue;
        }
        secrets.add("a session's secret", &browser.cookie("forge-dev").unwrap());
        let tokens = agent(&browser, "my-agent").await;
        let refresh = text(&tokens, "refresh_token");
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh),
            ("client_id", "my-agent"),
        ];
        let next = browser.post_form("/auth/token", &form).await.expect(200);
        for tokens in [&tokens, &next.json()] {
            secrets.add("an access token", text(tokens, "access_token"));
            secrets.add("a refresh token", text(tokens, "refresh_token"));
        }
        // And as somebody who guesses, and as an agent.
        let token = text(&tokens, "access_token");
        for token in [token, &token[..token.len() - 1]] {
            browser
                .with_token(reqwest::Method::GET, "/api/me", token)
                .await;
        }
        trial.clock.advance(seconds(900));
        browser.post_form("/auth/token", &form).await.expect(400);
        if account == OCTO_ADMIN {
            browser.get("/api/admin/audit").await.expect(200);
        }
    }
    let begun = crate::device::begin(&trial.browser()).await;
    secrets.add("a device code", text(&begun, "device_code"));
    let issued = trial.github().tokens_issued();
    assert_eq!(issued.len(), 2);
    for token in issued {
        assert!(token.starts_with("gho_"));
        secrets.add("a GitHub token", &token);
    }
    trial.app.audit.flush().await.unwrap();
    secrets
}

#[tokio::test]
pub(crate) async fn no_file_holds_a_secret_in_clear() {
    let trial = Trial::roomy().await;
    let secrets = live(&trial).await;
    let files = files(&trial);
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    let database: &[_] = match postgres::url() {
        None => &["forge.db", "forge.db-wal"],
        Some(_) => &["pg_dump"],
    };
    for name in [database, &["audit.db", "audit.db-wal"]].concat() {
        assert!(names.contains(&name), "{names:?}");
    }
    for (name, bytes) in &files {
        secrets.assert_not_in(name, bytes);
    }
    // An Ed25519 key in PKCS #8, as the signing keys are before they are sealed.
    let mut pkcs8 = Secrets::default();
    let head = b"\x06\x03\x2b\x65\x70\x04\x22\x04\x20".to_vec();
    pkcs8.0.push(("a signing key", head));
    for (name, bytes) in &files {
        pkcs8.assert_not_in(name, bytes);
    }

    // What is no secret is found where it lies, so that the search can find something.
    for (needle, file) in [
        ("octo-user", database[database.len() - 1]),
        ("octo-user", "audit.db-wal"),
        ("octo-stranger", "audit.db-wal"),
    ] {
        let (_, bytes) = files.iter().find(|(name, _)| name == file).unwrap();
        assert!(holds(bytes, needle.as_bytes()), "{needle} in {file}");
    }
}

#[tokio::test]
async fn nothing_is_left_in_clear_when_the_server_has_ended() {
    let trial = Trial::roomy().await;
    let secrets = live(&trial).await;
    let folder = trial.stop().ended().await;
    let mut seen = 0;
    for entry in fs::read_dir(folder.path().join("data")).unwrap() {
        // The last connection takes a write-ahead log with it when it is closed.
        let Ok(bytes) = fs::read(entry.unwrap().path()) else {
            continue;
        };
        secrets.assert_not_in("a file", &bytes);
        seen += usize::from(holds(&bytes, b"octo-user"));
    }
    assert!(seen >= 2, "the databases have been looked at");
}

#[tokio::test]
async fn tokens_and_signing_keys_are_sealed() {
    let trial = Trial::roomy().await;
    trial.sign_in(OCTO_USER).await;
    crate::device::begin(&trial.browser()).await;
    let database = Connection::open(trial.data().join("forge.db")).unwrap();
    let column = |query: &str| -> Vec<String> {
        let mut query = database.prepare(query).unwrap();
        let rows = query.query_map([], |row| row.get(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    for query in [
        "SELECT github_token FROM users",
        "SELECT sealed FROM signing_keys",
        "SELECT github_code FROM device_logins",
    ] {
        let sealed = column(query);
        assert_eq!(sealed.len(), 1, "{query}");
        let parts: Vec<_> = sealed[0].split('.').collect();
        assert_eq!((parts.len(), parts[0]), (3, "fv1"), "{query}");
    }
    let opened = trial.app.accounts.token(OCTO_USER).await.unwrap().unwrap();
    assert_eq!(
        trial.github().tokens_issued(),
        [opened.expose_secret().to_owned()]
    );
}

#[tokio::test]
async fn a_sealed_token_opens_in_its_own_row_only() {
    let trial = Trial::roomy().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    trial.sign_in(OCTO_USER).await;
    let database = Connection::open(trial.data().join("forge.db")).unwrap();
    let moved = "UPDATE users SET github_token = \
                 (SELECT github_token FROM users WHERE github_id = 1001) WHERE github_id = 1002";
    assert_eq!(database.execute(moved, []).unwrap(), 1);
    assert!(trial.app.accounts.token(OCTO_USER).await.is_err());
    assert!(trial.app.accounts.token(OCTO_ADMIN).await.is_ok());
    let events = trial.audit(&admin).await;
    let event = crate::support::only(&events, "vault.open");
    assert_eq!(event["result"], "error");
    assert_eq!(event["severity"], "high");
    assert_eq!(event["resource"], "users.github_token");
}

#[tokio::test]
pub(crate) async fn another_keyring_does_not_open_the_database() {
    let trial = Trial::roomy().await;
    let mut inputs = trial.inputs.clone();
    let folder = trial.stop().ended().await;
    let other = forge_crypto::Keyring::generate().unwrap().to_text();
    inputs
        .environment
        .retain(|(name, _)| name != "FORGE_KEYRING");
    let other = other.expose_secret().into();
    inputs.environment.push(("FORGE_KEYRING".into(), other));
    let config = forge_server::Config::read(&inputs).unwrap();
    let clock = forge_server::Clock::standing();
    let error = forge_server::Forge::build(config, clock).await.unwrap_err();
    assert!(
        matches!(error, forge_server::StartError::Keys(_)),
        "{error}"
    );
    drop(folder);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_log_holds_no_secret_however_much_is_logged() {
    // Of the server's side; the browser and the stand-in for GitHub share the thread.
    let filter = "forge_server=trace,forge_session=trace,forge_crypto=trace,forge_audit=trace,\
                  forge_headers=trace,forge_monitor=trace,forge_ratelimit=trace,tower_http=trace,\
                  rmcp=trace,axum=trace";
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    // While there is one subscriber alone, a place that another thread comes to first counts as
    // one that nobody listens to.
    let another = tracing::Dispatch::new(tracing_subscriber::registry());
    // For this thread, on which the test's runtime does all its work.
    let guard = tracing::subscriber::set_default(subscriber);
    let trial = Trial::roomy().await;
    let secrets = live(&trial).await;
    drop((guard, another));
    let log = log.0.lock().unwrap();
    secrets.assert_not_in("the log", &log);
    let text = String::from_utf8_lossy(&log);
    assert!(text.contains("path=/auth/github/callback"), "{text}");
}
