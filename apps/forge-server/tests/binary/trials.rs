//! `forge serve --dev`: how it starts, what it refuses, how it ends, and what it leaves on disk.

use std::fs;
use std::path::{Path, PathBuf};

use fake_github::{OCTO_ADMIN, OCTO_STRANGER, OCTO_USER};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    assert_refuses, authorize, browser, control, event, events, run, run_with, sign_in, wait_until,
};
use crate::trial::{Trial, forge};

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
        // Whoever tries it signs in more often within a moment than production allows.
        (OCTO_ADMIN, StatusCode::SEE_OTHER),
        (OCTO_USER, StatusCode::SEE_OTHER),
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

/// A request that is open, with Ctrl-C noticed behind it.
async fn interrupted_request(trial: &Trial) -> tokio::task::JoinHandle<reqwest::Result<Response>> {
    let request = open_request(trial).await;
    trial.process.signal("INT");
    let noticed = |line: &str| line.contains("draining").then_some(());
    trial.process.stderr_line(noticed);
    request
}

#[tokio::test]
async fn a_request_that_is_open_at_ctrl_c_is_answered_and_on_record() {
    let data = TempDir::new().unwrap();
    let trial = Trial::start(&["--data", data.path().to_str().unwrap()]);
    let request = interrupted_request(&trial).await;
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
    let request = interrupted_request(&trial).await;
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
    let request = interrupted_request(&trial).await;
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
