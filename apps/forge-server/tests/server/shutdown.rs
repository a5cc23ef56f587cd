//! The end: open requests finish, queued events are on disk.

use std::sync::Arc;
use std::time::Duration;

use fake_github::{Endpoint, OCTO_USER};
use forge_audit::{AuditStore, Query, SqliteAuditStore, verify_store};
use forge_server::StartError;
use rusqlite::Connection;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Stopping, Trial, agent, seconds};

/// The server takes no new connection any more.
async fn closed(addr: std::net::SocketAddr) {
    let closing = async {
        while TcpStream::connect(addr).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(seconds(10), closing).await.unwrap();
}

/// How many events with that action the audit log of a server that has ended holds.
async fn count(folder: &std::path::Path, action: &str) -> usize {
    let path = folder.join("data/audit.db");
    let store = SqliteAuditStore::builder(&path).read_only();
    let store: Arc<dyn AuditStore> = Arc::new(store.open().await.unwrap());
    let head = store.tail().await.unwrap();
    verify_store(&*store, head).await.unwrap();
    let query = Query::new().action(action).limit(1000);
    query.run(&*store).await.unwrap().records.len()
}

#[tokio::test]
async fn an_open_request_finishes_while_the_server_drains() {
    let trial = Trial::start().await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    trial.github().delay(Endpoint::Token, seconds(3600));
    let addr = trial.addr;
    let request = tokio::spawn(async move {
        let answer = browser.get(&callback).await;
        (browser, answer)
    });
    trial.github().wait_for_requests(Endpoint::Token, 1).await;

    let stopping: Stopping = trial.stop();
    closed(addr).await;
    assert!(!request.is_finished());
    assert!(!stopping.served.is_finished());
    stopping.github().clear();
    let (browser, answer) = request.await.unwrap();
    answer.expect(303);
    assert!(browser.cookie("forge-dev").is_some());
    let folder = stopping.ended().await;
    assert_eq!(count(folder.path(), "auth.sign_in").await, 1);
    assert_eq!(count(folder.path(), "session.create").await, 1);
}

#[tokio::test]
async fn what_is_queued_is_on_disk_when_it_ends() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    // Somebody else holds the database, so that nothing is written yet.
    let other = Connection::open(trial.data().join("audit.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for client in ["one", "two", "three"] {
        agent(&user, client).await;
    }
    // The browser's connection stays open, and idle: it holds nothing up.
    let mut stopping = trial.stop();
    let too_soon = timeout(Duration::from_millis(200), &mut stopping.served).await;
    assert!(too_soon.is_err(), "it does not end without them");
    other.execute_batch("ROLLBACK").unwrap();
    let folder = timeout(seconds(20), stopping.ended()).await.unwrap();
    assert_eq!(count(folder.path(), "session.create").await, 4);
    drop(user);
}

#[tokio::test]
async fn a_request_that_does_not_finish_is_cut_off_and_that_is_said() {
    let trial = Trial::start_with([("bounds.drain_time", "50ms")]).await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    trial.github().delay(Endpoint::Token, seconds(3600));
    let http = browser.request(reqwest::Method::GET, &callback);
    let request = tokio::spawn(http.send());
    trial.github().wait_for_requests(Endpoint::Token, 1).await;
    let stopping = trial.stop();
    let ended = timeout(seconds(20), stopping.served).await.unwrap();
    let error = ended.unwrap().unwrap_err();
    assert!(matches!(error, StartError::Serve(_)), "{error}");
    // The log is closed in order all the same.
    assert_eq!(count(stopping.folder.path(), "auth.sign_in").await, 0);
    request.abort();
}
