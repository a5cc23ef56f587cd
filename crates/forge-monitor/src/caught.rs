//! The caller's code, run so that its panic is a value.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A future of the caller's panicked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Panicked;

/// Runs a future whose panic, at its making or at any poll, becomes a value.
///
/// A future that has panicked is not polled again, so no broken state of it is ever seen.
pub(crate) async fn caught<F: Future>(start: impl FnOnce() -> F) -> Result<F::Output, Panicked> {
    let mut future = catch_unwind(AssertUnwindSafe(|| Box::pin(start()))).map_err(|_| Panicked)?;
    std::future::poll_fn(move |cx| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(_) => std::task::Poll::Ready(Err(Panicked)),
        }
    })
    .await
}
