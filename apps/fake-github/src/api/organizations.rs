//! The REST API's organizations and teams, as far as a sign-in asks for memberships.

use axum::{
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{Caller, NamedAgent, STANDARD, json_body, not_found, problem};
use crate::{
    Membership, Organization,
    organization::{Access, Team},
    params::Params,
    site::Site,
};
use base64::Engine as _;

/// What the endpoints for memberships want of a token.
const ACCEPTED: &str = "admin:org, read:org, repo, user, write:org";
/// How long a page is that nobody asked to be of a length, and the longest.
const PAGE: usize = 30;
const LONGEST_PAGE: usize = 100;

/// `GET /orgs/{org}`: public.
pub(crate) async fn organization(
    State(site): State<Site>,
    _named: NamedAgent,
    Path(login): Path<String>,
) -> Response {
    let state = site.shared.state();
    let found = state
        .organizations()
        .iter()
        .find(|org| org.is_called(&login));
    found.map_or_else(not_found, |org| {
        json_body(&describe(&site, org)).into_response()
    })
}

/// `GET /orgs/{org}/teams/{team_slug}`: for members of the organization.
pub(crate) async fn team(
    State(site): State<Site>,
    caller: Caller,
    Path((login, slug)): Path<(String, String)>,
) -> Response {
    let state = site.shared.state();
    let org = state
        .organizations()
        .iter()
        .find(|org| org.is_called(&login));
    let Some(org) = org.filter(|org| may_see(&caller, org)) else {
        return caller.answer(
            ACCEPTED,
            StatusCode::NOT_FOUND,
            &problem("Not Found", "404"),
        );
    };
    if let Some(refusal) = refusal(&site, org) {
        return refusal;
    }
    let team = org.teams.iter().find(|team| team.slug == slug);
    match team {
        Some(team) => caller.answer(ACCEPTED, StatusCode::OK, &describe_team(&site, org, team)),
        None => caller.answer(
            ACCEPTED,
            StatusCode::NOT_FOUND,
            &problem("Not Found", "404"),
        ),
    }
}

/// `GET /organizations/{org_id}/team/{team_id}/memberships/{username}`
pub(crate) async fn team_membership(
    State(site): State<Site>,
    caller: Caller,
    Path((org_id, team_id, login)): Path<(u64, u64, String)>,
) -> Response {
    let state = site.shared.state();
    let nowhere = || {
        caller.answer(
            ACCEPTED,
            StatusCode::NOT_FOUND,
            &problem("Not Found", "404"),
        )
    };
    let org = state.organizations().iter().find(|org| org.id == org_id);
    let Some(org) = org.filter(|org| may_see(&caller, org)) else {
        return nowhere();
    };
    if let Some(refusal) = refusal(&site, org) {
        return refusal;
    }
    let team = org.teams.iter().find(|team| team.id == team_id);
    let account = state.account_called(&login);
    let membership = team
        .zip(account)
        .and_then(|(team, account)| team.members.get(&account.id));
    let Some(membership) = membership else {
        return nowhere();
    };
    let url = format!(
        "{}/organizations/{org_id}/team/{team_id}/memberships/{login}",
        site.base_url
    );
    let body = json!({ "state": membership.as_str(), "role": "member", "url": url });
    caller.answer(ACCEPTED, StatusCode::OK, &body)
}

/// `GET /user/memberships/orgs`, page by page.
pub(crate) async fn memberships(
    State(site): State<Site>,
    caller: Caller,
    params: Params,
) -> Response {
    if !caller.scopes.allow("read:org") && !caller.scopes.allow("user") {
        let text = "You need at least read:org scope or user scope to list your organizations.";
        return caller.answer(ACCEPTED, StatusCode::FORBIDDEN, &problem(text, "403"));
    }
    let wanted = match params.get("state") {
        None => None,
        Some("active") => Some(Membership::Active),
        Some("pending") => Some(Membership::Pending),
        Some(_) => {
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return caller.answer(ACCEPTED, status, &problem("Validation Failed", "422"));
        }
    };
    let number = |name| params.get(name).and_then(|text| text.parse::<usize>().ok());
    let length = number("per_page").unwrap_or(PAGE).clamp(1, LONGEST_PAGE);
    let page = number("page").unwrap_or(1).max(1);

    let state = site.shared.state();
    let mine = state.organizations().iter().filter_map(|org| {
        let membership = *org.members.get(&caller.account.id)?;
        wanted
            .is_none_or(|wanted| wanted == membership)
            .then_some((org, membership))
    });
    let mine: Vec<_> = mine.collect();
    let hidden: Vec<String> = mine
        .iter()
        .filter(|(org, _)| org.access == Access::SingleSignOn)
        .map(|(org, _)| org.id.to_string())
        .collect();
    let open: Vec<_> = mine
        .iter()
        .filter(|(org, _)| org.access == Access::Open)
        .collect();
    let from = open.len().min((page - 1).saturating_mul(length));
    let to = open.len().min(from.saturating_add(length));
    let body: Vec<Value> = open[from..to]
        .iter()
        .map(|(org, membership)| describe_membership(&site, &caller, org, *membership))
        .collect();
    let mut response = caller.answer(ACCEPTED, StatusCode::OK, &Value::Array(body));
    let headers = response.headers_mut();
    let mut set = |name: &'static str, text: String| {
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(name, value);
        }
    };
    if to < open.len() {
        let last = open.len().div_ceil(length);
        let at = |page: usize, rel: &str| {
            let base = &site.base_url;
            format!("<{base}/user/memberships/orgs?per_page={length}&page={page}>; rel=\"{rel}\"")
        };
        let links = format!("{}, {}", at(page + 1, "next"), at(last, "last"));
        set(header::LINK.as_str(), links);
    }
    if !hidden.is_empty() {
        let organizations = hidden.join(",");
        let text = format!("partial-results; organizations={organizations}");
        set("x-github-sso", text);
    }
    response
}

/// Who is no member of an organization learns nothing of its teams.
fn may_see(caller: &Caller, org: &Organization) -> bool {
    caller.scopes.allow("read:org") && org.has_active(caller.account.id)
}

/// What an organization says to a token it does not let in.
fn refusal(site: &Site, org: &Organization) -> Option<Response> {
    match org.access {
        Access::Open => None,
        Access::NotApproved => {
            let text = format!(
                "Although you appear to have the correct authorization credentials, the `{}` \
                 organization has enabled OAuth App access restrictions, meaning that data access \
                 to third-parties is limited.",
                org.login
            );
            let body = json_body(&problem(&text, "403"));
            Some((StatusCode::FORBIDDEN, body).into_response())
        }
        Access::SingleSignOn => {
            let text = "Resource protected by organization SAML enforcement. You must grant your \
                        OAuth token access to this organization.";
            let url = format!("required; url={}/orgs/{}/sso", site.base_url, org.login);
            let body = json_body(&problem(text, "403"));
            let mut response = (StatusCode::FORBIDDEN, body).into_response();
            if let Ok(value) = HeaderValue::try_from(url) {
                response.headers_mut().insert("x-github-sso", value);
            }
            Some(response)
        }
    }
}

fn describe(site: &Site, org: &Organization) -> Value {
    let (base, id, login) = (&site.base_url, org.id, &org.login);
    json!({
        "login": login,
        "id": id,
        "node_id": STANDARD.encode(format!("012:Organization{id}")),
        "url": format!("{base}/orgs/{login}"),
        "members_url": format!("{base}/orgs/{login}/members{{/member}}"),
        "avatar_url": format!("{base}/avatars/u/{id}?v=4"),
        "description": "",
        "type": "Organization",
    })
}

fn describe_team(site: &Site, org: &Organization, team: &Team) -> Value {
    let (base, id, slug) = (&site.base_url, team.id, &team.slug);
    json!({
        "name": slug,
        "id": id,
        "node_id": STANDARD.encode(format!("04:Team{id}")),
        "slug": slug,
        "description": "",
        "privacy": "closed",
        "permission": "pull",
        "url": format!("{base}/organizations/{}/team/{id}", org.id),
        "parent": null,
        "organization": describe(site, org),
    })
}

fn describe_membership(
    site: &Site,
    caller: &Caller,
    org: &Organization,
    membership: Membership,
) -> Value {
    let base = &site.base_url;
    json!({
        "url": format!("{base}/orgs/{}/memberships/{}", org.login, caller.account.login),
        "state": membership.as_str(),
        "role": "member",
        "organization_url": format!("{base}/orgs/{}", org.login),
        "organization": describe(site, org),
        "user": super::profile(site, &caller.account),
    })
}
