//! The session as an argument of an Axum handler.

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::authenticated::{Anonymous, Authenticated};
use crate::refusal::{Problem, Refusal, Respond};

/// The response to a request without a session: 401 with the layer's challenge.
///
/// Without a [`SessionLayer`](crate::SessionLayer) further out it is 500, and an error in the log,
/// because then nobody could ever sign in.
#[derive(Debug)]
pub struct SessionRequired(Box<Response>);

impl IntoResponse for SessionRequired {
    fn into_response(self) -> Response {
        *self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Authenticated {
    type Rejection = SessionRequired;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionRequired> {
        found(parts)?.ok_or_else(|| {
            let anonymous = parts.extensions.get::<Anonymous>();
            let refusal = anonymous.map(|a| Refusal::unauthenticated(&a.challenge));
            required(parts, &refusal.unwrap_or_else(Refusal::misassembled))
        })
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Authenticated {
    type Rejection = SessionRequired;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, SessionRequired> {
        found(parts)
    }
}

/// What somebody must be to reach a handler, of the application's own making. Argument of
/// [`Require`].
///
/// ```
/// use forge_session::{Authenticated, Require, Requirement};
/// use http::request::Parts;
///
/// /// The application's own type, put into the extensions by its own middleware.
/// #[derive(Clone, PartialEq)]
/// enum Role { User, Admin }
///
/// struct Admin;
///
/// impl Requirement for Admin {
///     fn of(_: &Authenticated, parts: &Parts) -> Option<Self> {
///         let role = parts.extensions.get::<Role>()?;
///         (*role == Role::Admin).then_some(Self)
///     }
/// }
///
/// async fn delete_everything(_: Require<Admin>) {}
/// # let _: axum::Router = axum::Router::new().route("/", axum::routing::post(delete_everything));
/// ```
pub trait Requirement: Sized + Send {
    /// What the handler gets, if the session has it; otherwise the answer is 403.
    fn of(authenticated: &Authenticated, parts: &Parts) -> Option<Self>;
}

/// A session that fulfils a [`Requirement`], as an argument of a handler: 401 where nobody is
/// signed in, 403 where it is not enough.
#[derive(Clone, Copy, Debug)]
pub struct Require<R>(pub R);

impl<R: Requirement, S: Sync> FromRequestParts<S> for Require<R> {
    type Rejection = SessionRequired;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, SessionRequired> {
        let me = <Authenticated as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        let fulfilled = R::of(&me, parts).map(Self);
        fulfilled.ok_or_else(|| required(parts, &Refusal::forbidden()))
    }
}

fn found(parts: &Parts) -> Result<Option<Authenticated>, SessionRequired> {
    let authenticated = parts.extensions.get::<Authenticated>();
    if authenticated.is_none() && parts.extensions.get::<Anonymous>().is_none() {
        tracing::error!("a handler takes a session, but no SessionLayer lies around it");
        return Err(required(parts, &Refusal::misassembled()));
    }
    Ok(authenticated.cloned())
}

fn required(parts: &Parts, refusal: &Refusal) -> SessionRequired {
    SessionRequired(Box::new(Problem.respond(parts, refusal)))
}
