//! A response that goes on for long ends with the session it is for.
//!
//! Whoever is signed out, taken off the allow-list or ended by an admin is sent nothing more: the
//! stream ends as if it were complete, which is the moment to connect again, and that is refused. It
//! ends when the session expires too, as that was known when the stream began. A client that does
//! not read is sent nothing either, and holds no more than what was on its way.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use forge_session::Authenticated;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::app::App;
use crate::clock::Clock;

/// How often it is looked whether the session has expired.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Ties what is streamed to the session that asked for it. A body whose length is known is on its
/// way already.
pub(crate) async fn end_with_session(
    State(app): State<App>,
    request: Request,
    next: Next,
) -> Response {
    let session = request.extensions().get::<Authenticated>().cloned();
    let response = next.run(request).await;
    match session {
        Some(session) if response.body().size_hint().exact().is_none() => {
            response.map(|body| Body::new(Bounded::new(body, &session, &app.clock)))
        }
        _ => response,
    }
}

struct Bounded {
    body: Body,
    clock: Clock,
    expires_at: i64,
    look: Interval,
    ended: bool,
}

impl Bounded {
    fn new(body: Body, session: &Authenticated, clock: &Clock) -> Self {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            body: Body::new(session.until_revoked(body)),
            clock: clock.clone(),
            expires_at: session.session().expires().as_micros(),
            look,
            ended: false,
        }
    }
}

impl HttpBody for Bounded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        while self.look.poll_tick(cx).is_ready() {}
        self.ended |= self.clock.now_micros() >= self.expires_at;
        if self.ended {
            return Poll::Ready(None);
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::Router;
    use axum::routing::get;
    use forge_session::{Kind, RevokeCause, Selector, SessionCookie};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;
    use crate::principal::user_id;
    use crate::testing::{app_in, session_of};

    const USER: u64 = 1001;

    /// Says hello and then nothing, for ever.
    struct Silence {
        greeted: bool,
    }

    impl HttpBody for Silence {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            if std::mem::replace(&mut self.greeted, true) {
                return Poll::Pending;
            }
            let hello = Bytes::from_static(b"data: hello\n\n");
            Poll::Ready(Some(Ok(Frame::data(hello))))
        }
    }

    /// The server with a stream at `/stream`, and two connections with it open: one for the session
    /// that is made here, and one for another user's.
    struct Streaming {
        app: App,
        session: forge_session::Session,
        ours: TcpStream,
        others: TcpStream,
        _folder: tempfile::TempDir,
    }

    impl Streaming {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let app = app_in(folder.path()).await;
            let stream = async || Body::new(Silence { greeted: false });
            let routes = Router::new().route("/stream", get(stream));
            let router = crate::stack::around(routes, &app).unwrap();
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let config = std::sync::Arc::clone(&app.config);
            tokio::spawn(async move {
                crate::server::serve(listener, router, &config, std::future::pending()).await
            });
            let (session, secret) = session_of(&app, USER, Kind::WEB).await;
            let ours = open(address, &secret).await;
            let (_, secret) = session_of(&app, USER + 1, Kind::WEB).await;
            let others = open(address, &secret).await;
            Self {
                app,
                session,
                ours,
                others,
                _folder: folder,
            }
        }

        /// The stream of the session ends, by itself, and that of the other does not.
        async fn assert_ended(mut self) {
            let mut rest = Vec::new();
            let mut bytes = [0; 1024];
            // The last chunk is empty (RFC 9112, section 7.1).
            while !rest.ends_with(b"0\r\n\r\n") {
                let read = self.ours.read(&mut bytes).await.unwrap();
                assert!(read > 0, "the connection broke off");
                rest.extend_from_slice(&bytes[..read]);
            }
            let nothing = self.others.try_read(&mut bytes).unwrap_err();
            assert_eq!(nothing.kind(), std::io::ErrorKind::WouldBlock);
        }
    }

    async fn open(address: std::net::SocketAddr, secret: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let name = SessionCookie::insecure_for_loopback();
        let cookie = name.set_cookie(&secret.into(), Duration::from_secs(60));
        let cookie = cookie.to_str().unwrap().split(';').next().unwrap();
        let head =
            format!("GET /stream HTTP/1.1\r\nhost: 127.0.0.1:3001\r\ncookie: {cookie}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut seen = Vec::new();
        let mut bytes = [0; 4096];
        while !seen.ends_with(b"data: hello\n\n\r\n") {
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(read > 0, "{}", String::from_utf8_lossy(&seen));
            seen.extend_from_slice(&bytes[..read]);
        }
        assert!(seen.starts_with(b"HTTP/1.1 200"));
        stream
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_revocation_of_its_session() {
        let streaming = Streaming::start().await;
        let selector = Selector::Session(streaming.session.id);
        let sessions = &streaming.app.sessions;
        sessions
            .revoke(selector, RevokeCause::SignOut)
            .await
            .unwrap();
        streaming.assert_ended().await;
    }

    #[tokio::test]
    async fn a_stream_ends_with_the_sessions_of_its_user() {
        let streaming = Streaming::start().await;
        let selector = Selector::User(user_id(USER));
        let sessions = &streaming.app.sessions;
        let cause = RevokeCause::AccountRemoved;
        sessions.revoke(selector, cause).await.unwrap();
        streaming.assert_ended().await;
    }

    #[tokio::test]
    async fn a_stream_ends_where_another_node_has_revoked() {
        let streaming = Streaming::start().await;
        let selector = Selector::User(user_id(USER));
        streaming.app.sessions.invalidate(&selector);
        streaming.assert_ended().await;
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_session_expires() {
        let mut streaming = Streaming::start().await;
        streaming.app.clock.advance(Duration::from_secs(24 * 3600));
        let mut bytes = [0; 64];
        for stream in [&mut streaming.ours, &mut streaming.others] {
            let read = stream.read(&mut bytes).await.unwrap();
            assert!(bytes[..read].starts_with(b"0\r\n"));
        }
    }
}
