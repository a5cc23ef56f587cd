//! Whether the server works, as those see it who ask: `/api/health`, `/readyz`, `/livez`.

use std::fs;

use fake_github::{OCTO_ADMIN, OCTO_USER};
use rusqlite::Connection;
use serde_json::json;

use crate::support::{Trial, seconds};

/// Checks are asked again after two seconds.
async fn assert_health(trial: &Trial, status: u16) {
    trial.clock.advance(seconds(3));
    let browser = trial.browser();
    let answer = browser.get("/api/health").await.expect(status);
    let word = if status == 200 { "up" } else { "down" };
    assert_eq!(answer.json(), json!({ "status": word }));
    browser.probe("/readyz").await.expect(status);
    // Whatever becomes of the database, the process need not be restarted.
    browser.probe("/livez").await.expect(200);
}

#[tokio::test]
async fn a_database_that_is_deleted_is_noticed() {
    for name in ["forge.db", "audit.db"] {
        let trial = Trial::start().await;
        assert_health(&trial, 200).await;
        fs::remove_file(trial.data().join(name)).unwrap();
        assert_health(&trial, 503).await;
    }
}

#[tokio::test]
async fn a_database_that_is_replaced_is_noticed() {
    for name in ["forge.db", "audit.db"] {
        let trial = Trial::start().await;
        let path = trial.data().join(name);
        let copy = trial.data().join("copy");
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
        assert_health(&trial, 503).await;
    }
}

#[tokio::test]
async fn a_database_that_is_moved_away_and_back_works_again() {
    for name in ["forge.db", "audit.db"] {
        let trial = Trial::start().await;
        let (path, away) = (trial.data().join(name), trial.data().join("away"));
        fs::rename(&path, &away).unwrap();
        assert_health(&trial, 503).await;
        fs::rename(&away, &path).unwrap();
        assert_health(&trial, 200).await;
    }
}

#[tokio::test]
async fn a_database_that_somebody_else_locks_is_down_until_the_lock_is_gone() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let other = Connection::open(trial.data().join("forge.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    assert_health(&trial, 503).await;
    // What only reads goes on; what has to write says so.
    user.get("/api/me").await.expect(200);
    trial.browser().get("/auth/github/login").await.problem(503);

    other.execute_batch("ROLLBACK").unwrap();
    assert_health(&trial, 200).await;
    trial.sign_in(OCTO_USER).await;
}

#[tokio::test]
async fn a_database_that_is_garbage_is_down() {
    let trial = Trial::start().await;
    let other = Connection::open(trial.data().join("forge.db")).unwrap();
    other
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        .unwrap();
    drop(other);
    let path = trial.data().join("forge.db");
    let length = fs::metadata(&path).unwrap().len();
    let garbage = vec![0xa5; usize::try_from(length).unwrap()];
    fs::write(&path, garbage).unwrap();
    assert_health(&trial, 503).await;
}

#[tokio::test]
async fn who_asks_learns_nothing_of_what_lies_behind() {
    let trial = Trial::start().await;
    fs::remove_file(trial.data().join("forge.db")).unwrap();
    trial.clock.advance(seconds(3));
    let answer = trial.browser().get("/api/health").await.expect(503);
    assert_eq!(answer.body, r#"{"status":"down"}"#);
}

#[tokio::test]
async fn nobody_signs_in_or_administers_while_it_cannot_be_recorded() {
    let trial = Trial::start().await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    let other = Connection::open(trial.data().join("audit.db")).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    browser.get(&callback).await.problem(503);
    assert_eq!(browser.cookie("forge-dev"), None);
    // The write that waits for the lock gives up when it has waited for as long as the request.
    let gives_up = async {
        while trial.app.audit.is_healthy() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(seconds(30), gives_up).await.unwrap();
    assert_health(&trial, 503).await;
    admin.get("/api/admin/users").await.problem(503);

    other.execute_batch("ROLLBACK").unwrap();
    let user = trial.sign_in(OCTO_USER).await;
    assert_health(&trial, 200).await;
    user.get("/api/me").await.expect(200);
    admin.get("/api/admin/users").await.expect(200);
    trial.app.audit.verify().await.unwrap();
}
