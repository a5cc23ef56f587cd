//! What a running server takes over.

use std::fs;

use fake_github::{OCTO_ADMIN, OCTO_USER};
use reqwest::StatusCode;
use serde_json::json;
use tempfile::TempDir;

use crate::support::{Live, browser, event, events, wait_until};
use crate::trial::Trial;

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
