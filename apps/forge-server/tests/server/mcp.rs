//! `/mcp`, as the official client uses it and as others try to.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fake_github::{OCTO_ADMIN, OCTO_USER};
use reqwest::Method;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RoleClient, RunningService};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::{ServiceError, ServiceExt};
use serde_json::{Value, json};

use crate::support::{Browser, Trial, agent, only, text, with_action};

type Client = RunningService<RoleClient, ()>;

/// The official client, with an access token.
async fn connect(trial: &Trial, token: &str) -> Client {
    let url = trial.app.resource();
    let config = StreamableHttpClientTransportConfig::with_uri(url).auth_header(token);
    let transport = StreamableHttpClientTransport::from_config(config);
    ().serve(transport).await.unwrap()
}

async fn call(client: &Client, tool: &'static str) -> Result<CallToolResult, ServiceError> {
    client.call_tool(CallToolRequestParams::new(tool)).await
}

/// What a tool answered, which is JSON.
fn answered(result: &CallToolResult) -> Value {
    assert_ne!(result.is_error, Some(true), "{result:?}");
    let content = result.content[0].as_text().unwrap();
    serde_json::from_str(&content.text).unwrap()
}

#[tokio::test]
async fn the_official_client_lists_and_calls_the_tools() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = agent(&user, "my-agent").await;
    let client = connect(&trial, text(&tokens, "access_token")).await;
    let tools = client.list_all_tools().await.unwrap();
    let names: BTreeSet<_> = tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, BTreeSet::from(["whoami", "list_my_sessions"]));
    assert!(tools.iter().all(|tool| tool.description.is_some()));

    let me = answered(&call(&client, "whoami").await.unwrap());
    assert_eq!(me["github_id"], OCTO_USER);
    assert_eq!(me["login"], "octo-user");
    assert_eq!(me["roles"], json!(["user"]));
    assert_eq!(me["session"]["id"], tokens["session"]["id"]);
    assert_eq!(me["session"]["kind"], "mcp");
    assert_eq!(me["session"]["client"], "my-agent");
    assert!(me["session"]["expires_at"].is_string());

    let sessions = answered(&call(&client, "list_my_sessions").await.unwrap());
    let sessions = sessions["sessions"].as_array().unwrap();
    let kinds: BTreeSet<_> = sessions.iter().map(|s| text(s, "kind")).collect();
    assert_eq!(sessions.len(), 2);
    assert_eq!(kinds, BTreeSet::from(["mcp", "web"]));

    assert!(call(&client, "no_such_tool").await.is_err());
    client.cancel().await.unwrap();
}

#[tokio::test]
async fn each_call_of_a_tool_is_on_record() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = agent(&user, "my-agent").await;
    let client = connect(&trial, text(&tokens, "access_token")).await;
    call(&client, "whoami").await.unwrap();
    client.cancel().await.unwrap();
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let event = only(&events, "tool.call");
    assert_eq!(event["kind"], "tool_call");
    assert_eq!(event["resource"], "whoami");
    assert_eq!(event["actor"]["id"], OCTO_USER.to_string());
    assert_eq!(event["actor"]["session"], tokens["session"]["id"]);
    assert_eq!(event["address"], "127.0.0.1");
    assert_eq!(text(event, "request_id").len(), 36);
}

/// A call of the protocol without its client.
async fn post(browser: &Browser, token: Option<&str>, body: &Value) -> crate::support::Answer {
    let request = browser.request(Method::POST, "/mcp").json(body);
    let request = request.header("accept", "application/json, text/event-stream");
    let request = match token {
        Some(token) => request.bearer_auth(token),
        None => request,
    };
    browser.send(request).await
}

fn whoami() -> Value {
    let params = json!({ "name": "whoami", "arguments": {} });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
}

#[tokio::test]
async fn who_has_no_token_is_told_where_to_learn_how_to_get_one() {
    let trial = Trial::start().await;
    let browser = trial.browser();
    let answer = post(&browser, None, &whoami()).await;
    answer.problem(401);
    let metadata = trial.app.resource_metadata_url();
    assert_eq!(
        answer.one("www-authenticate"),
        format!(r#"Bearer realm="forge", resource_metadata="{metadata}""#)
    );
    let path = metadata.strip_prefix(&trial.app.config.public("")).unwrap();
    let metadata = browser.get(path).await.expect(200).json();
    assert_eq!(metadata["resource"], trial.app.resource());
    assert_eq!(metadata["bearer_methods_supported"], json!(["header"]));
    let same = browser.get("/.well-known/oauth-protected-resource").await;
    assert_eq!(same.expect(200).json(), metadata);
}

#[tokio::test]
pub(crate) async fn the_keys_that_sign_access_tokens_are_published() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = agent(&user, "my-agent").await;
    let keys = user.get("/.well-known/jwks.json").await.expect(200).json();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    assert!(keys[0].get("d").is_none(), "the private half is not");

    let decoded = |part: &str| -> Value {
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let parts: Vec<_> = text(&tokens, "access_token").split('.').collect();
    let (header, claims) = (decoded(parts[0]), decoded(parts[1]));
    assert_eq!(header["typ"], "at+jwt");
    assert_eq!(header["alg"], "EdDSA");
    assert_eq!(header["kid"], keys[0]["kid"]);
    assert_eq!(claims["aud"], trial.app.resource());
    assert_eq!(claims["iss"], trial.app.config.public(""));
    assert_eq!(claims["client_id"], "my-agent");
}

#[tokio::test]
async fn a_browsers_session_does_not_open_it() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let answer = post(&user, None, &whoami()).await;
    answer.problem(401);
    assert!(answer.headers.contains_key("www-authenticate"));
    user.get("/api/me").await.expect(200);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let event = only(&events, "auth.credential");
    assert_eq!(event["details"]["reason"], "wrong_kind");
    assert_eq!(event["resource"], "POST /mcp");
    // Nor with a token that is none.
    post(&user, Some("forged"), &whoami()).await.problem(401);
}

#[tokio::test]
pub(crate) async fn a_token_ends_with_its_session_in_the_midst_of_a_conversation() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = agent(&user, "my-agent").await;
    let client = connect(&trial, text(&tokens, "access_token")).await;
    call(&client, "whoami").await.unwrap();
    let path = format!("/api/sessions/{}", text(&tokens["session"], "id"));
    user.delete(&path).await.expect(204);

    let error = call(&client, "whoami").await.unwrap_err();
    assert!(error.is_authorization_required(), "{error:?}");
    let challenge = error.auth_challenge().unwrap();
    assert!(
        challenge.ends_with(r#", error="invalid_token""#),
        "{challenge}"
    );
    let answer = post(&user, Some(text(&tokens, "access_token")), &whoami()).await;
    answer.problem(401);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    for event in with_action(&events, "auth.credential") {
        assert_eq!(event["details"]["reason"], "revoked");
    }
}

#[tokio::test]
async fn agents_have_a_quota_of_their_own() {
    let trial = Trial::start().await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = agent(&user, "my-agent").await;
    let token = text(&tokens, "access_token");
    let browser = trial.browser();
    for left in (0..20).rev() {
        let answer = post(&browser, Some(token), &whoami()).await.expect(200);
        assert_eq!(answer.remaining("mcp"), left);
    }
    // In the words of the protocol, which its clients can read.
    let refused = post(&browser, Some(token), &whoami()).await.expect(429);
    assert_eq!(refused.remaining("mcp"), 0);
    assert!(refused.one("retry-after").parse::<u64>().unwrap() >= 1);
    let error = refused.json();
    assert_eq!(error["jsonrpc"], "2.0");
    assert!(error["error"]["message"].is_string(), "{error}");
    user.get("/api/me").await.expect(200);
}

#[tokio::test]
async fn what_is_not_the_protocol_is_a_clean_refusal() {
    let trial = Trial::roomy().await;
    let user = trial.sign_in(OCTO_USER).await;
    let tokens = agent(&user, "my-agent").await;
    let token = text(&tokens, "access_token");
    let browser = trial.browser();
    for body in [
        json!(null),
        json!([]),
        json!({}),
        json!({ "jsonrpc": "1.0", "id": 1, "method": "tools/list" }),
        json!({ "jsonrpc": "2.0", "id": {}, "method": "tools/list" }),
        json!({ "jsonrpc": "2.0", "id": 1 }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "no/such" }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": [] }),
        json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": { "name": 7 } }),
    ] {
        let answer = post(&browser, Some(token), &body).await;
        let refused = (400..500).contains(&answer.status);
        let error = answer.status == 200 && answer.json()["error"].is_object();
        assert!(refused || error, "{body}: {answer:?}");
    }
    for body in ["", "{", "\u{0}", &"[".repeat(50_000)] {
        let request = browser.request(Method::POST, "/mcp").bearer_auth(token);
        let request = request.header("accept", "application/json, text/event-stream");
        let request = request.header("content-type", "application/json");
        let answer = browser.send(request.body(body.to_owned())).await;
        assert!((400..500).contains(&answer.status), "{answer:?}");
    }
    for method in [Method::GET, Method::DELETE, Method::PUT] {
        let answer = browser.with_token(method, "/mcp", token).await;
        assert_eq!(answer.problem(405)["detail"], "send each message with POST");
        assert_eq!(answer.one("allow"), "POST");
    }
    let sent = async |accept: &str, kind: &str, body: &str| {
        let request = browser.request(Method::POST, "/mcp").bearer_auth(token);
        let request = request
            .header("accept", accept)
            .header("content-type", kind);
        browser.send(request.body(body.to_owned())).await
    };
    let (both, json) = ("application/json, text/event-stream", "application/json");
    let call = whoami().to_string();
    for (accept, kind, body, status, names) in [
        (json, json, &*call, 406, "text/event-stream"),
        (both, "text/plain", &*call, 415, "application/json"),
        (both, json, "{", 415, "one JSON-RPC message"),
    ] {
        let problem = sent(accept, kind, body).await.problem(status);
        assert!(text(&problem, "detail").contains(names), "{problem}");
    }
    post(&browser, Some(token), &whoami()).await.expect(200);
}
