//! Requests that nobody well-meaning sends: the safe answer, and never a panic.
#![cfg(feature = "axum")]

use axum::Router;
use axum::body::Body;
use axum::routing::post as handle;
use forge_headers::{
    Connection, Cors, ForwardedHeader, HostAllowList, Peer, SecurityHeaders, Stack, TrustedProxies,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use proptest::prelude::*;
use tower::ServiceExt;

const ORIGIN: &str = "https://www.example.com";

fn app(header: ForwardedHeader) -> Router {
    let hosts = HostAllowList::new(["app.example.com"]).unwrap();
    let cors = Cors::builder().origins([ORIGIN, "https://*.example.net"]);
    let proxies = TrustedProxies::new(["10.0.0.0/8".parse().unwrap()]);
    let stack = Stack::new(hosts, SecurityHeaders::strict())
        .trusted_proxies(proxies.header(header).forwarded_host(true))
        .cors(cors.credentials(true).build().unwrap());
    let who = |who: Connection| async move { format!("{} {}", who.client_ip, who.scheme) };
    Router::new().route("/", handle(who)).layer(stack)
}

/// A POST over https through the proxy, with these fields in place of those of the same name.
async fn post(fields: &[(&'static str, &[u8])]) -> (StatusCode, HeaderMap, String) {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "app.example.com"),
        ("x-forwarded-for", "198.51.100.7"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "app.example.com"),
        ("forwarded", "for=198.51.100.7;proto=https"),
    ] {
        if !fields.iter().any(|(field, _)| *field == name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_bytes(value).unwrap());
    }
    send(headers, ForwardedHeader::XForwardedFor).await
}

async fn send(headers: HeaderMap, header: ForwardedHeader) -> (StatusCode, HeaderMap, String) {
    let mut request = Request::post("/").body(Body::empty()).unwrap();
    *request.headers_mut() = headers;
    request
        .extensions_mut()
        .insert(Peer("10.0.0.1:9".parse().unwrap()));
    let response = app(header).oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    (parts.status, parts.headers, body)
}

#[tokio::test]
async fn a_doubled_field_is_nobodys_word() {
    let same_origin = b"https://app.example.com".as_slice();
    for fields in [
        &[("origin", same_origin), ("origin", same_origin)][..],
        &[("origin", ORIGIN.as_bytes()), ("origin", ORIGIN.as_bytes())],
        &[
            ("origin", ORIGIN.as_bytes()),
            ("origin", b"https://evil.example"),
        ],
        &[
            ("sec-fetch-site", b"same-origin"),
            ("sec-fetch-site", b"none"),
        ],
        &[("sec-fetch-site", b"none"), ("sec-fetch-site", b"none")],
    ] {
        let (status, headers, _) = post(fields).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{fields:?}");
        assert!(!headers.contains_key("access-control-allow-origin"));
    }
    let host = b"app.example.com".as_slice();
    let (status, ..) = post(&[("host", host), ("host", host)]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_not_text_is_no_match() {
    for field in ["origin", "sec-fetch-site"] {
        for value in [
            &b"\xff"[..],
            b"https://www.example.com\xff",
            b"same-origin\x80",
        ] {
            let (status, headers, _) = post(&[(field, value)]).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{field} {value:?}");
            assert!(!headers.contains_key("access-control-allow-origin"));
        }
    }
    let (status, ..) = post(&[("host", b"app.example.com\xff")]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, ..) = post(&[("x-forwarded-host", b"app.example.com\xff")]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    // The walk ends at the proxy.
    let (.., body) = post(&[("x-forwarded-for", b"198.51.100.7\xff")]).await;
    assert_eq!(body, "10.0.0.1 https");
    // A scheme that cannot be read is not https.
    let (status, ..) = post(&[("x-forwarded-proto", b"https\xff")]).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn seventy_kilobytes_in_a_field_change_nothing() {
    let long = [b'a'; 70_000].as_slice();
    let many = "198.51.100.7, ".repeat(5_000);
    for (field, value, expected) in [
        ("origin", long, StatusCode::FORBIDDEN),
        ("sec-fetch-site", long, StatusCode::FORBIDDEN),
        ("host", long, StatusCode::BAD_REQUEST),
        ("x-forwarded-host", long, StatusCode::BAD_REQUEST),
        ("x-forwarded-proto", long, StatusCode::OK),
        ("x-forwarded-for", long, StatusCode::OK),
        ("x-forwarded-for", many.as_bytes(), StatusCode::OK),
        ("cookie", long, StatusCode::OK),
    ] {
        let (status, headers, body) = post(&[(field, value)]).await;
        if field == "x-forwarded-proto" {
            // Longer than is read: as if it were not there, and then the request came in clear.
            assert_eq!(status, StatusCode::FORBIDDEN);
            continue;
        }
        assert_eq!(status, expected, "{field}");
        assert!(headers.contains_key("content-security-policy"));
        if field == "x-forwarded-for" && value == long {
            assert_eq!(body, "10.0.0.1 https");
        }
    }
    let proxied = [&[b'a'; 70_000][..], b", 198.51.100.9"].concat();
    let (.., body) = post(&[("x-forwarded-for", &proxied)]).await;
    assert_eq!(body, "198.51.100.9 https");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_fields_make_it_panic_or_speak_to_a_stranger(
        fields in prop::collection::vec(
            (
                prop::sample::select(vec![
                    "host", "origin", "sec-fetch-site", "forwarded", "x-forwarded-for",
                    "x-forwarded-proto", "x-forwarded-host", "access-control-request-method",
                    "access-control-request-headers", "upgrade", "content-type", "x-request-id",
                ]),
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..40),
                    "(https://|null|app|www|\\.example|\\.com|\\.net|\\*|:443|,|;|for=|\"|same-origin|[a-z\\[\\]:/@ ]){0,8}"
                        .prop_map(String::into_bytes),
                ],
            ),
            0..8,
        ),
        forwarded: bool,
    ) {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                headers.append(HeaderName::from_static(name), value);
            }
        }
        let allowed = {
            let mut origins = headers.get_all("origin").iter();
            let text = origins.next().and_then(|o| o.to_str().ok()).unwrap_or_default();
            let text = text.to_ascii_lowercase();
            let host = text.strip_prefix("https://").unwrap_or("-").trim_end_matches(":443");
            let label = host.strip_suffix(".example.net");
            let listed = host == "www.example.com"
                || label.is_some_and(|label| !label.is_empty() && !label.contains('.'));
            listed && origins.next().is_none()
        };
        let header = if forwarded { ForwardedHeader::Forwarded } else { ForwardedHeader::XForwardedFor };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (_, headers, _) = runtime.block_on(send(headers, header));
        prop_assert!(headers.contains_key("content-security-policy"));
        prop_assert!(allowed || !headers.contains_key("access-control-allow-origin"));
    }
}
