//! Checkpoints of the audit log on their way to somebody who keeps them (`audit.checkpoint_url`).
//!
//! The newest is sent until it arrives, with growing pauses; it stands for all before it. What has
//! arrived is noted in the data folder, so that after a restart the last that has not is sent.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forge_audit::{AuditStore, OnCheckpoint, SignedNote, StoreError};
use forge_monitor::BoxError;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use url::Url;

/// The first pause after one that did not arrive, and the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// After so long without one that arrives, health is degraded.
const PATIENCE: Duration = Duration::from_secs(600);
/// So many checkpoints are read at once.
const PAGE: usize = 1000;

type Sending = Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>;

/// Sends checkpoints. Clones share what they have sent.
#[derive(Clone)]
pub(crate) struct CheckpointPost(Arc<Post>);

struct Post {
    send: Box<dyn Fn(SignedNote) -> Sending + Send + Sync>,
    /// Where the size of the last that arrived is noted.
    file: PathBuf,
    state: Mutex<State>,
    /// One at a time.
    turn: tokio::sync::Mutex<()>,
    failed: Notify,
}

#[derive(Default)]
struct State {
    /// What is to be sent, if it is of more records than what was.
    newest: Option<SignedNote>,
    /// Of how many records the last was that arrived.
    arrived: u64,
    failing_since: Option<Instant>,
}

impl CheckpointPost {
    /// Sends to `url`, which is not redirected. What has arrived is noted in the folder `data`.
    ///
    /// # Errors
    /// The client cannot be made.
    pub(crate) fn new(url: Url, data: &Path) -> Result<Self, BoxError> {
        // Several providers may be compiled in; the process must choose one, once.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("forge/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(10))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let send = move |note: SignedNote| -> Sending {
            let request = http
                .post(url.clone())
                .header(http::header::CONTENT_TYPE, "text/plain; charset=utf-8")
                .body(note.text);
            Box::pin(async move {
                let answer = request.send().await;
                let status = answer.map_err(reqwest::Error::without_url)?.status();
                // Where it is led elsewhere it has not arrived either.
                if !status.is_success() {
                    return Err(format!("the answer was {}", status.as_u16()).into());
                }
                Ok(())
            })
        };
        Ok(Self::with(send, data))
    }

    fn with(send: impl Fn(SignedNote) -> Sending + Send + Sync + 'static, data: &Path) -> Self {
        let file = data.join("audit.sent");
        let arrived = fs::read_to_string(&file).ok();
        let state = State {
            arrived: arrived
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(0),
            ..State::default()
        };
        Self(Arc::new(Post {
            send: Box::new(send),
            file,
            state: Mutex::new(state),
            turn: tokio::sync::Mutex::new(()),
            failed: Notify::new(),
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks for a stored checkpoint that did not arrive before the server ended.
    ///
    /// # Errors
    /// The store's.
    pub(crate) async fn resume(&self, store: &dyn AuditStore) -> Result<(), StoreError> {
        let end = store.tail().await?.seq;
        let mut after = {
            let mut state = self.state();
            // Another log lies in the data folder now.
            if state.arrived > end {
                state.arrived = 0;
            }
            state.arrived
        };
        let mut newest = None;
        loop {
            let page = store.checkpoints(after, PAGE).await?;
            let Some(last) = page.into_iter().last() else {
                break;
            };
            after = last.size;
            newest = Some(last);
        }
        if let Some(newest) = newest {
            self.state().newest.get_or_insert(newest);
            self.0.failed.notify_one();
        }
        Ok(())
    }

    /// Sends what did not arrive again, until the task is aborted.
    pub(crate) fn retry(&self) -> JoinHandle<()> {
        let post = self.clone();
        tokio::spawn(async move {
            loop {
                post.0.failed.notified().await;
                let mut pause = FIRST_PAUSE;
                let mut has_arrived = !post.is_failing() && post.attempt().await;
                while !has_arrived {
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                    has_arrived = post.attempt().await;
                }
            }
        })
    }

    fn is_failing(&self) -> bool {
        self.state().failing_since.is_some()
    }

    /// Whether none has arrived for so long that somebody should look.
    pub(crate) fn is_stuck(&self) -> bool {
        let since = self.state().failing_since;
        since.is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    /// Sends the newest, if it has not arrived yet. Whether there is nothing left to send.
    async fn attempt(&self) -> bool {
        let _turn = self.0.turn.lock().await;
        let due = {
            let state = self.state();
            let newest = state.newest.clone();
            newest.filter(|note| note.size > state.arrived)
        };
        let Some(note) = due else { return true };
        let size = note.size;
        let sent = (self.0.send)(note).await;
        let noted = match &sent {
            Ok(()) => fs::write(&self.0.file, size.to_string()),
            Err(_) => Ok(()),
        };
        if let Err(error) = noted {
            tracing::warn!(%error, "it could not be noted that an audit checkpoint was sent");
        }
        let mut state = self.state();
        let outcome = match &sent {
            Ok(()) => {
                state.arrived = size;
                state.failing_since = None;
                "sent"
            }
            Err(error) => {
                state.failing_since.get_or_insert_with(Instant::now);
                let error = &**error as &dyn std::error::Error;
                tracing::error!(error, size, "an audit checkpoint could not be sent yet");
                "failed"
            }
        };
        let waiting = state.newest.as_ref().map_or(0, |newest| newest.size);
        let unsent = waiting.saturating_sub(state.arrived);
        metrics::counter!("forge_server_checkpoint_posts_total", "outcome" => outcome).increment(1);
        metrics::gauge!("forge_server_checkpoint_unsent_events").set(unsent as f64);
        sent.is_ok()
    }
}

impl OnCheckpoint for CheckpointPost {
    fn on_checkpoint(&self, checkpoint: &SignedNote) {
        self.state().newest = Some(checkpoint.clone());
        // On a thread where it may block. While none arrives, the pauses decide when the next is
        // sent; it will be this one, or a newer.
        if !self.is_failing() && !Handle::current().block_on(self.attempt()) {
            self.0.failed.notify_one();
        }
    }
}

impl std::fmt::Debug for CheckpointPost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckpointPost").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use axum::Router;
    use axum::extract::State as Shared;
    use axum::routing::post;
    use forge_audit::MemoryAuditStore;
    use http::{HeaderMap, StatusCode};

    use super::*;

    fn note(size: u64) -> SignedNote {
        SignedNote {
            size,
            text: format!("origin\n{size}\nroot\n\n\u{2014} origin sig\n"),
        }
    }

    /// What was sent and when, of which the first so many were refused.
    type Sent = Arc<Mutex<Vec<(u64, Duration)>>>;

    fn refusing(first: usize, data: &Path) -> (CheckpointPost, Sent) {
        let sent = Sent::default();
        let (told, began) = (Arc::clone(&sent), Instant::now());
        let left = Mutex::new(first);
        let send = move |note: SignedNote| -> Sending {
            told.lock().unwrap().push((note.size, began.elapsed()));
            let mut left = left.lock().unwrap();
            let is_refused = *left > 0;
            *left = left.saturating_sub(1);
            Box::pin(async move {
                match is_refused {
                    true => Err("refused".into()),
                    false => Ok(()),
                }
            })
        };
        (CheckpointPost::with(send, data), sent)
    }

    /// As the log tells of one.
    async fn tell(post: &CheckpointPost, size: u64) {
        let post = post.clone();
        let told = tokio::task::spawn_blocking(move || post.on_checkpoint(&note(size)));
        told.await.unwrap();
    }

    fn seconds(sent: &Sent) -> Vec<(u64, u64)> {
        let sent = sent.lock().unwrap();
        sent.iter()
            .map(|(size, at)| (*size, at.as_secs()))
            .collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_does_not_arrive_is_sent_again_and_gives_way_to_a_newer() {
        let data = tempfile::tempdir().unwrap();
        let (post, sent) = refusing(3, data.path());
        let retrying = post.retry();
        tell(&post, 1).await;
        // While it waits for its turn, others are signed.
        tell(&post, 2).await;
        assert_eq!(seconds(&sent).first(), Some(&(1, 0)));
        sleep(Duration::from_secs(2)).await;
        tell(&post, 3).await;
        sleep(Duration::from_secs(60)).await;
        // After 1, 2, 4 seconds.
        assert_eq!(seconds(&sent), [(1, 0), (2, 1), (3, 3), (3, 7)]);
        // What comes after it has arrived is sent at once, and once.
        tell(&post, 4).await;
        assert_eq!(seconds(&sent)[4..], [(4, 62)]);
        tell(&post, 4).await;
        assert_eq!(sent.lock().unwrap().len(), 5);
        let noted = fs::read_to_string(data.path().join("audit.sent")).unwrap();
        assert_eq!(noted, "4");
        retrying.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn pauses_are_bounded_and_health_tells_of_a_long_failure() {
        let data = tempfile::tempdir().unwrap();
        let (post, sent) = refusing(20, data.path());
        let retrying = post.retry();
        tell(&post, 1).await;
        sleep(Duration::from_secs(500)).await;
        assert!(!post.is_stuck());
        sleep(Duration::from_secs(101)).await;
        assert!(post.is_stuck());
        sleep(Duration::from_secs(20 * 300)).await;
        assert!(!post.is_stuck());
        let at = seconds(&sent);
        assert_eq!(at.len(), 21);
        assert!(at.windows(2).all(|pair| pair[1].1 - pair[0].1 <= 300));
        retrying.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_restart_the_last_that_did_not_arrive_is_sent() {
        let data = tempfile::tempdir().unwrap();
        let store = MemoryAuditStore::new();
        let (post, sent) = refusing(0, data.path());
        let mut chain = forge_audit::Chain::new();
        let event = || forge_audit::Event::new(forge_audit::Kind::System, "x");
        let time = forge_audit::Timestamp::from_micros(1);
        let records: Vec<_> = (0..9).map(|_| chain.append(event(), time)).collect();
        store.append(records.into()).await.unwrap();
        for size in [3, 5, 9] {
            store.add_checkpoint(note(size)).await.unwrap();
        }
        tell(&post, 3).await;
        drop((post, sent));

        let (post, sent) = refusing(1, data.path());
        let retrying = post.retry();
        post.resume(&store).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(seconds(&sent), [(9, 0), (9, 1)]);
        retrying.abort();

        // Nothing is left; and another log begins from its own beginning.
        let (post, sent) = refusing(0, data.path());
        let retrying = post.retry();
        post.resume(&store).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert!(sent.lock().unwrap().is_empty());
        retrying.abort();
        let (post, sent) = refusing(0, data.path());
        let retrying = post.retry();
        let other = MemoryAuditStore::new();
        let first = forge_audit::Chain::new().append(event(), time);
        other.append([first].into()).await.unwrap();
        other.add_checkpoint(note(1)).await.unwrap();
        post.resume(&other).await.unwrap();
        sleep(Duration::from_secs(10)).await;
        assert_eq!(seconds(&sent), [(1, 0)]);
        retrying.abort();
    }

    /// What a server answers next, and what it was sent.
    type Answers = Arc<Mutex<(VecDeque<StatusCode>, Vec<(String, String)>)>>;

    async fn take(
        Shared(answers): Shared<Answers>,
        headers: HeaderMap,
        body: String,
    ) -> StatusCode {
        let mut answers = answers.lock().unwrap();
        let kind = headers["content-type"].to_str().unwrap().to_owned();
        answers.1.push((kind, body));
        answers.0.pop_front().unwrap_or(StatusCode::OK)
    }

    #[tokio::test]
    async fn a_server_that_refuses_gets_it_again() {
        let data = tempfile::tempdir().unwrap();
        let refusals = [
            StatusCode::SERVICE_UNAVAILABLE,
            // Not followed: it would lead elsewhere.
            StatusCode::TEMPORARY_REDIRECT,
        ];
        let answers: Answers = Arc::new(Mutex::new((refusals.into(), Vec::new())));
        let routes = Router::new()
            .route("/checkpoints", post(take))
            .with_state(Arc::clone(&answers));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/checkpoints", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
        let post = CheckpointPost::new(url.parse().unwrap(), data.path()).unwrap();
        tell(&post, 7).await;
        assert!(!post.attempt().await);
        assert!(post.attempt().await);
        let expected = ("text/plain; charset=utf-8".to_owned(), note(7).text);
        let got = std::mem::take(&mut answers.lock().unwrap().1);
        assert_eq!(got, vec![expected; 3]);
        // It has arrived.
        assert!(post.attempt().await);
        assert!(answers.lock().unwrap().1.is_empty());
        serving.abort();
    }
}
