//! Connections: how long one may be silent, and how many an address may have.

use std::time::Duration;

use fake_github::{Endpoint, OCTO_ADMIN, OCTO_USER};
use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Trial, only, seconds};

/// What comes until the server closes the connection.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = stream.read_to_end(&mut answer);
    let _ = timeout(seconds(20), read).await.expect("it is closed");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_connection_that_says_nothing_or_not_all_is_closed() {
    let trial = Trial::start_with([("bounds.header_time", "500ms")]).await;
    let mut silent = Vec::new();
    for bytes in [
        &b""[..],
        b"GET / HTTP/1.1\r\nhost: ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(trial.addr).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        silent.push(tokio::spawn(rest(stream)));
    }
    for connection in silent {
        let answer = connection.await.unwrap();
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    trial.browser().get("/").await.expect(200);
}

#[tokio::test]
async fn one_address_does_not_take_all_connections() {
    let trial = Trial::start_with([("bounds.connections", "8")]).await;
    let first = TcpStream::connect(trial.addr).await.unwrap();
    let second = TcpStream::connect(trial.addr).await.unwrap();
    let third = TcpStream::connect(trial.addr).await.unwrap();
    assert_eq!(rest(third).await, "");
    drop((first, second));
    let free = async {
        let request = || trial.browser().request(Method::GET, "/livez").send();
        while request().await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    timeout(seconds(20), free).await.unwrap();
}

#[tokio::test]
async fn a_sign_in_is_finished_and_on_record_though_the_browser_goes_away() {
    let trial = Trial::start().await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, OCTO_USER).await;
    trial.github().delay(Endpoint::Token, seconds(3600));
    let request = browser.request(Method::GET, &callback);
    let request = tokio::spawn(request.timeout(Duration::from_secs(60)).send());
    trial.github().wait_for_requests(Endpoint::Token, 1).await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    trial.github().clear();

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let user = forge_session::UserId::new("github:1002").unwrap();
    let made = async {
        while trial.app.sessions.list(&user).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    timeout(seconds(20), made).await.unwrap();
    let events = trial.audit(&admin).await;
    let of_user: Vec<_> = events
        .into_iter()
        .filter(|event| event["actor"]["id"] == "1002")
        .collect();
    assert_eq!(only(&of_user, "auth.sign_in")["result"], "success");
    only(&of_user, "session.create");
}
