//! `/mcp`: tools for agents, by the Model Context Protocol over Streamable HTTP.
//!
//! Without sessions of the protocol's own: each request bears its token, is answered by itself,
//! and leaves nothing behind. So a revoked token ends with the next request, and nobody can act
//! within what somebody else has begun.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use forge_audit::Kind as AuditKind;
use forge_monitor::SignalKind;
use forge_session::{Kind, RequireSessionLayer};
use http::StatusCode;
use http::request::Parts;
use rmcp::handler::server::tool::Extension;
use rmcp::model::{
    CallToolResult, ContentBlock, ErrorData, Implementation, ServerCapabilities, ServerConfig,
};
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ServerHandler, tool, tool_handler, tool_router};
use serde::Serialize;

use super::me::Me;
use super::sessions;
use crate::app::App;
use crate::present::is_plain;
use crate::principal::Principal;
use crate::problem::Problem;
use crate::wiring::Cause;

pub(super) fn routes(app: &App) -> Router {
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_max_request_body_bytes(app.config.bounds.body)
        // The host was checked against the configured list before it came here.
        .disable_allowed_hosts();
    let tools = Tools { app: app.clone() };
    let service = StreamableHttpService::new(
        move || Ok(tools.clone()),
        NeverSessionManager::default().into(),
        config,
    );
    let require = RequireSessionLayer::new().kind(Kind::MCP).on_rejection((
        app.wiring.on_session_rejection(),
        forge_session::RecordMetrics,
    ));
    Router::new()
        .route_service("/mcp", service)
        .layer(from_fn(worded))
        .layer(from_fn(whole))
        .layer(from_fn(allowed))
        .layer(require)
}

/// A session whose user is not on the allow-list any more opens nothing.
async fn allowed(request: Request, next: Next) -> Response {
    if request.extensions().get::<Principal>().is_some() {
        return next.run(request).await;
    }
    Problem::new(StatusCode::UNAUTHORIZED, "this account may not sign in").into_response()
}

/// What the protocol's library refuses in plain text, as this server refuses. Its answers to a
/// message it could read are JSON-RPC, and stay what they are.
async fn worded(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let status = response.status();
    if !is_plain(response.headers()) {
        return response;
    }
    let detail = match status {
        StatusCode::METHOD_NOT_ALLOWED => "send each message with POST",
        StatusCode::NOT_ACCEPTABLE => {
            "accept both application/json and text/event-stream, as the protocol asks for"
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => "send one JSON-RPC message as application/json",
        StatusCode::BAD_REQUEST => "the protocol does not allow this request",
        _ => return response,
    };
    // The layer that presents responses writes it out; `Allow` and the like stay.
    response
        .extensions_mut()
        .insert(Problem::new(status, detail));
    response
}

/// Reads the body before the protocol does, which takes one that is too long or breaks off for a
/// failure of its own.
async fn whole(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await;
    match body {
        Ok(body) => next.run(Request::from_parts(parts, Body::from(body))).await,
        Err(error) => {
            let fix = "send one JSON-RPC message";
            Problem::of_body(error.status(), fix).into_response()
        }
    }
}

#[derive(Clone)]
struct Tools {
    app: App,
}

#[tool_router]
impl Tools {
    /// Who the token was given to.
    #[tool(description = "Tells which account this client acts for, and until when.")]
    async fn whoami(
        &self,
        Extension(parts): Extension<Parts>,
    ) -> Result<CallToolResult, ErrorData> {
        let principal = self.called("whoami", &parts)?;
        self.answer("whoami", &parts, &Me::of(principal))
    }

    /// The account's sessions.
    #[tool(description = "Lists the sessions of the account this client acts for.")]
    async fn list_my_sessions(
        &self,
        Extension(parts): Extension<Parts>,
    ) -> Result<CallToolResult, ErrorData> {
        let principal = self.called("list_my_sessions", &parts)?;
        let sessions = sessions::of(&self.app, principal).await;
        let unavailable =
            |problem: Problem| ErrorData::internal_error(problem.detail().to_owned(), None);
        self.answer("list_my_sessions", &parts, &sessions.map_err(unavailable)?)
    }
}

impl Tools {
    /// Who calls; the call is on record.
    fn called<'a>(&self, tool: &'static str, parts: &'a Parts) -> Result<&'a Principal, ErrorData> {
        let cause = Cause::of(parts);
        self.app
            .wiring
            .audit(cause.event(AuditKind::ToolCall, "tool.call").resource(tool));
        self.app
            .wiring
            .signal(SignalKind::ToolCall { tool: tool.into() }, &cause);
        let nobody = || ErrorData::invalid_request("nobody is signed in".to_owned(), None);
        parts.extensions.get::<Principal>().ok_or_else(nobody)
    }

    /// What a tool answers; how much that is, the monitor is told.
    fn answer(
        &self,
        tool: &'static str,
        parts: &Parts,
        value: &impl Serialize,
    ) -> Result<CallToolResult, ErrorData> {
        let json = serde_json::to_string(value)
            .map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        let output = SignalKind::ToolOutput {
            tool: tool.into(),
            bytes: json.len() as u64,
        };
        self.app.wiring.signal(output, &Cause::of(parts));
        Ok(CallToolResult::success(vec![ContentBlock::text(json)]))
    }
}

#[tool_handler]
impl ServerHandler for Tools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("forge", env!("CARGO_PKG_VERSION")))
            .with_instructions("The account behind the token, and its sessions.")
    }
}
