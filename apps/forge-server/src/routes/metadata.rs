//! What clients read before they come: where tokens are for, and the keys that sign them.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::app::App;

pub(super) fn routes() -> Router<App> {
    Router::new()
        .route(
            "/.well-known/oauth-protected-resource",
            get(protected_resource),
        )
        .route(
            "/.well-known/oauth-protected-resource/mcp",
            get(protected_resource),
        )
        .route("/.well-known/jwks.json", get(jwks))
}

/// RFC 9728.
async fn protected_resource(State(app): State<App>) -> Json<Value> {
    Json(json!({
        "resource": app.resource(),
        "bearer_methods_supported": ["header"],
        "jwks_uri": app.config.public("/.well-known/jwks.json"),
        "resource_name": "Forge",
    }))
}

/// RFC 7517.
async fn jwks(State(app): State<App>) -> Json<Value> {
    let tokens = app.sessions.access_tokens();
    Json(tokens.map_or_else(|| json!({ "keys": [] }), |tokens| tokens.keys().jwks()))
}
