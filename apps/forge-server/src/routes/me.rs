//! `GET /api/me`: the principal.

use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;

use super::sessions::SessionView;
use crate::accounts::Role;
use crate::app::App;
use crate::principal::Principal;

pub(super) fn routes() -> Router<App> {
    Router::new().route("/api/me", get(me))
}

#[derive(Serialize)]
pub(super) struct Me {
    github_id: u64,
    login: String,
    roles: &'static [Role],
    session: SessionView,
}

impl Me {
    pub(super) fn of(principal: &Principal) -> Self {
        Self {
            github_id: principal.github_id,
            login: principal.login.clone(),
            roles: principal.roles(),
            session: SessionView::of(principal.session(), Some(principal)),
        }
    }
}

async fn me(principal: Principal) -> Json<Me> {
    Json(Me::of(&principal))
}
