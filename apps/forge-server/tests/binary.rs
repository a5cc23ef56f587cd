//! The real binary: how it starts, what it refuses, how it ends, and what it leaves on disk.

mod trial;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fake_github::{OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use reqwest::{Client, Response, StatusCode};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use test_support::{Ended, Process};
use trial::{Trial, forge};

/// Runs it to its end.
fn run(command: &mut Command) -> Ended {
    Process::start(command).wait()
}

/// Runs it to its end with those arguments in an empty temporary folder.
fn run_with(arguments: &[&str]) -> Ended {
    run(&mut forge(TempDir::new().unwrap().path(), arguments))
}

/// It did not start, and says why on standard error alone.
fn assert_refuses(ended: &Ended, reasons: &[&str]) {
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
fn browser() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .cookie_store(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// Authorizes the account at the stand-in: the address that GitHub sends the browser back to.
async fn authorize(browser: &Client, trial: &Trial, account: u64) -> String {
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

fn location(response: &Response) -> String {
    let location = response.headers().get("location");
    let location = location.unwrap_or_else(|| panic!("{response:?}"));
    location.to_str().unwrap().to_owned()
}

/// Signs in: the status that the way back ends with.
async fn sign_in(browser: &Client, trial: &Trial, account: u64) -> StatusCode {
    let back = authorize(browser, trial, account).await;
    browser.get(back).send().await.unwrap().status()
}

/// `(action, result)` of every event on disk, in order.
fn events(data: &Path) -> Vec<(String, String)> {
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

fn event(action: &str, result: &str) -> (String, String) {
    (action.to_owned(), result.to_owned())
}

#[tokio::test]
async fn a_trial_says_where_to_open_it_and_who_can_sign_in() {
    let trial = Trial::start(&[]);
    let browser = browser();
    let home = browser.get(format!("{}/", trial.url)).send().await.unwrap();
    assert_eq!(home.status(), 200);
    for (account, status) in [
        (OCTO_ADMIN, StatusCode::SEE_OTHER),
        (OCTO_USER, StatusCode::SEE_OTHER),
        (OCTO_STRANGER, StatusCode::FORBIDDEN),
    ] {
        assert_eq!(sign_in(&browser, &trial, account).await, status);
    }

    let ended = trial.end();
    for line in [
        "octo-admin     is an admin",
        "octo-user      is a user",
        "octo-stranger  is not on the allow-list",
        "Ctrl-C ends it.",
    ] {
        assert!(ended.stdout.contains(line), "{}", ended.stdout);
    }
    let data = ended
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("Data: "));
    assert!(!Path::new(data.unwrap()).exists());
}

/// Holds back GitHub's answer, so that the request that waits for it is open when Ctrl-C comes.
async fn open_request(trial: &Trial) -> tokio::task::JoinHandle<reqwest::Result<Response>> {
    let browser = browser();
    let back = authorize(&browser, trial, OCTO_USER).await;
    let slow = json!({ "endpoint": "token", "milliseconds": 60_000 });
    control(trial, "delay", &slow).await;
    let request = tokio::spawn(browser.get(back).send());
    wait_until(async || {
        let seen = format!("{}/_fake/requests", trial.github);
        let seen: Value = reqwest::get(seen).await.unwrap().json().await.unwrap();
        seen["token"] == 1
    })
    .await;
    request
}

async fn control(trial: &Trial, what: &str, body: &Value) {
    let url = format!("{}/_fake/{what}", trial.github);
    let done = browser().post(url).json(body).send().await.unwrap();
    assert_eq!(done.status(), 204);
}

/// Looks again and again, up to half a minute.
async fn wait_until(condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "it did not come to pass");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_request_that_is_open_at_ctrl_c_is_answered_and_on_record() {
    let data = TempDir::new().unwrap();
    let trial = Trial::start(&["--data", data.path().to_str().unwrap()]);
    let request = open_request(&trial).await;
    trial.process.signal("INT");
    trial
        .process
        .stderr_line(|line| line.contains("draining").then_some(()));
    // Nobody else gets in.
    let late = browser().get(format!("{}/livez", trial.url)).send().await;
    assert!(late.unwrap_err().is_connect());
    assert!(!request.is_finished());

    control(&trial, "clear", &Value::Null).await;
    let response = request.await.unwrap().unwrap();
    assert_eq!(response.status(), 303);
    assert!(response.headers().contains_key("set-cookie"));
    trial.ended();
    assert_eq!(
        events(data.path()),
        [
            event("auth.sign_in", "success"),
            event("session.create", "success")
        ]
    );
}

#[tokio::test]
async fn a_second_ctrl_c_ends_it_at_once() {
    let data = TempDir::new().unwrap();
    let trial = Trial::start(&["--data", data.path().to_str().unwrap()]);
    let request = open_request(&trial).await;
    trial.process.signal("INT");
    trial
        .process
        .stderr_line(|line| line.contains("draining").then_some(()));
    trial.process.signal("INT");
    let ended = trial.process.wait();
    assert_eq!(ended.status.code(), Some(130), "{}", ended.stderr);
    request.await.unwrap().unwrap_err();
    // The folder was given: it is kept.
    assert!(data.path().join("forge.db").exists());
}

#[tokio::test]
async fn a_trial_that_ends_at_once_leaves_no_folder_of_its_own() {
    let trial = Trial::start(&[]);
    let request = open_request(&trial).await;
    trial.process.signal("INT");
    trial
        .process
        .stderr_line(|line| line.contains("draining").then_some(()));
    trial.process.signal("INT");
    assert_eq!(trial.ended_with(130).status.code(), Some(130));
    request.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_second_start_finds_everything_the_first_left() {
    let data = TempDir::new().unwrap();
    let arguments = ["--data", data.path().to_str().unwrap()];
    let files = || {
        let mut names: Vec<_> = fs::read_dir(data.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };

    let first = Trial::start(&arguments);
    let admin = browser();
    assert_eq!(sign_in(&admin, &first, OCTO_ADMIN).await, 303);
    let users = format!("{}/api/admin/users", first.url);
    let stranger = json!({ "login": "octo-stranger", "role": "user" });
    let allowed = admin.post(&users).json(&stranger).send().await.unwrap();
    assert_eq!(allowed.status(), 201);
    let removed = admin.delete(format!("{users}/{OCTO_USER}")).send().await;
    assert_eq!(removed.unwrap().status(), 204);
    first.process.signal("TERM");
    first.ended();
    let keyring = fs::read(data.path().join("keyring")).unwrap();
    // No write-ahead log is left behind: a copy of a file is a copy of all.
    let whole = [
        "audit.checkpoints",
        "audit.db",
        "audit.db-ballast",
        "audit.key",
        "forge.db",
        "keyring",
    ];
    assert_eq!(files(), whole);
    let before = events(data.path());

    let second = Trial::start(&arguments);
    let me = admin.get(format!("{}/api/me", second.url)).send().await;
    assert_eq!(me.unwrap().status(), 200, "the session is over");
    assert_eq!(sign_in(&browser(), &second, OCTO_STRANGER).await, 303);
    assert_eq!(sign_in(&browser(), &second, OCTO_USER).await, 403);
    second.end();
    assert_eq!(fs::read(data.path().join("keyring")).unwrap(), keyring);
    let after = events(data.path());
    assert_eq!(after[..before.len()], before);
    assert_eq!(after.last(), Some(&event("auth.sign_in", "denied")));
}

#[tokio::test]
async fn another_keyring_does_not_open_the_database() {
    let data = TempDir::new().unwrap();
    let arguments = ["--data", data.path().to_str().unwrap()];
    Trial::start(&arguments).end();
    fs::remove_file(data.path().join("keyring")).unwrap();
    let listen = [
        "serve",
        "--dev",
        "--listen=127.0.0.1:0",
        "--dev-github-listen=127.0.0.1:0",
    ];
    let ended = run_with(&[&listen[..], &arguments].concat());
    assert_refuses(&ended, &["is this the keyring the database was made with?"]);
}

#[test]
fn a_trial_is_for_this_machine_alone() {
    for flag in ["--listen", "--dev-github-listen"] {
        for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
            let folder = TempDir::new().unwrap();
            let ended = run(&mut forge(folder.path(), ["serve", "--dev", flag, address]));
            let reason = format!("{address} is not loopback");
            assert_refuses(&ended, &["--dev is for this machine alone", &reason]);
            assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        }
    }
}

#[test]
fn a_trial_refuses_what_the_real_github_gave_out() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let secret_file = file("secret", "from-a-file");
    let credential = file("forge-github-client-secret", "from-the-service-manager");
    let config = file(
        "forge.toml",
        "[github]\napi_url = \"https://api.github.com\"\n",
    );
    let data = folder.path().join("data");

    let ended = run(forge(
        folder.path(),
        ["serve", "--dev", "--set", "github.client_id=real"],
    )
    .args(["--listen=127.0.0.1:0", "--dev-github-listen=127.0.0.1:0"])
    .arg("--config")
    .arg(&config)
    .arg("--data")
    .arg(&data)
    .env("FORGE_GITHUB_CLIENT_SECRET", "from-the-environment")
    .env("FORGE_GITHUB_CLIENT_SECRET_FILE", &secret_file)
    .env("CREDENTIALS_DIRECTORY", folder.path())
    .env("FORGE_GITHUB_URL", "https://github.example"));
    let of = |key: &str, origin: &str| {
        format!(
            "{key} is set, and --dev is a trial without the real GitHub (from {origin}): unset it"
        )
    };
    let reasons = [
        "has 6 problems".to_owned(),
        of("github.client_id", "the command line"),
        of("github.client_secret", "FORGE_GITHUB_CLIENT_SECRET"),
        of("github.client_secret", &secret_file.display().to_string()),
        of("github.client_secret", &credential.display().to_string()),
        of("github.url", "FORGE_GITHUB_URL"),
        of("github.api_url", &config.display().to_string()),
    ];
    assert_refuses(&ended, &reasons.each_ref().map(String::as_str));
    assert!(
        !ended.stderr.contains("from-"),
        "a secret is shown: {}",
        ended.stderr
    );
    assert!(!data.exists(), "a refused trial leaves something behind");
}

#[test]
fn a_trial_does_not_take_a_secret_from_the_command_line_for_advice() {
    let ended = run_with(&["serve", "--dev", "--set", "github.client_secret=hush"]);
    assert_refuses(&ended, &["github.client_secret is set", "unset it"]);
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
}

#[test]
fn an_address_in_use_is_named_with_the_flag_that_changes_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other) in [
        ("--listen", "--dev-github-listen"),
        ("--dev-github-listen", "--listen"),
    ] {
        let folder = TempDir::new().unwrap();
        let arguments = ["serve", "--dev", flag, &address, other, "127.0.0.1:0"];
        let ended = run(&mut forge(folder.path(), arguments));
        let reason = format!("cannot listen on {address}: choose another address with {flag}: ");
        assert_refuses(&ended, &[&reason]);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}

/// What is left of the policy, as a visitor who is not signed in is told.
async fn left(trial: &Trial) -> Option<u64> {
    let answer = browser().get(format!("{}/", trial.url)).send().await;
    let answer = answer.unwrap();
    if answer.status() == StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let fields = answer.headers().get_all("ratelimit").iter();
    let mut fields = fields.map(|field| field.to_str().unwrap());
    fields.find_map(|field| {
        let (left, _) = field.strip_prefix("\"anonymous\";r=")?.split_once(';')?;
        left.parse().ok()
    })
}

#[tokio::test]
async fn a_hangup_takes_over_new_limits_and_forgets_no_debt() {
    let folder = TempDir::new().unwrap();
    let (data, config) = (folder.path().join("data"), folder.path().join("forge.toml"));
    let write = |limits: &str| fs::write(&config, format!("[limits]\n{limits}\n")).unwrap();
    write("anonymous = \"10/hour burst 10\"");
    let trial = Trial::start(&[
        "--config",
        config.to_str().unwrap(),
        "--data",
        data.to_str().unwrap(),
    ]);
    for expected in (6..10).rev() {
        assert_eq!(left(&trial).await, Some(expected));
    }
    // The log is read from its beginning each time.
    let hang_up = |said: &str, times: usize| {
        trial.process.signal("HUP");
        let mut found = 0;
        trial.process.stderr_line(|line| {
            found += usize::from(line.contains(said));
            (found == times).then(|| line.to_owned())
        })
    };

    // Half the burst; of it four are gone already.
    write("anonymous = \"10/hour burst 5\"\ncapacity = 5000");
    let line = hang_up("was read again", 1);
    assert!(line.ends_with("keys=limits.anonymous"), "{line}");
    let rest = |line: &str| line.contains("next start").then(|| line.to_owned());
    let rest = trial.process.stderr_line(rest);
    assert!(rest.contains("keys=limits.capacity"), "{rest}");
    assert_eq!(left(&trial).await, Some(0));
    assert_eq!(left(&trial).await, None);

    // One that is wrong changes nothing, not even what is right in it.
    write("anonymous = \"10/hour burst 50\"\nweb = \"often\"");
    let line = hang_up("not taken over", 1);
    assert!(line.contains("the configuration has a problem"), "{line}");
    let named = |line: &str| line.contains("limits.web").then(|| line.to_owned());
    let named = trial.process.stderr_line(named);
    assert!(named.contains("it takes quota"), "{named}");
    assert_eq!(left(&trial).await, None);

    write("anonymous = \"3600/min burst 100\"");
    hang_up("was read again", 2);
    wait_until(async || left(&trial).await.is_some_and(|left| left > 0)).await;
    trial.end();
    assert_eq!(
        events(&data)
            .into_iter()
            .filter(|(action, _)| action == "config.reload")
            .collect::<Vec<_>>(),
        [
            event("config.reload", "success"),
            event("config.reload", "failure"),
            event("config.reload", "success"),
        ]
    );
}

/// A complete configuration, without `--dev`: the flags, and the environment's secrets.
struct Complete(TempDir);

impl Complete {
    fn new() -> Self {
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

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = forge(self.0.path(), arguments);
        command
            .arg("--config")
            .arg(self.0.path().join("forge.toml"));
        command
    }
}

#[test]
fn a_configuration_that_is_complete_is_found_so_and_serves() {
    let complete = Complete::new();
    let checked = run(&mut complete.command(&["config", "check"]));
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
    assert_eq!(checked.stdout, "the configuration has no problem");
    assert!(
        !complete.0.path().join("data").exists(),
        "a check makes nothing"
    );

    let server = Process::start(&mut complete.command(&["serve"]));
    server.stderr_line(|line| line.contains("listening").then_some(()));
    server.signal("TERM");
    let ended = server.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    assert!(complete.0.path().join("data/audit.db").exists());
}

/// A server that runs on a complete configuration, beside a stand-in for GitHub.
struct Live {
    complete: Complete,
    process: Process,
    url: String,
    github: fake_github::Running,
}

impl Live {
    /// The address people use; the socket is another.
    const PUBLIC: &str = "http://127.0.0.1:3001";

    async fn start() -> Self {
        let complete = Complete::new();
        let callback = format!("{}/auth/github/callback", Self::PUBLIC);
        let client = fake_github::Client::new("id", "hush", callback.parse().unwrap());
        let github = fake_github::FakeGithub::builder().client(client).build();
        let github = github.unwrap().serve("127.0.0.1:0".parse().unwrap()).await;
        let github = github.unwrap();
        let mut command = complete.command(&["serve"]);
        for key in ["github.url", "github.api_url"] {
            let value = format!("{key}={}", github.base_url());
            command.arg("--set").arg(value);
        }
        command.args(["--set", "limits.admin=1000/s burst 1000"]);
        let process = Process::start(&mut command);
        let address = process.stderr_line(|line| {
            let (_, rest) = line.split_once("listening address=")?;
            rest.split(' ').next().map(str::to_owned)
        });
        Self {
            complete,
            process,
            url: format!("http://{address}"),
            github,
        }
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> Response {
        let request = request.header("host", "127.0.0.1:3001");
        request.send().await.unwrap()
    }

    async fn sign_in(&self, browser: &Client, account: u64) {
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
    async fn opens_the_token(&self, admin: &Client) -> StatusCode {
        let users = format!("{}/api/admin/users", self.url);
        let nobody = json!({ "login": "octo-nobody" });
        self.ask(admin.post(users).json(&nobody)).await.status()
    }

    fn keyring(&self) -> PathBuf {
        self.complete.0.path().join("keyring")
    }

    fn data(&self) -> PathBuf {
        self.complete.0.path().join("data")
    }

    /// `forge key …` beside the server, as an operator does it.
    fn key(&self, arguments: &[&str]) -> String {
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
    fn hang_up(&self, said: &str, times: usize) {
        self.process.signal("HUP");
        let mut found = 0;
        self.process.stderr_line(|line| {
            found += usize::from(line.contains(said));
            (found == times).then_some(())
        });
    }

    /// What seals the token of an account, as its column says.
    fn sealed_by(&self, account: u64) -> String {
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

#[tokio::test]
async fn keys_are_rotated_without_a_restart() {
    let live = Live::start().await;
    let admin = browser();
    live.sign_in(&admin, OCTO_ADMIN).await;
    let old = live.sealed_by(OCTO_ADMIN);

    let added = live.key(&["add"]);
    let new = added.split(' ').next().unwrap().to_owned();
    live.hang_up("was read again", 1);
    let added = live.key(&["promote", &new]);
    assert!(added.contains("SIGHUP"), "{added}");
    live.hang_up("was read again", 2);
    // What was sealed before opens, and what is sealed from now on is under the new key.
    assert_eq!(live.opens_the_token(&admin).await, 404);
    assert_eq!(live.sealed_by(OCTO_ADMIN), old);
    let body = json!({ "github_id": OCTO_USER });
    let users = format!("{}/api/admin/users", live.url);
    let allowed = live.ask(admin.post(users).json(&body)).await;
    assert_eq!(allowed.status(), 201);
    live.sign_in(&browser(), OCTO_USER).await;
    assert_eq!(live.sealed_by(OCTO_USER), new);

    // A keyring that lacks what is still needed, or is none, changes nothing.
    let good = fs::read(live.keyring()).unwrap();
    fs::remove_file(live.keyring()).unwrap();
    let other = forge_crypto::Keyring::generate().unwrap();
    other.create_file(live.keyring()).unwrap();
    live.hang_up("could not be taken over", 1);
    assert_eq!(live.opens_the_token(&admin).await, 404);
    fs::write(live.keyring(), "forge-keyring v1\nprimary no-key\n").unwrap();
    live.hang_up("was not taken over", 1);
    assert_eq!(live.opens_the_token(&admin).await, 404);
    fs::write(live.keyring(), good).unwrap();

    live.key(&["rewrap"]);
    assert_eq!(live.sealed_by(OCTO_ADMIN), new);
    assert_eq!(live.opens_the_token(&admin).await, 404);
    live.key(&["retire", &old]);
    live.hang_up("was read again", 4);
    assert_eq!(live.opens_the_token(&admin).await, 404);
    let status = live.key(&["status"]);
    assert!(status.contains(&new) && !status.contains(&old), "{status}");

    live.process.signal("TERM");
    let data = live.data();
    let ended = live.process.wait();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    live.github.shutdown().await;
    let reloads: Vec<_> = events(&data)
        .into_iter()
        .filter(|(action, _)| ["config.reload", "vault.reload"].contains(&&**action))
        .collect();
    let taken = [
        event("vault.reload", "success"),
        event("config.reload", "success"),
    ];
    let refused = [
        event("config.reload", "error"),
        event("config.reload", "failure"),
    ];
    assert_eq!(reloads, [&taken[..], &taken, &refused, &taken].concat());
}

#[test]
fn an_address_in_use_is_told_before_a_database_is_made() {
    let complete = Complete::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = run(&mut complete.command(&["serve", "--listen", &address]));
    assert_refuses(
        &ended,
        &[&format!("cannot listen on {address}"), "--listen"],
    );
    assert!(!complete.0.path().join("data").exists());
}

#[test]
fn everything_that_is_missing_or_wrong_is_told_at_once() {
    for command in [&["serve"][..], &["config", "check"]] {
        let missing = run_with(command);
        let reasons = [
            "has 6 problems:\n",
            "  - public_url is missing: set it in the file, as FORGE_PUBLIC_URL, or by --set public_url=…\n",
            "  - data is missing",
            "  - first_admin is missing",
            "  - github.client_id is missing",
            "  - github.client_secret is missing: set FORGE_GITHUB_CLIENT_SECRET or FORGE_GITHUB_CLIENT_SECRET_FILE\n",
            "  - keyring is missing",
        ];
        assert_refuses(&missing, &reasons);
    }

    let complete = Complete::new();
    let wrong = ["--set", "lisen=127.0.0.1:1", "--set", "limits.web=often"];
    let ended = run(complete
        .command(&["config", "check"])
        .args(wrong)
        .env("FORGE_SESSIONS_WEB_IDLE", "a while"));
    let reasons = [
        "has 3 problems:\n",
        "  - lisen is not a key Forge knows (from the command line): did you mean listen?",
        "  - limits.web ",
        "  - sessions.web.idle ",
        "(from FORGE_SESSIONS_WEB_IDLE)",
    ];
    assert_refuses(&ended, &reasons);
}

#[test]
fn the_reference_is_the_page_in_the_documentation() {
    let printed = run_with(&["config", "reference"]);
    assert_eq!(printed.status.code(), Some(0));
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let page = fs::read_to_string(page).unwrap();
    assert!(
        printed.stdout == page.trim_end_matches('\n'),
        "write what `forge config reference` prints to docs/configuration.md"
    );
}

#[test]
fn a_reader_who_has_seen_enough_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let folder = TempDir::new().unwrap();
    let output = forge(folder.path(), ["config", "reference"])
        .stdin(Stdio::null())
        .stdout(writer)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[tokio::test]
async fn an_audit_log_is_verified_and_a_change_is_found() {
    let data = TempDir::new().unwrap();
    let trial = Trial::start(&["--data", data.path().to_str().unwrap()]);
    for account in [OCTO_ADMIN, OCTO_USER, OCTO_STRANGER] {
        sign_in(&browser(), &trial, account).await;
    }
    trial.end();
    let log = data.path().join("audit.db");
    let verify = |file: &Path| run_with(&["audit", "verify", file.to_str().unwrap()]);

    let whole = verify(&log);
    assert_eq!(whole.status.code(), Some(0), "{whole:?}");
    assert!(
        whole.stdout.starts_with("5 events, unbroken up to "),
        "{whole:?}"
    );
    assert_eq!(whole.stderr, "");

    for (change, position) in [
        ("UPDATE audit_segment_1 SET actor = '1001' WHERE seq = 5", 5),
        (
            "UPDATE audit_words_1 SET word = 'octo-root' WHERE word = 'octo-user'",
            3,
        ),
        (
            "UPDATE audit_segment_1 SET hash = zeroblob(32) WHERE seq = 2",
            2,
        ),
        ("DELETE FROM audit_segment_1 WHERE seq = 4", 4),
    ] {
        let folder = TempDir::new().unwrap();
        let copy = folder.path().join("audit.db");
        fs::copy(&log, &copy).unwrap();
        let db = Connection::open(&copy).unwrap();
        let triggers = "SELECT group_concat('DROP TRIGGER ' || name, ';')
                        FROM sqlite_schema WHERE type = 'trigger'";
        let drop: String = db.query_row(triggers, [], |row| row.get(0)).unwrap();
        db.execute(change, []).unwrap_err();
        db.execute_batch(&drop).unwrap();
        assert_eq!(db.execute(change, []).unwrap(), 1);
        db.close().unwrap();
        assert_refuses(
            &verify(&copy),
            &[&format!("audit record {position} does not verify")],
        );
    }

    let nothing = data.path().join("nothing.db");
    assert_refuses(&verify(&nothing), &["there is no such file"]);
    assert!(!nothing.exists(), "a verification makes nothing");
    let other = data.path().join("keyring");
    assert_refuses(&verify(&other), &["file is not a database"]);
}

#[tokio::test]
async fn an_audit_log_is_proved_archived_searched_and_forgotten() {
    let data = TempDir::new().unwrap();
    let trial = Trial::start(&["--data", data.path().to_str().unwrap()]);
    for account in [OCTO_ADMIN, OCTO_USER, OCTO_STRANGER] {
        sign_in(&browser(), &trial, account).await;
    }
    let ended = trial.end();
    let key = ended.stderr.lines().find_map(|line| {
        let (_, key) = line.split_once("audit checkpoints are signed key=")?;
        Some(key.trim().to_owned())
    });
    let key = key.unwrap();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for name in ["audit.db", "audit.checkpoints"] {
        fs::copy(data.path().join(name), path(name)).unwrap();
    }
    let (log, notes) = (path("audit.db"), path("audit.checkpoints"));
    let says = |arguments: &[&str], what: &str| {
        let ended = run_with(arguments);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stdout.contains(what), "{what}: {ended:?}");
        ended.stdout
    };

    // With the public key alone, and the checkpoints that left the database.
    let before = fs::read(&log).unwrap();
    let proved = &[
        "audit",
        "verify",
        &log,
        "--key",
        &key,
        "--checkpoints",
        &notes,
    ];
    says(proved, "as 2 signed checkpoints have it");
    assert_eq!(fs::read(&log).unwrap(), before);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    let cut = path("cut.db");
    fs::copy(&log, &cut).unwrap();
    let db = Connection::open(&cut).unwrap();
    db.execute_batch(
        "DROP TRIGGER audit_segment_1_no_DELETE; DELETE FROM audit_segment_1 WHERE seq = 5;
         DELETE FROM audit_checkpoints",
    )
    .unwrap();
    db.close().unwrap();
    says(&["audit", "verify", &cut], "4 events");
    let found = run_with(&[
        "audit",
        "verify",
        &cut,
        "--key",
        &key,
        "--checkpoints",
        &notes,
    ]);
    assert_refuses(&found, &["audit record 5 does not verify: Missing"]);
    let other = key.replace("127.0.0.1", "other");
    let refused = run_with(&["audit", "verify", &log, "--key", &other]);
    assert_refuses(&refused, &["not the public key of a log"]);

    // An archive verifies alone, and is a database again.
    let archive = path("audit.jsonl.zst");
    says(&["audit", "archive", &log, &archive], "the events up to 5");
    assert_refuses(
        &run_with(&["audit", "archive", &log, &archive]),
        &["File exists"],
    );
    says(
        &["audit", "verify", &archive, "--key", &key],
        "5 events, unbroken",
    );
    let mut bytes = fs::read(&archive).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path("bad"), bytes).unwrap();
    assert_ne!(
        run_with(&["audit", "verify", &path("bad")]).status.code(),
        Some(0)
    );
    let copy = path("copy.db");
    says(&["audit", "import", &archive, &copy], "5 events imported");
    says(
        &["audit", "verify", &copy, "--key", &key],
        "5 events, unbroken",
    );
    let found = says(
        &[
            "audit",
            "export",
            &copy,
            "--format",
            "csv",
            "--action",
            "auth.sign_in",
        ],
        "octo-stranger",
    );
    assert_eq!(
        found.lines().count(),
        4,
        "a header and three events: {found}"
    );
    says(
        &["audit", "export", &log, "--format", "ocsf", "--after", "4"],
        "class_uid",
    );
    let refused = run_with(&["audit", "export", &log, "--format", "xml"]);
    assert_refuses(&refused, &["the formats are"]);

    // A person is forgotten, and the rest verifies.
    let person = OCTO_STRANGER.to_string();
    let erase = [
        "audit",
        "erase",
        &log,
        "--actor",
        &person,
        "--why",
        "request 7",
    ];
    says(&erase, "1 events erased");
    says(
        &[
            "audit",
            "verify",
            &log,
            "--key",
            &key,
            "--checkpoints",
            &notes,
        ],
        "0 pruned and 1 erased",
    );
    let left = says(&["audit", "export", &log], "audit.erase");
    assert!(!left.contains("octo-stranger") && left.contains("request 7"));
    says(
        &["audit", "prune", &log, "--keep", "400d"],
        "0 events dropped",
    );
    assert_refuses(
        &run_with(&["audit", "prune", &log, "--keep", "forever"]),
        &["need no pruning"],
    );
}

#[test]
fn the_help_names_the_commands_and_the_way_to_try_it() {
    let help = |arguments: &[&str]| {
        let ended = run_with(arguments);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(
            ended.stdout.lines().all(|line| line.len() <= 104),
            "{}",
            ended.stdout
        );
        ended.stdout
    };
    let all = help(&["--help"]);
    for command in ["serve", "config", "audit"] {
        assert!(
            all.lines()
                .any(|line| line.trim_start().starts_with(command)),
            "{all}"
        );
    }
    let serve = help(&["serve", "--help"]);
    for flag in [
        "--dev ",
        "--dev-github-listen",
        "--config",
        "--listen",
        "--data",
        "--set",
    ] {
        assert!(serve.contains(flag), "{serve}");
    }
    let nothing = run_with(&[]);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(
        nothing.stderr.contains("Usage: forge <COMMAND>"),
        "{nothing:?}"
    );
}

#[test]
fn inspect_explains_a_request_given_as_arguments() {
    let ended = run_with(&[
        "inspect",
        "--method",
        "POST",
        "--header",
        "user-agent: sqlmap/1.8",
        "/a?b=1'%20or%20'1'='1",
    ]);
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stdout.starts_with("POST /a?b="), "{}", ended.stdout);
    for told in ["low    block", "query_value `b`", "scanner.user_agent"] {
        assert!(ended.stdout.contains(told), "{}", ended.stdout);
    }
    assert_refuses(
        &run_with(&["inspect", "--header", "none", "/"]),
        &["--header takes 'name: value'"],
    );
}

#[test]
fn inspect_answers_each_line_and_ends_quietly_when_nobody_reads_on() {
    let folder = TempDir::new().unwrap();
    let good = r#"{"method":"GET","target":"/a?b=%3Cscript%3E","headers":[["accept","*/*"]]}"#;
    let input = folder.path().join("requests");
    fs::write(&input, format!("{good}\nnot json\n{good}\n")).unwrap();
    let mut command = forge(folder.path(), ["inspect"]);
    let output = command
        .stdin(fs::File::open(&input).unwrap())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stdout).unwrap();
    let reports: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(reports.len(), 3);
    assert_eq!(reports[0]["verdict"]["low"], "block");
    assert!(reports[1]["error"].is_string());
    assert_eq!(reports[2]["line"], 3);

    fs::write(&input, format!("{good}\n").repeat(20_000)).unwrap();
    let mut child = forge(folder.path(), ["inspect"])
        .stdin(fs::File::open(&input).unwrap())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
}
