//! Who may sign in as a member of an organisation or a team, and for how long.

use fake_github::{
    Endpoint, Fault, Membership, OCTO_ADMIN, OCTO_STRANGER, OCTO_USER, Organization, Team,
};
use forge_server::recheck_memberships;
use reqwest::Method;
use serde_json::Value;

use crate::support::{Browser, ROOMY, Trial, agent, only, seconds, text, with_action};

const STRANGER: u64 = OCTO_STRANGER;
const ACME: u64 = 2001;
const OTHER: u64 = 2002;

fn acme() -> Organization {
    Organization::new(ACME, "acme")
}

fn member() -> Organization {
    acme().member(STRANGER, Membership::Active)
}

/// A server whose allow-list has these besides, and the organization as GitHub has it.
async fn trial(key: &str, value: &str, organization: Organization) -> Trial {
    let trial = Trial::start_with(ROOMY.into_iter().chain([(key, value)])).await;
    trial.github().set_organization(organization);
    trial
}

async fn for_members(organization: Organization) -> Trial {
    trial("allow_list.organisations", "Acme", organization).await
}

async fn for_the_team(organization: Organization) -> Trial {
    trial("allow_list.teams", "acme/platform", organization).await
}

async fn try_to_sign_in(trial: &Trial, account: u64) -> u16 {
    let browser = trial.browser();
    let callback = trial.begin(&browser, account).await;
    browser.get(&callback).await.status
}

/// Lets the time pass after which memberships are asked about, and asks.
async fn recheck(trial: &Trial) {
    trial.clock.advance(seconds(15 * 60));
    recheck_memberships(&trial.app).await;
}

async fn is_in(browser: &Browser) -> bool {
    match browser.get("/api/me").await.status {
        200 => true,
        401 => false,
        status => panic!("{status}"),
    }
}

/// The reasons for which memberships have ended.
async fn ends(trial: &Trial) -> Vec<String> {
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let ended = with_action(&events, "membership.end").into_iter();
    ended
        .map(|event| {
            assert_eq!(event["kind"], "allow_list_change");
            assert_eq!(event["severity"], "high");
            assert_eq!(event["resource"], format!("github:{STRANGER}"));
            text(&event["details"], "reason").to_owned()
        })
        .collect()
}

#[tokio::test]
pub(crate) async fn a_member_signs_in_as_a_user() {
    let trial = for_members(member()).await;
    let browser = trial.sign_in(STRANGER).await;
    let me = browser.get("/api/me").await.expect(200).json();
    assert_eq!(me["github_id"], STRANGER);
    assert_eq!(me["roles"], serde_json::json!(["user"]));
    browser.get("/api/admin/users").await.problem(403);
    // An agent of theirs too.
    let tokens = agent(&browser, "my-agent").await;
    let token = text(&tokens, "access_token");
    let answer = browser.with_token(Method::GET, "/api/me", token).await;
    answer.expect(200);

    let admin = trial.sign_in(OCTO_ADMIN).await;
    let list = admin.get("/api/admin/users").await.expect(200).json();
    assert_eq!(list["users"].as_array().unwrap().len(), 2);
    let members = list["members"].as_array().unwrap();
    assert_eq!(members.len(), 1);
    assert_eq!(members[0]["github_id"], STRANGER);
    assert_eq!(members[0]["login"], "octo-stranger");
    assert_eq!(members[0]["role"], "user");
    assert_eq!(members[0]["through"], "acme");
    let events = trial.audit(&admin).await;
    let through = |event: &&&Value| event["details"]["through"] == "acme";
    let sign_ins = with_action(&events, "auth.sign_in");
    assert_eq!(sign_ins.iter().filter(through).count(), 1);
}

#[tokio::test]
async fn read_org_is_asked_for_where_it_is_needed_and_nowhere_else() {
    let trial = for_members(member()).await;
    let out = trial.browser().get("/auth/github/login").await.expect(303);
    assert!(out.location().contains("scope=read%3Aorg"));

    let trial = Trial::roomy().await;
    trial.github().set_organization(member());
    let out = trial.browser().get("/auth/github/login").await.expect(303);
    assert!(!out.location().contains("scope="), "{}", out.location());
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);
    trial.sign_in(OCTO_USER).await;
    for endpoint in [Endpoint::Organization, Endpoint::Memberships] {
        assert_eq!(trial.github().requests(endpoint), 0);
    }
}

#[tokio::test]
async fn who_is_no_member_or_only_invited_is_turned_away() {
    let trial = for_members(acme()).await;
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);
    let invited = acme().member(STRANGER, Membership::Pending);
    trial.github().set_organization(invited);
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);
    // GitHub has its tokens back.
    assert!(trial.github().tokens_issued().is_empty());
    trial.github().set_organization(member());
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 303);
}

#[tokio::test]
async fn a_team_is_less_than_its_organisation_and_another_than_its_namesake() {
    let platform = || Team::new(3001, "platform");
    let trial = for_the_team(member().team(platform())).await;
    let elsewhere = Organization::new(OTHER, "other")
        .member(STRANGER, Membership::Active)
        .team(Team::new(3002, "platform").member(STRANGER, Membership::Active));
    trial.github().set_organization(elsewhere);
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);

    let invited = platform().member(STRANGER, Membership::Pending);
    trial.github().set_organization(member().team(invited));
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);

    let active = || platform().member(STRANGER, Membership::Active);
    trial.github().set_organization(member().team(active()));
    let browser = trial.sign_in(STRANGER).await;

    // Another login is not another account, nor another slug another team.
    trial.github().rename(STRANGER, "octo-renamed").unwrap();
    let renamed = Team::new(3001, "core").member(STRANGER, Membership::Active);
    trial.github().set_organization(member().team(renamed));
    recheck(&trial).await;
    assert!(is_in(&browser).await);

    // A team that takes the name is not the team.
    let namesake = Team::new(3003, "platform").member(STRANGER, Membership::Active);
    trial.github().set_organization(member().team(namesake));
    recheck(&trial).await;
    assert!(!is_in(&browser).await);
    assert_eq!(ends(&trial).await, ["not_a_member"]);
}

#[tokio::test]
pub(crate) async fn who_has_left_is_out_when_github_is_asked_again() {
    let trial = for_members(member()).await;
    let browser = trial.sign_in(STRANGER).await;
    let tokens = agent(&browser, "my-agent").await;
    let token = text(&tokens, "access_token");
    trial.github().set_organization(acme());
    let asked = trial.github().requests(Endpoint::Memberships);
    // Not before it is due.
    trial.clock.advance(seconds(15 * 60 - 1));
    recheck_memberships(&trial.app).await;
    assert_eq!(trial.github().requests(Endpoint::Memberships), asked);
    assert!(is_in(&browser).await);

    trial.clock.advance(seconds(1));
    recheck_memberships(&trial.app).await;
    assert!(!is_in(&browser).await);
    let answer = browser.with_token(Method::GET, "/api/me", token).await;
    answer.problem(401);
    let refresh = [
        ("grant_type", "refresh_token"),
        ("refresh_token", text(&tokens, "refresh_token")),
        ("client_id", "my-agent"),
    ];
    browser.post_form("/auth/token", &refresh).await.expect(400);
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);
    let kept = trial.app.accounts.token(STRANGER).await.unwrap();
    assert!(
        kept.is_none(),
        "the token of who may not sign in is not kept"
    );
    assert_eq!(ends(&trial).await, ["not_a_member"]);
    assert!(trial.app.accounts.members().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_organisation_is_known_by_its_id_not_by_its_name() {
    let trial = for_members(member()).await;
    let browser = trial.sign_in(STRANGER).await;
    // It is renamed, and somebody else takes the name.
    let renamed = Organization::new(ACME, "acme-corp").member(STRANGER, Membership::Active);
    trial.github().set_organization(renamed);
    let taken = Organization::new(OTHER, "acme").member(OCTO_USER, Membership::Active);
    trial.github().set_organization(taken);
    recheck(&trial).await;
    assert!(is_in(&browser).await);
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 303);

    trial.github().remove_organization(ACME);
    let taken = Organization::new(OTHER, "acme").member(STRANGER, Membership::Active);
    trial.github().set_organization(taken);
    recheck(&trial).await;
    assert!(!is_in(&browser).await);
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);
}

#[tokio::test]
async fn the_name_is_resolved_at_the_first_sign_in_of_anybody() {
    let trial = for_members(acme()).await;
    trial.sign_in(OCTO_ADMIN).await;
    assert_eq!(trial.github().requests(Endpoint::Organization), 1);
    // Who is on the list is not asked about.
    assert_eq!(trial.github().requests(Endpoint::Memberships), 0);
    trial.github().remove_organization(ACME);
    let taken = Organization::new(OTHER, "acme").member(STRANGER, Membership::Active);
    trial.github().set_organization(taken);
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);

    // Taken out of the configuration for a start, it is resolved anew.
    let mut trial = trial;
    let settings = trial.inputs.flags.clone();
    trial
        .inputs
        .flags
        .retain(|(key, _)| key != "allow_list.organisations");
    let mut trial = trial.restart().await;
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);
    trial.inputs.flags = settings;
    let trial = trial.restart().await;
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 303);
}

#[tokio::test]
pub(crate) async fn what_is_configured_no_more_lets_nobody_in() {
    let trial = for_members(member()).await;
    let browser = trial.sign_in(STRANGER).await;
    let mut trial = trial;
    trial
        .inputs
        .flags
        .retain(|(key, _)| key != "allow_list.organisations");
    let trial = trial.restart().await;
    assert!(!is_in(&browser).await);
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);
}

#[tokio::test]
async fn an_outage_of_github_leaves_members_in_for_two_days() {
    let trial = for_members(member()).await;
    let browser = trial.sign_in(STRANGER).await;
    for (endpoint, fault) in [
        (Endpoint::Memberships, Fault::Status(500)),
        (Endpoint::Memberships, Fault::Status(429)),
        (Endpoint::Memberships, Fault::Status(200)),
        (Endpoint::Memberships, Fault::Malformed),
        (Endpoint::User, Fault::Status(502)),
    ] {
        trial.github().fail(endpoint, fault);
        recheck(&trial).await;
        assert!(is_in(&browser).await, "{fault:?}");
        trial.github().clear();
    }
    // After an outage it is asked again within a minute.
    trial.github().set_organization(acme());
    trial.clock.advance(seconds(60));
    recheck_memberships(&trial.app).await;
    assert!(!is_in(&browser).await);

    trial.github().set_organization(member());
    let browser = trial.sign_in(STRANGER).await;
    trial.github().fail(Endpoint::User, Fault::Status(500));
    for hours in [12, 12, 12] {
        trial.clock.advance(seconds(hours * 3600));
        recheck_memberships(&trial.app).await;
        assert!(is_in(&browser).await);
    }
    trial.clock.advance(seconds(12 * 3600));
    assert!(
        !is_in(&browser).await,
        "what is two days old counts no more"
    );
}

#[tokio::test]
async fn a_github_that_does_not_work_lets_no_member_in() {
    let trial = for_members(member()).await;
    for fault in [
        Fault::Status(500),
        Fault::Status(401),
        Fault::Status(200),
        Fault::Malformed,
    ] {
        trial.github().fail(Endpoint::Memberships, fault);
        assert_eq!(try_to_sign_in(&trial, STRANGER).await, 503, "{fault:?}");
        // Who is listed needs no organisation.
        trial.github().fail(Endpoint::Organization, fault);
        assert_eq!(try_to_sign_in(&trial, OCTO_USER).await, 303);
        trial.github().clear();
    }
}

#[tokio::test]
async fn an_organisation_that_hides_its_members_lets_nobody_in_and_says_what_to_do() {
    let active = Team::new(3001, "platform").member(STRANGER, Membership::Active);
    let closed = [
        member().team(active.clone()).approves_no_app(),
        member().team(active.clone()).wants_single_sign_on(),
    ];
    for organization in closed {
        let trial = for_the_team(member().team(active.clone())).await;
        let inside = trial.sign_in(STRANGER).await;
        trial.github().set_organization(organization);
        let browser = trial.browser();
        let callback = trial.begin(&browser, STRANGER).await;
        let page = browser.visit(&callback).await;
        assert!(page.page(403).contains("approve this app"), "{page:?}");
        recheck(&trial).await;
        assert!(!is_in(&inside).await);
        assert_eq!(ends(&trial).await, ["hidden"]);
    }
    // The list of organisations says which it leaves out.
    let trial = for_members(member().wants_single_sign_on()).await;
    let browser = trial.browser();
    let callback = trial.begin(&browser, STRANGER).await;
    let problem = browser.get(&callback).await.problem(403);
    let detail = problem["detail"].as_str().unwrap();
    assert!(detail.contains("single sign-on"), "{detail}");
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let events = trial.audit(&admin).await;
    let hidden = |event: &&&Value| event["details"]["reason"] == "membership_hidden";
    let sign_ins = with_action(&events, "auth.sign_in");
    assert_eq!(sign_ins.iter().filter(hidden).count(), 1);
    // What is not approved is as if it were not there.
    let trial = for_members(member().approves_no_app()).await;
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);
}

#[tokio::test]
async fn all_pages_of_memberships_are_read() {
    let trial = for_members(Organization::new(9999, "acme").member(STRANGER, Membership::Active));
    let trial = trial.await;
    for id in 4000..4150 {
        let organization = Organization::new(id, format!("o-{id}"));
        let organization = organization.member(STRANGER, Membership::Active);
        trial.github().set_organization(organization);
    }
    // The one that counts comes last.
    let acme = Organization::new(9999, "acme").member(STRANGER, Membership::Active);
    trial.github().set_organization(acme);
    trial.sign_in(STRANGER).await;
    assert_eq!(trial.github().requests(Endpoint::Memberships), 2);
}

#[tokio::test]
async fn who_takes_the_app_back_at_github_is_out() {
    let trial = for_members(member()).await;
    let browser = trial.sign_in(STRANGER).await;
    let token = trial.app.accounts.token(STRANGER).await.unwrap().unwrap();
    trial.app.github.revoke(&token).await.unwrap();
    recheck(&trial).await;
    assert!(!is_in(&browser).await);
    assert_eq!(ends(&trial).await, ["token_revoked"]);
}

#[tokio::test]
async fn nobody_is_asked_about_who_is_not_signed_in() {
    let trial = for_members(member()).await;
    let browser = trial.sign_in(STRANGER).await;
    browser.post("/auth/logout").await.expect(204);
    let asked = trial.github().requests(Endpoint::Memberships);
    recheck(&trial).await;
    assert_eq!(trial.github().requests(Endpoint::Memberships), asked);
    assert!(trial.app.accounts.members().await.unwrap().is_empty());
    assert!(trial.app.accounts.token(STRANGER).await.unwrap().is_none());
    assert!(ends(&trial).await.is_empty());
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 303);
}

#[tokio::test]
async fn a_member_who_is_listed_too_stays_in_without_the_organisation() {
    let trial = for_members(member()).await;
    let browser = trial.sign_in(STRANGER).await;
    let admin = trial.sign_in(OCTO_ADMIN).await;
    let body = serde_json::json!({ "github_id": STRANGER, "role": "admin" });
    let added = admin.post_json("/api/admin/users", &body).await;
    added.expect(201);
    trial.github().set_organization(acme());
    recheck(&trial).await;
    assert!(is_in(&browser).await);
    browser.get("/api/admin/users").await.expect(200);
    let events = trial.audit(&admin).await;
    only(&events, "membership.end");
    // Taken off the list, the membership does not come back.
    let path = format!("/api/admin/users/{STRANGER}");
    admin.delete(&path).await.expect(204);
    assert!(!is_in(&browser).await);
    assert_eq!(try_to_sign_in(&trial, STRANGER).await, 403);
}

#[tokio::test]
async fn a_member_signs_a_terminal_in() {
    let trial = for_members(member()).await;
    let browser = trial.browser();
    for (organization, status) in [(acme(), 400), (member(), 200)] {
        trial.github().set_organization(organization);
        let begun = browser.post_form("/auth/device", &[("client_id", "my-terminal")]);
        let begun = begun.await.expect(200).json();
        let form = [
            ("user_code", text(&begun, "user_code")),
            ("account", &STRANGER.to_string()),
            ("decision", "authorize"),
        ];
        let url = format!("{}/login/device", trial.github_url());
        let sent = reqwest::Client::new().post(url).form(&form).send().await;
        assert!(sent.unwrap().status().is_success());
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", text(&begun, "device_code")),
            ("client_id", "my-terminal"),
        ];
        browser.post_form("/auth/token", &form).await.expect(status);
    }
}
