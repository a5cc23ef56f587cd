//! What every handler reaches: the stand-in and the address it is reached under.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
    http::{HeaderValue, StatusCode, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use url::Host;

use crate::{
    Client, Clock, Control, Endpoint, api,
    api::organizations,
    authorize, control, device,
    faults::{self, Faults},
    page,
    state::State,
    token,
};

/// Bodies above this are refused with 413.
const BODY_LIMIT: usize = 16 * 1024;

/// The state that all routers and servers of one stand-in share.
pub(crate) struct Shared {
    pub(crate) clients: Vec<Client>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) issuer: Option<String>,
    pub(crate) state: Mutex<State>,
    pub(crate) faults: Faults,
}

impl Shared {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn client(&self, id: &str) -> Option<&Client> {
        self.clients.iter().find(|client| client.id == id)
    }
}

/// The stand-in under one base URL.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) shared: Arc<Shared>,
    /// Without a slash at the end.
    pub(crate) base_url: Arc<str>,
}

impl Site {
    pub(crate) fn issuer(&self) -> String {
        self.shared
            .issuer
            .clone()
            .unwrap_or_else(|| format!("{}/login/oauth", self.base_url))
    }

    pub(crate) fn router(self) -> Router {
        let counted = |endpoint: Endpoint| {
            middleware::from_fn_with_state(
                (Arc::clone(&self.shared), endpoint),
                faults::count_and_spoil,
            )
        };
        let control = Control::new(Arc::clone(&self.shared));
        Router::new()
            .route(
                "/login/oauth/authorize",
                get(authorize::page)
                    .post(authorize::decide)
                    .layer(counted(Endpoint::Authorize)),
            )
            .route(
                "/login/oauth/access_token",
                post(token::exchange).layer(counted(Endpoint::Token)),
            )
            .route(
                "/login/device/code",
                post(device::begin).layer(counted(Endpoint::DeviceCode)),
            )
            .route(
                "/login/device",
                get(device::page)
                    .post(device::decide)
                    .layer(counted(Endpoint::DevicePage)),
            )
            .route("/user", get(api::user).layer(counted(Endpoint::User)))
            .route(
                "/user/emails",
                get(api::emails).layer(counted(Endpoint::Emails)),
            )
            .route(
                "/user/{id}",
                get(api::user_by_id).layer(counted(Endpoint::Users)),
            )
            .route(
                "/users/{login}",
                get(api::user_by_login).layer(counted(Endpoint::Users)),
            )
            .route(
                "/orgs/{org}",
                get(organizations::organization).layer(counted(Endpoint::Organization)),
            )
            .route(
                "/orgs/{org}/teams/{team_slug}",
                get(organizations::team).layer(counted(Endpoint::Team)),
            )
            .route(
                "/user/memberships/orgs",
                get(organizations::memberships).layer(counted(Endpoint::Memberships)),
            )
            .route(
                "/organizations/{org_id}/team/{team_id}/memberships/{username}",
                get(organizations::team_membership).layer(counted(Endpoint::TeamMembership)),
            )
            .route(
                "/applications/{client_id}/token",
                delete(api::revoke_token).layer(counted(Endpoint::RevokeToken)),
            )
            .route(
                "/applications/{client_id}/grant",
                delete(api::revoke_grant).layer(counted(Endpoint::RevokeGrant)),
            )
            .route("/avatars/u/{id}", get(page::avatar))
            .with_state(self)
            .nest("/_fake", control::routes(control))
            .fallback(page::not_found)
            .layer(DefaultBodyLimit::max(BODY_LIMIT))
            .layer(middleware::map_response(never_stored))
            .layer(middleware::from_fn(only_by_a_loopback_name))
    }
}

async fn never_stored(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// A name that points at loopback (DNS rebinding) is not a way in.
async fn only_by_a_loopback_name(request: Request, next: Next) -> Response {
    let by_header = request.headers().get(header::HOST).map(|host| {
        host.to_str()
            .ok()
            .and_then(|host| host.parse::<Authority>().ok())
            .is_some_and(|host| is_loopback(host.host()))
    });
    let by_uri = request.uri().host().map(is_loopback);
    if by_header.unwrap_or(true) && by_uri.unwrap_or(true) {
        next.run(request).await
    } else {
        let refusal = "The GitHub stand-in answers on loopback only.\n";
        (StatusCode::MISDIRECTED_REQUEST, refusal).into_response()
    }
}

fn is_loopback(host: &str) -> bool {
    match Host::parse(host) {
        Ok(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Ok(Host::Ipv4(ip)) => ip.is_loopback(),
        Ok(Host::Ipv6(ip)) => ip.is_loopback(),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_a_loopback_name_from_others() {
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "app.localhost",
            "127.9.9.9",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "evil.test",
            "10.0.0.1",
            "[::2]",
            "localhost.evil.test",
            "notlocalhost",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
