//! A request through the layer: nobody is signed in but by the secret, the token or the ticket that
//! was given out. The first line is the target, the others are header fields.
#![no_main]

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use forge_session::{Authenticated, MemorySessionStore, SessionLayer, Sessions, Via};
use http::{HeaderName, HeaderValue, Request, Response};
use http_body_util::Full;
use libfuzzer_sys::fuzz_target;
use tower_layer::Layer;
use tower_service::Service;

/// Says by which way somebody is signed in.
#[derive(Clone)]
struct Inner;

impl Service<Request<()>> for Inner {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let via = request.extensions().get::<Authenticated>().map(Authenticated::via);
        assert_eq!(via, None::<Via>, "nobody was given anything");
        ready(Ok(Response::new(Full::default())))
    }
}

fn now<F: Future>(future: Pin<&mut F>) -> F::Output {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("nothing in memory is waited for"),
    }
}

fuzz_target!(|data: &[u8]| {
    let mut lines = data.split(|b| *b == b'\n');
    let target = lines.next().unwrap_or_default();
    let mut request = Request::builder().uri(target);
    for line in lines.take(50) {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            request = request.header(name, value);
        }
    }
    let Ok(request) = request.body(()) else {
        return;
    };
    let store = MemorySessionStore::new();
    let sessions = Sessions::builder(store).build().expect("sessions");
    let layer = SessionLayer::new(sessions).ticket_parameter("ticket");
    let Ok(response) = now(pin!(layer.layer(Inner).call(request)));
    assert!([200, 400, 401].contains(&response.status().as_u16()));
});
