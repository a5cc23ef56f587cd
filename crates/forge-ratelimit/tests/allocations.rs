//! What a decision allocates: nothing, and a response two header values.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::task::{Context, Poll, Waker};

use forge_ratelimit::{
    Charge, Key, MemoryStore, PeerAddress, Policy, PolicyId, Quota, RateLimitLayer, RateLimiter,
    Store, Verdicts,
};
use http::request::Parts;
use http::{Request, Response};
use http_body_util::Full;
use tower::{Layer, Service};

#[global_allocator]
static ALLOCATOR: test_alloc::Watching = test_alloc::Watching;

/// How many allocations `work` makes.
fn allocations<T>(work: impl FnOnce() -> T) -> usize {
    test_alloc::count(work).0
}

type Body = Full<bytes::Bytes>;

fn limiter(burst: u32) -> RateLimiter {
    let quota = Quota::per_hour(burst, burst).unwrap();
    let heavy = NonZeroU32::new(2).unwrap();
    RateLimiter::builder(MemoryStore::new(100))
        .policy(Policy::new("address", quota, PeerAddress))
        .policy(Policy::new("everybody", quota, |_: &Parts| Some(Key::global())).weight(heavy))
        .policy(Policy::new("user", quota, |_: &Parts| {
            Some(Key::user("octo-user"))
        }))
        .build()
        .unwrap()
}

fn request() -> Request<Body> {
    let mut request = Request::new(Body::default());
    let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
    request.extensions_mut().insert(peer);
    request
}

fn now<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("memory decides at once"),
    }
}

#[test]
fn a_decision_allocates_nothing() {
    let (limiter, parts) = (limiter(100), request().into_parts().0);
    // The first finds the thread's own places for what is shared.
    now(limiter.check(&parts));
    let mut admitted = 0;
    let count = allocations(|| {
        for _ in 0..100 {
            admitted += u32::from(now(limiter.check(&parts)).is_admitted());
        }
    });
    assert_eq!((admitted, count), (49, 0), "accepted and refused");
}

#[test]
fn new_keys_without_end_allocate_nothing() {
    let store = MemoryStore::new(1000);
    let (mut admitted, of) = (0, PolicyId::of("web"));
    let count = allocations(|| {
        for n in 0..300_000u32 {
            let charge = Charge::new(of, Key::user(n.to_be_bytes()), Quota::ADMIN);
            let mut verdicts = Verdicts::new();
            store.charge_now(&[charge], &mut verdicts);
            admitted += u32::from(verdicts[0].allowed);
        }
    });
    assert_eq!((admitted, count), (300_000, 0));
    assert!(store.len() <= 3000);
}

#[derive(Clone)]
struct Hello;

impl Service<Request<Body>> for Hello {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Body>) -> Self::Future {
        let mut response = Response::new(Body::default());
        // The map of header fields has room for more once it has any.
        let text = http::HeaderValue::from_static("text/plain");
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, text);
        ready(Ok(response))
    }
}

#[test]
fn a_response_allocates_its_header_values_alone() {
    let mut service = RateLimitLayer::new(limiter(100)).layer(Hello);
    now(service.call(request())).unwrap();
    let bare = request();
    let without = allocations(|| now(Hello.call(bare)).unwrap());
    let bare = request();
    let with = allocations(|| now(service.call(bare)).unwrap());
    assert!(with - without <= 2, "{with} instead of {without}");
}
