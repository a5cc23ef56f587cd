//! What changes something is finished even if the client goes away.
//!
//! A connection that is closed drops the future of its request wherever it waits. A change half
//! made, or made and not on record, is worse than one nobody waits for.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument;

use crate::app::App;
use crate::class::Class;
use crate::problem::Problem;

/// Runs requests that may change something as tasks of their own. They are waited for when the
/// server ends.
pub(crate) async fn detach(State(app): State<App>, request: Request, next: Next) -> Response {
    let signs_in = matches!(
        request.extensions().get::<Class>(),
        Some(Class::Auth | Class::Callback)
    );
    if request.method().is_safe() && !signs_in {
        return next.run(request).await;
    }
    let work = next.run(request).in_current_span();
    match app.tasks.spawn(work).await {
        Ok(response) => response,
        Err(error) => match error.try_into_panic() {
            // The panic goes on here, where it is caught.
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(cancelled) => Problem::unavailable(&cancelled).into_response(),
        },
    }
}
