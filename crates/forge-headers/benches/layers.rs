//! What each layer costs a request, beside others that do the same, in one run.
//!
//! Measured in CPU time of the thread: what other processes take does not count. The cost of a
//! layer is its figure less that of `bare`.
//!
//! | Target | Figures |
//! |---|---|
//! | 14 fields: at most 0.35 of tower-http, 0.5 of tower-helmet | `fields/*` |
//! | a nonce: at most 150 ns | `nonce/with` − `nonce/without` |
//! | CORS without an `Origin`: at most 60 ns | `cors/forge` − `cors/bare` |
//! | an address behind three hops, five networks: at most 200 ns | `address/*` |

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use cpu_time::ThreadTime;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, BenchmarkGroup, Criterion, criterion_group, criterion_main};
use forge_headers::{
    Connection, Cors, CorsLayer, CrossOriginEmbedderPolicy, CrossOriginOpenerPolicy, Csp,
    ForwardedHeader, Hsts, IntegrityPolicy, Scheme, SecurityHeaders, SecurityHeadersLayer, Source,
    TrustedProxies,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use tower_helmet::HelmetLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use tower_layer::Layer;
use tower_service::Service;

/// CPU time of the thread.
struct ThreadCpu;

impl Measurement for ThreadCpu {
    type Intermediate = ThreadTime;
    type Value = Duration;

    fn start(&self) -> ThreadTime {
        ThreadTime::now()
    }
    fn end(&self, start: ThreadTime) -> Duration {
        start.elapsed()
    }
    fn add(&self, a: &Duration, b: &Duration) -> Duration {
        *a + *b
    }
    fn zero(&self) -> Duration {
        Duration::ZERO
    }
    fn to_f64(&self, value: &Duration) -> f64 {
        value.as_nanos() as f64
    }
    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// A handler that is ready at once, with two fields of its own.
#[derive(Clone)]
struct Bare;

impl Service<Request<()>> for Bare {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        black_box(request);
        let mut response = Response::new(Full::new(Bytes::from_static(b"hello")));
        let headers = response.headers_mut();
        headers.insert("content-type", HeaderValue::from_static("text/html"));
        headers.insert("content-length", HeaderValue::from_static("5"));
        ready(Ok(response))
    }
}

/// What a browser sends, over https.
fn request() -> Request<()> {
    let mut request = Request::new(());
    let peer = "127.0.0.1:9".parse().expect("an address");
    let connection = Connection::direct(peer).with_scheme(Scheme::Https);
    request.extensions_mut().insert(connection);
    for (name, value) in [
        ("host", "app.example.com"),
        ("user-agent", "Mozilla/5.0"),
        ("accept", "text/html,application/xhtml+xml"),
        ("accept-encoding", "gzip, deflate, br"),
        ("accept-language", "en"),
        ("cookie", "__Host-session=0123456789abcdef"),
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "navigate"),
    ] {
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    request
}

fn requests<S>(group: &mut BenchmarkGroup<'_, ThreadCpu>, name: &str, mut service: S)
where
    S: Service<Request<()>, Response = Response<Full<Bytes>>, Error = Infallible>,
{
    group.bench_function(name, |b| {
        b.iter_batched(
            request,
            |request| {
                let mut context = Context::from_waker(Waker::noop());
                let answer = pin!(service.call(request)).poll(&mut context);
                drop(black_box(answer));
            },
            BatchSize::SmallInput,
        );
    });
}

/// The same 14 fields for all.
fn fourteen() -> SecurityHeaders {
    let csp = Csp::builder()
        .default_src([Source::SELF])
        .base_uri([Source::SELF])
        .frame_ancestors([Source::SELF])
        .build()
        .expect("a policy");
    SecurityHeaders::strict()
        .content_security_policy(csp)
        .hsts(Hsts::new(Duration::from_secs(15_552_000)).include_sub_domains())
        .cross_origin_opener_policy_report_only(CrossOriginOpenerPolicy::SameOrigin)
        .cross_origin_embedder_policy_report_only(CrossOriginEmbedderPolicy::RequireCorp)
        .integrity_policy(IntegrityPolicy::Scripts)
        .remove_server(false)
}

/// One `SetResponseHeaderLayer` for each field.
macro_rules! set_each {
    ($inner:expr, $fields:ident, $($index:literal)*) => {{
        let service = $inner;
        $(
            let (name, value) = &$fields[$index];
            let layer = SetResponseHeaderLayer::if_not_present(name.clone(), value.clone());
            let service = layer.layer(service);
        )*
        service
    }};
}

fn fields(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("fields");
    let mut forge = SecurityHeadersLayer::new(fourteen()).layer(Bare);
    let mut context = Context::from_waker(Waker::noop());
    let Poll::Ready(Ok(response)) = pin!(forge.call(request())).poll(&mut context) else {
        panic!("the handler is ready at once");
    };
    let fields: Vec<(HeaderName, HeaderValue)> = response
        .headers()
        .iter()
        .filter(|(name, _)| !name.as_str().starts_with("content-t"))
        .filter(|(name, _)| *name != "content-length")
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    assert_eq!(fields.len(), 14, "{fields:?}");

    requests(&mut group, "bare", Bare);
    requests(&mut group, "forge", forge);
    requests(
        &mut group,
        "tower-http",
        set_each!(Bare, fields, 0 1 2 3 4 5 6 7 8 9 10 11 12 13),
    );
    requests(
        &mut group,
        "tower-helmet",
        HelmetLayer::with_defaults().layer(Bare),
    );
    group.finish();
}

fn nonce(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("nonce");
    let policy = |source| {
        let csp = Csp::builder()
            .default_src([Source::NONE])
            .script_src([source, Source::STRICT_DYNAMIC])
            .base_uri([Source::NONE])
            .frame_ancestors([Source::NONE])
            .build();
        SecurityHeaders::strict().content_security_policy(csp.expect("a policy"))
    };
    let hash = Source::sha256([7; 32]);
    let service = |source| SecurityHeadersLayer::new(policy(source)).layer(Bare);
    requests(&mut group, "without", service(hash));
    requests(&mut group, "with", service(Source::NONCE));
    let preset = SecurityHeadersLayer::new(SecurityHeaders::strict()).layer(Bare);
    requests(&mut group, "strict", preset);
    group.finish();
}

fn cors(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("cors");
    let cors = Cors::builder()
        .origins(["https://www.example.com", "https://*.example.net"])
        .credentials(true)
        .build()
        .expect("a policy");
    requests(&mut group, "bare", Bare);
    requests(&mut group, "forge", CorsLayer::new(cors).layer(Bare));
    requests(
        &mut group,
        "forge, no origin allowed",
        CorsLayer::new(Cors::none()).layer(Bare),
    );
    group.finish();
}

fn address(c: &mut Criterion<ThreadCpu>) {
    let mut group = c.benchmark_group("address");
    let networks = [
        "172.16.0.0/12",
        "192.168.0.0/16",
        "fd00::/8",
        "203.0.113.0/24",
        "10.0.0.0/8",
    ];
    let proxies = TrustedProxies::new(networks.map(|net| net.parse().expect("a network")));
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-forwarded-for", "198.51.100.7, 203.0.113.5, 10.1.1.1"),
        ("x-forwarded-proto", "https, http, http"),
        (
            "forwarded",
            "for=198.51.100.7;proto=https, for=203.0.113.5, for=10.1.1.1",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    let peer = "10.0.0.1".parse().expect("an address");
    for (name, header) in [
        ("x-forwarded-for", ForwardedHeader::XForwardedFor),
        ("forwarded", ForwardedHeader::Forwarded),
    ] {
        let proxies = proxies.clone().header(header);
        group.bench_function(name, |b| {
            b.iter(|| black_box(proxies.resolve(black_box(peer), black_box(&headers))));
        });
    }
    let stranger = "198.51.100.1".parse().expect("an address");
    group.bench_function("of an untrusted peer", |b| {
        b.iter(|| black_box(proxies.resolve(black_box(stranger), black_box(&headers))));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .with_measurement(ThreadCpu)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = fields, nonce, cors, address
}
criterion_main!(benches);
