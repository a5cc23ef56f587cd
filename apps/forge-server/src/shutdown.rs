//! When to end.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal as on};

/// Listens from now on for Ctrl-C and SIGTERM; the future ends with the first. A second one ends
/// the process at once, without draining: then `at_once` is all that is still done.
///
/// # Errors
/// The signals cannot be listened to.
pub fn signal(at_once: impl FnOnce() + Send + 'static) -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = on(SignalKind::interrupt())?;
    let mut terminate = on(SignalKind::terminate())?;
    Ok(async move {
        either(&mut interrupt, &mut terminate).await;
        tokio::spawn(async move {
            either(&mut interrupt, &mut terminate).await;
            tracing::warn!("ended at once");
            at_once();
            std::process::exit(130);
        });
    })
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
