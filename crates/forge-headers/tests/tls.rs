//! What a browser sees over real https, and in clear.
#![cfg(feature = "axum")]

#[path = "support/tls.rs"]
mod tls;

use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use axum::serve::Listener;
use forge_headers::{HostAllowList, Scheme, SecurityHeaders, Stack};
use http::header::{COOKIE, HeaderMap, SET_COOKIE};
use http::request::Parts;
use reqwest::{Certificate, Client, Response};
use tls::Tls;
use tokio::net::TcpListener;

const HOST: &str = "app.example.com";

struct Site {
    client: Client,
    https: String,
    http: String,
}

impl Site {
    /// The same site over https and in clear, and a browser that knows its certificate.
    async fn start() -> Self {
        let tls = Tls::bind(HOST, 0).await;
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tls_addr, tcp_addr) = (tls.local_addr().unwrap(), tcp.local_addr().unwrap());
        let certificate = Certificate::from_der(tls.certificate.der()).unwrap();

        let hosts = HostAllowList::new([format!("{HOST}:*")]).unwrap();
        let stack = Stack::new(hosts, SecurityHeaders::strict())
            .https_port(tls_addr.port())
            .peer_addr(|_: &Parts| Some(SocketAddr::from(([127, 0, 0, 1], 9))));
        let over_https = routes().layer(stack.clone().scheme(Scheme::Https));
        let in_clear = routes().layer(stack);
        tokio::spawn(async move { axum::serve(tls, over_https).await });
        tokio::spawn(async move { axum::serve(tcp, in_clear).await });

        let client = Client::builder()
            .cookie_store(true)
            .redirect(reqwest::redirect::Policy::none())
            .tls_certs_only([certificate])
            .resolve(HOST, SocketAddr::from(([127, 0, 0, 1], 0)))
            .no_proxy()
            .build()
            .unwrap();
        Self {
            client,
            https: format!("https://{HOST}:{}", tls_addr.port()),
            http: format!("http://{HOST}:{}", tcp_addr.port()),
        }
    }

    async fn get(&self, url: String) -> Response {
        self.client.get(url).send().await.unwrap()
    }
}

fn routes() -> Router {
    let sign_in = || async { [(SET_COOKIE, "__Host-session=x; Secure; HttpOnly; Path=/")] };
    let cookies = |headers: HeaderMap| async move {
        let cookie = headers.get(COOKIE).and_then(|value| value.to_str().ok());
        cookie.unwrap_or("none").to_owned()
    };
    Router::new()
        .route("/sign-in", get(sign_in))
        .route("/cookies", get(cookies))
        // Answered in clear as well.
        .route("/.well-known/acme-challenge/cookies", get(cookies))
}

#[tokio::test]
async fn over_https_a_browser_hears_of_it_for_the_future() {
    let site = Site::start().await;
    let response = site.get(format!("{}/cookies", site.https)).await;
    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(
        headers["strict-transport-security"],
        "max-age=63072000; includeSubDomains"
    );
    let csp = headers["content-security-policy"].to_str().unwrap();
    assert!(csp.ends_with("; upgrade-insecure-requests"), "{csp}");
}

#[tokio::test]
async fn in_clear_it_is_sent_to_https_and_hears_nothing() {
    let site = Site::start().await;
    let response = site.get(format!("{}/cookies?a=b", site.http)).await;
    assert_eq!(response.status(), 308);
    let headers = response.headers();
    assert!(!headers.contains_key("strict-transport-security"));
    let csp = headers["content-security-policy"].to_str().unwrap();
    assert!(!csp.contains("upgrade-insecure-requests"), "{csp}");
    let location = headers["location"].to_str().unwrap().to_owned();
    assert_eq!(location, format!("{}/cookies?a=b", site.https));
    assert_eq!(site.get(location).await.status(), 200);

    let post = site.client.post(format!("{}/cookies", site.http));
    assert_eq!(post.send().await.unwrap().status(), 403);
}

#[tokio::test]
async fn a_secure_cookie_travels_over_https_alone() {
    let site = Site::start().await;
    let signed_in = site.get(format!("{}/sign-in", site.https)).await;
    assert_eq!(
        signed_in.headers()[SET_COOKIE],
        "__Host-session=x; Secure; HttpOnly; Path=/"
    );
    let cookies = site.get(format!("{}/cookies", site.https)).await;
    assert_eq!(cookies.text().await.unwrap(), "__Host-session=x");
    // The one path that is answered in clear.
    let path = "/.well-known/acme-challenge/cookies";
    let cookies = site.get(format!("{}{path}", site.http)).await;
    assert_eq!(cookies.text().await.unwrap(), "none");
    let cookies = site.get(format!("{}{path}", site.https)).await;
    assert_eq!(cookies.text().await.unwrap(), "__Host-session=x");
}
