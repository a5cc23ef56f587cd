//! The binary, run to its end or as a server, and a browser for it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use reqwest::{Client, Response, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::{Ended, Process};

use crate::trial::{Trial, forge};

/// Runs it to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    Process::start(command).wait()
}

/// Runs it to its end with those arguments in an empty temporary folder.
pub(crate) fn run_with(arguments: &[&str]) -> Ended {
    run(&mut forge(TempDir::new().unwrap().path(), arguments))
}

/// It did not start, and says why on standard error alone.
pub(crate) fn assert_refuses(ended: &Ended, reasons: &[&str]) {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert_eq!(ended.stdout, "");
    for reason in reasons {
        assert!(
            ended.stderr.contains(reason),
            "no {reason:?} in {}",
            ended.stderr
        );
    }
}

/// A browser in the eyes of HTTP: it keeps cookies. Redirects are left to the test.
pub(crate) fn browser() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .cookie_store(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// Authorizes the account at the stand-in: the address that GitHub sends the browser back to.
pub(crate) async fn authorize(browser: &Client, trial: &Trial, account: u64) -> String {
    let begun = browser.get(format!("{}/auth/github/login", trial.url));
    let begun = location(&begun.send().await.unwrap());
    let (_, query) = begun.split_once('?').unwrap();
    let form = format!("{query}&account={account}&decision=authorize");
    let chosen = browser
        .post(format!("{}/login/oauth/authorize", trial.github))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form);
    location(&chosen.send().await.unwrap())
}

pub(crate) fn location(response: &Response) -> String {
    let location = response.headers().get("location");
    let location = location.unwrap_or_else(|| panic!("{response:?}"));
    location.to_str().unwrap().to_owned()
}

/// Signs in: the status that the way back ends with.
pub(crate) async fn sign_in(browser: &Client, trial: &Trial, account: u64) -> StatusCode {
    let back = authorize(browser, trial, account).await;
    browser.get(back).send().await.unwrap().status()
}

/// `(action, result)` of every event on disk, in order.
pub(crate) fn events(data: &Path) -> Vec<(String, String)> {
    let log = data.join("audit.db");
    let exported = run_with(&["audit", "export", log.to_str().unwrap()]);
    assert_eq!(exported.status.code(), Some(0), "{exported:?}");
    let text = |event: &Value, name: &str| event[name].as_str().unwrap().to_owned();
    let events = exported.stdout.lines().map(|line| {
        let event = serde_json::from_str(line).unwrap();
        (text(&event, "action"), text(&event, "outcome"))
    });
    events.collect()
}

pub(crate) fn event(action: &str, result: &str) -> (String, String) {
    (action.to_owned(), result.to_owned())
}

pub(crate) async fn control(trial: &Trial, what: &str, body: &Value) {
    let url = format!("{}/_fake/{what}", trial.github);
    let done = browser().post(url).json(body).send().await.unwrap();
    assert_eq!(done.status(), 204);
}

/// Looks again and again, up to half a minute.
pub(crate) async fn wait_until(condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A complete configuration, without `--dev`: the flags, and the environment's secrets.
pub(crate) struct Complete(pub(crate) TempDir);

impl Complete {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let keyring = forge_crypto::Keyring::generate().unwrap();
        keyring.create_file(folder.path().join("keyring")).unwrap();
        fs::write(folder.path().join("secret"), "hush\n").unwrap();
        let data = folder.path().join("data");
        let config = format!(
            "listen = \"127.0.0.1:0\"\npublic_url = \"http://127.0.0.1:3001\"\ndata = {data:?}\n\
             first_admin = 1001\nkeyring_file = {:?}\n\n[github]\nclient_id = \"id\"\n\
             client_secret_file = {:?}\n",
            folder.path().join("keyring"),
            folder.path().join("secret"),
        );
        fs::write(folder.path().join("forge.toml"), config).unwrap();
        Self(folder)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = forge(self.0.path(), arguments);
        command
            .arg("--config")
            .arg(self.0.path().join("forge.toml"));
        command
    }
}

/// A server that runs on a complete configuration, beside a stand-in for GitHub.
pub(crate) struct Live {
    pub(crate) complete: Complete,
    pub(crate) process: Process,
    pub(crate) url: String,
    pub(crate) github: fake_github::Running,
    settings: Vec<String>,
}

impl Live {
    /// The address people use; the socket is another.
    pub(crate) const PUBLIC: &str = "http://127.0.0.1:3001";

    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    pub(crate) async fn start_with(settings: &[String]) -> Self {
        let complete = Complete::new();
        let callback = format!("{}/auth/github/callback", Self::PUBLIC);
        let client = fake_github::Client::new("id", "hush", callback.parse().unwrap());
        let github = fake_github::FakeGithub::builder().client(client).build();
        let github = github.unwrap().serve("127.0.0.1:0".parse().unwrap()).await;
        let github = github.unwrap();
        let own =
            ["github.url", "github.api_url"].map(|key| format!("{key}={}", github.base_url()));
        let limits = "limits.admin=1000/s burst 1000".to_owned();
        let settings = own
            .into_iter()
            .chain([limits])
            .chain(settings.iter().cloned());
        let settings: Vec<_> = settings.collect();
        let (process, url) = serve(&complete, &settings);
        Self {
            complete,
            process,
            url,
            github,
            settings,
        }
    }

    /// Kills it, as a machine that fails does, and starts it again on what it left.
    pub(crate) fn killed_and_started_again(self) -> Self {
        self.process.signal("KILL");
        let ended = self.process.wait();
        assert_eq!(ended.status.code(), None, "{ended:?}");
        let (process, url) = serve(&self.complete, &self.settings);
        Self {
            process,
            url,
            ..self
        }
    }

    pub(crate) async fn ask(&self, request: reqwest::RequestBuilder) -> Response {
        let request = request.header("host", "127.0.0.1:3001");
        request.send().await.unwrap()
    }

    pub(crate) async fn sign_in(&self, browser: &Client, account: u64) {
        let begun = browser.get(format!("{}/auth/github/login", self.url));
        let begun = location(&self.ask(begun).await);
        let (_, query) = begun.split_once('?').unwrap();
        let form = format!("{query}&account={account}&decision=authorize");
        let chosen = browser
            .post(format!("{}/login/oauth/authorize", self.github.base_url()))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        let back = location(&chosen.send().await.unwrap());
        let back = back.replace(Self::PUBLIC, &self.url);
        assert_eq!(self.ask(browser.get(back)).await.status(), 303);
    }

    /// Opens the admin's token: a login is looked up at GitHub with it.
    pub(crate) async fn opens_the_token(&self, admin: &Client) -> StatusCode {
        let users = format!("{}/api/admin/users", self.url);
        let nobody = json!({ "login": "octo-nobody" });
        self.ask(admin.post(users).json(&nobody)).await.status()
    }

    pub(crate) fn keyring(&self) -> PathBuf {
        self.complete.0.path().join("keyring")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.complete.0.path().join("data")
    }

    /// `forge key …` beside the server, as an operator does it.
    pub(crate) fn key(&self, arguments: &[&str]) -> String {
        let mut command = forge(self.complete.0.path(), ["key"]);
        command.args(arguments).arg("--keyring").arg(self.keyring());
        if ["rewrap", "retire", "status"].contains(&arguments[0]) {
            command.arg("--data").arg(self.data());
        }
        let ended = run(&mut command);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        ended.stdout
    }

    /// Sends SIGHUP, and waits until the log has said that so many times.
    pub(crate) fn hang_up(&self, said: &str, times: usize) {
        self.process.signal("HUP");
        let mut found = 0;
        self.process.stderr_line(|line| {
            found += usize::from(line.contains(said));
            (found == times).then_some(())
        });
    }

    /// What seals the token of an account, as its column says.
    pub(crate) fn sealed_by(&self, account: u64) -> String {
        let db = Connection::open(self.data().join("forge.db")).unwrap();
        let sealed: String = db
            .query_row(
                "SELECT github_token FROM users WHERE github_id = ?1",
                [account.to_string()],
                |row| row.get(0),
            )
            .unwrap();
        sealed.split('.').nth(1).unwrap().to_owned()
    }
}

fn serve(complete: &Complete, settings: &[String]) -> (Process, String) {
    let mut command = complete.command(&["serve"]);
    for setting in settings {
        command.arg("--set").arg(setting);
    }
    let process = Process::start(&mut command);
    let address = process.stderr_line(|line| {
        let (_, rest) = line.split_once("listening address=")?;
        rest.split(' ').next().map(str::to_owned)
    });
    (process, format!("http://{address}"))
}
