//! Who a request is from: the session's user, if still on the allow-list, and what they may do.

use std::time::Duration;

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use forge_audit::AuditContext;
use forge_monitor::SignalKind;
use forge_session::{Authenticated, Kind, RevokeCause, Selector, Session, UserId};
use http::header::WWW_AUTHENTICATE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use crate::accounts::Role;
use crate::app::App;
use crate::problem::Problem;
use crate::wiring::Cause;

/// Who a request is from.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    /// GitHub's numeric id of the account.
    pub github_id: u64,
    /// The login, for people to read.
    pub login: String,
    /// What the user may do.
    pub role: Role,
    session: Authenticated,
}

impl Principal {
    /// The session the request is made with.
    #[must_use]
    pub(crate) fn session(&self) -> &Session {
        self.session.session()
    }

    /// The roles, for programs: an admin is a user too.
    #[must_use]
    pub(crate) fn roles(&self) -> &'static [Role] {
        match self.role {
            Role::User => &[Role::User],
            Role::Admin => &[Role::User, Role::Admin],
        }
    }
}

/// The user of an account, as sessions know it.
#[must_use]
pub(crate) fn user_id(github_id: u64) -> UserId {
    UserId::new(format!("github:{github_id}")).expect("a number makes a valid user id")
}

/// The account of a session's user.
#[must_use]
pub(crate) fn github_id(user: &UserId) -> Option<u64> {
    user.as_str().strip_prefix("github:")?.parse().ok()
}

/// Puts the [`Principal`] into the extensions of a request that has a session. A user who is no
/// longer on the allow-list is nobody.
pub(crate) async fn load(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(session) = request.extensions().get::<Authenticated>().cloned() {
        let account = match github_id(&session.session().user) {
            Some(id) => app.accounts.account(id).await,
            None => Ok(None),
        };
        match account {
            Ok(Some(account)) => {
                let user = account.github_id.to_string();
                if app.monitor.guard().user(&user).is_some() {
                    return Problem::forbidden(BLOCKED).into_response();
                }
                if is_to_sign_in_again(&app, &user, session.session()) {
                    return match end(&app, &session, RevokeCause::Threat, request).await {
                        Ok(request) => next.run(request).await,
                        Err(problem) => problem.into_response(),
                    };
                }
                request.extensions_mut().insert(Principal {
                    github_id: account.github_id,
                    login: account.login,
                    role: account.role,
                    session,
                });
            }
            Ok(None) => {
                // What a removal could not end, or began while it went on, ends here.
                let cause = RevokeCause::AccountRemoved;
                request = match end(&app, &session, cause, request).await {
                    Ok(request) => request,
                    Err(problem) => return problem.into_response(),
                };
            }
            Err(error) => return Problem::unavailable(&error).into_response(),
        }
    }
    next.run(request).await
}

/// What somebody is told whom the monitor has blocked by name.
const BLOCKED: &str = "requests from this account are not accepted at present";

/// Whether the monitor wants the user to sign in again, and this session began before that.
fn is_to_sign_in_again(app: &App, user: &str, session: &Session) -> bool {
    let since = app.monitor.guard().must_sign_in(user);
    since.is_some_and(|since| session.created.as_micros() < since.as_micros())
}

/// Ends the session of a request, which goes on without it.
async fn end(
    app: &App,
    session: &Authenticated,
    why: RevokeCause,
    request: Request,
) -> Result<Request, Problem> {
    let (parts, body) = request.into_parts();
    let selector = Selector::Session(session.session().id);
    let revoked = app.sessions.revoke(selector, why);
    match Cause::of(&parts).scope(revoked).await {
        Ok(_) => Ok(Request::from_parts(parts, body)),
        Err(error) => Err(Problem::unavailable(&error)),
    }
}

impl FromRequestParts<App> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| unauthenticated(app))
    }
}

/// A principal at a browser. An agent's token neither administers nor makes further sessions.
#[derive(Clone, Debug)]
pub(crate) struct Person(pub Principal);

impl FromRequestParts<App> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let principal = Principal::from_request_parts(parts, app).await?;
        if principal.session().kind == Kind::WEB {
            Ok(Self(principal))
        } else {
            Err(Problem::forbidden(
                "sign in at a browser to do this; an agent's token cannot",
            ))
        }
    }
}

/// A principal at a browser whose session is not used in an odd way: for what lasts longer than
/// the session, such as an agent's token.
#[derive(Clone, Debug)]
pub(crate) struct TrustedPerson(pub Principal);

impl FromRequestParts<App> for TrustedPerson {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Person(principal) = Person::from_request_parts(parts, app).await?;
        if principal.session.needs_step_up() {
            return Err(sign_in_again(app, Duration::ZERO));
        }
        Ok(Self(principal))
    }
}

/// An admin at a browser. What changes something wants a sign-in of late; nothing is for a session
/// that is used in an odd way. Then the admin is asked to sign in again (RFC 9470).
#[derive(Clone, Debug)]
pub(crate) struct Admin(pub Principal);

impl FromRequestParts<App> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let max_age = app.config.admin.recent_sign_in;
        let refused = match Person::from_request_parts(parts, app).await {
            Ok(Person(principal)) if principal.role == Role::Admin => {
                let session = &principal.session;
                if session.needs_step_up() {
                    sign_in_again(app, Duration::ZERO)
                } else if parts.method.is_safe() || session.has_signed_in_within(max_age) {
                    if !parts.method.is_safe() {
                        app.wiring.signal(SignalKind::AdminAct, &Cause::of(parts));
                    }
                    return Ok(Self(principal));
                } else {
                    sign_in_again(app, max_age)
                }
            }
            Ok(_) => Problem::forbidden("this is for admins"),
            Err(problem) => problem,
        };
        // The event of this request is about the right that was missing, not about what it was for.
        if let Some(context) = parts.extensions.get::<AuditContext>() {
            context.kind(forge_audit::Kind::Authorization);
            context.action("admin.access");
        }
        Err(refused)
    }
}

/// 401 in the words of RFC 9470, section 3; a person's browser is sent to sign in.
fn sign_in_again(app: &App, max_age: Duration) -> Problem {
    let challenge = format!(
        r#"Bearer resource_metadata="{}", error="insufficient_user_authentication", error_description="a more recent sign-in is needed", max_age="{}""#,
        app.resource_metadata_url(),
        max_age.as_secs()
    );
    let challenge = HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"));
    unauthorized(app, "sign in again to do this", challenge)
}

fn unauthenticated(app: &App) -> Problem {
    let challenge = format!(
        r#"Bearer resource_metadata="{}""#,
        app.resource_metadata_url()
    );
    let challenge = HeaderValue::try_from(challenge).unwrap_or(HeaderValue::from_static("Bearer"));
    unauthorized(app, "sign in, or send an access token", challenge)
}

/// 401, with the address at which a person signs in.
fn unauthorized(app: &App, detail: &'static str, challenge: HeaderValue) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, detail)
        .header(WWW_AUTHENTICATE, challenge)
        .member("sign_in", app.config.public("/auth/github/login"))
}
