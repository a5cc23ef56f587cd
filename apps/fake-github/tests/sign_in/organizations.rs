//! Organizations and teams: what a token sees of them.

use fake_github::{Membership, OCTO_ADMIN, OCTO_USER, Organization, Team};
use reqwest::{Method, Response};
use serde_json::{Value, json};

use crate::support::Trial;

const MEMBERSHIPS: &str = "/user/memberships/orgs";
const IN_TEAM: &str = "/organizations/2001/team/3001/memberships/octo-user";

fn acme() -> Organization {
    let team = Team::new(3001, "platform").member(OCTO_USER, Membership::Active);
    Organization::new(2001, "Acme")
        .member(OCTO_USER, Membership::Active)
        .member(OCTO_ADMIN, Membership::Pending)
        .team(team)
}

async fn get(trial: &Trial, path: &str, token: &str) -> Response {
    let request = trial.request(Method::GET, path).bearer_auth(token);
    request.send().await.unwrap()
}

async fn ids(response: Response) -> Vec<u64> {
    let list: Vec<Value> = response.json().await.unwrap();
    let id = |membership: &Value| membership["organization"]["id"].as_u64().unwrap();
    list.iter().map(id).collect()
}

#[tokio::test]
async fn an_organization_is_public_and_its_teams_are_for_members() {
    let trial = Trial::start().await;
    trial.server.control().set_organization(acme());
    let response = trial.request(Method::GET, "/orgs/acme").send().await;
    let organization: Value = response.unwrap().json().await.unwrap();
    assert_eq!(organization["id"], 2001);
    assert_eq!(organization["login"], "Acme");
    let member = trial.access_token(OCTO_USER, "read:org").await;
    let team = get(&trial, "/orgs/acme/teams/platform", &member).await;
    let team: Value = team.json().await.unwrap();
    assert_eq!(team["id"], 3001);
    assert_eq!(team["organization"]["id"], 2001);
    // To others they are not there: without the scope, and to who is only invited.
    let narrow = trial.access_token(OCTO_USER, "read:user").await;
    let invited = trial.access_token(OCTO_ADMIN, "read:org").await;
    for token in [&narrow, &invited] {
        for path in ["/orgs/acme/teams/platform", IN_TEAM] {
            assert_eq!(get(&trial, path, token).await.status(), 404);
        }
    }
    for path in ["/orgs/other", "/orgs/acme/teams/other"] {
        assert_eq!(get(&trial, path, &member).await.status(), 404);
    }
}

#[tokio::test]
async fn memberships_are_listed_page_by_page() {
    let trial = Trial::start().await;
    for id in 1..=5 {
        let organization = Organization::new(id, format!("o-{id}"));
        let organization = organization.member(OCTO_USER, Membership::Active);
        trial.server.control().set_organization(organization);
    }
    let invited = Organization::new(6, "o-6").member(OCTO_USER, Membership::Pending);
    trial.server.control().set_organization(invited);
    let token = trial.access_token(OCTO_USER, "read:org").await;
    let page = |query: &str| {
        let path = format!("{MEMBERSHIPS}?{query}");
        let trial = &trial;
        let token = &token;
        async move { get(trial, &path, token).await }
    };
    let first = page("state=active&per_page=2").await;
    let link = first.headers()["link"].to_str().unwrap().to_owned();
    assert!(link.contains(r#"page=2>; rel="next""#), "{link}");
    assert!(link.contains(r#"page=3>; rel="last""#), "{link}");
    assert_eq!(ids(first).await, [1, 2]);
    let last = page("state=active&per_page=2&page=3").await;
    assert!(!last.headers().contains_key("link"));
    assert_eq!(ids(last).await, [5]);
    assert_eq!(ids(page("state=pending").await).await, [6]);
    assert_eq!(ids(page("").await).await.len(), 6);
    assert!(ids(page("page=9").await).await.is_empty());
    assert_eq!(page("state=x").await.status(), 422);

    let narrow = trial.access_token(OCTO_USER, "gist").await;
    let refused = get(&trial, MEMBERSHIPS, &narrow).await;
    assert_eq!(refused.status(), 403);
    assert!(refused.text().await.unwrap().contains("read:org"));
}

#[tokio::test]
async fn a_membership_of_a_team_has_a_state() {
    let trial = Trial::start().await;
    trial.server.control().set_organization(acme());
    let token = trial.access_token(OCTO_USER, "read:org").await;
    let found: Value = get(&trial, IN_TEAM, &token).await.json().await.unwrap();
    let expected = json!({ "state": "active", "role": "member", "url": trial.url(IN_TEAM) });
    assert_eq!(found, expected);
    for path in [
        "/organizations/2001/team/3001/memberships/octo-admin",
        "/organizations/2001/team/3002/memberships/octo-user",
        "/organizations/2002/team/3001/memberships/octo-user",
    ] {
        assert_eq!(get(&trial, path, &token).await.status(), 404);
    }
}

#[tokio::test]
async fn a_policy_of_the_organization_hides_it() {
    let trial = Trial::start().await;
    let control = trial.server.control();
    let token = trial.access_token(OCTO_USER, "read:org").await;
    control.set_organization(acme().approves_no_app());
    let refused = get(&trial, IN_TEAM, &token).await;
    assert_eq!(refused.status(), 403);
    assert!(
        refused
            .text()
            .await
            .unwrap()
            .contains("access restrictions")
    );
    let list = get(&trial, MEMBERSHIPS, &token).await;
    assert!(!list.headers().contains_key("x-github-sso"));
    assert!(ids(list).await.is_empty());

    control.set_organization(acme().wants_single_sign_on());
    let refused = get(&trial, IN_TEAM, &token).await;
    assert_eq!(refused.status(), 403);
    let sso = refused.headers()["x-github-sso"].to_str().unwrap();
    assert!(sso.starts_with("required; url="), "{sso}");
    let list = get(&trial, MEMBERSHIPS, &token).await;
    let sso = &list.headers()["x-github-sso"];
    assert_eq!(sso, "partial-results; organizations=2001");
    assert!(ids(list).await.is_empty());
    control.remove_organization(2001);
    assert_eq!(get(&trial, IN_TEAM, &token).await.status(), 404);
}
