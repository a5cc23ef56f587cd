//! Members of an organisation or a team: let in at sign-in, asked about again, and put out.
//!
//! GitHub is asked with the user's own token. What a name of the configuration stands for is
//! resolved to its numeric id once; from then on the id counts, and whoever takes the name later
//! opens nothing. An invitation that is not accepted is no membership, and an organisation that
//! does not let the token look is none either.

use std::sync::Arc;
use std::time::Duration;

use forge_audit::{Kind, Severity};
use forge_session::{RevokeCause, Selector};
use http::StatusCode;
use secrecy::SecretString;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::accounts::{AccountError, Accounts, Member, Membership};
use crate::app::App;
use crate::config::{AllowListConfig, Group};
use crate::github::{GithubError, GithubToken, GithubUser};
use crate::principal::user_id;
use crate::wiring::Cause;

/// How many memberships are looked at in one go, and how many at once.
const BATCH: i64 = 500;
const AT_ONCE: usize = 8;

/// After so many in a row that GitHub did not answer, the rest waits.
const PATIENCE: usize = 8;

/// When it is tried again where GitHub did not answer.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Whether an account may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is on the allow-list, or a member of what is; through what, where that is so.
    Admitted(Option<String>),
    /// It is neither.
    NotAllowed,
    /// It is not on the list, and an organisation does not let this app see who is in it.
    Hidden,
}

/// What GitHub says of an account.
enum Verdict {
    In(Membership),
    Out,
    Hidden,
}

/// Forgets what was kept for names that are configured no more.
///
/// # Errors
/// The database failed.
pub(crate) async fn keep_configured(
    accounts: &Accounts,
    config: &AllowListConfig,
) -> Result<(), AccountError> {
    let organisations = config.groups.iter().map(|of| of.organisation().to_owned());
    let teams = config.groups.iter().map(Group::to_string);
    let names: Vec<String> = organisations.chain(teams).collect();
    accounts.keep_groups(&names).await
}

/// Keeps who has proved to be that account, where it may sign in; otherwise GitHub may forget the
/// token, which nobody is going to use.
///
/// # Errors
/// The database or GitHub failed.
pub(crate) async fn admit(
    app: &App,
    user: &GithubUser,
    token: &GithubToken,
) -> Result<Admission, AccountError> {
    let admission = admission(app, user, token).await?;
    if !matches!(admission, Admission::Admitted(_))
        && let Err(error) = app.github.revoke(&token.access).await
    {
        let error = &error as &dyn std::error::Error;
        tracing::warn!(error, "a token that is not needed could not be given back");
    }
    Ok(admission)
}

async fn admission(
    app: &App,
    user: &GithubUser,
    token: &GithubToken,
) -> Result<Admission, AccountError> {
    let groups = &app.config.allow_list.groups;
    if app.accounts.is_listed(user.id).await? {
        // The sooner it is known what the names stand for, the better; this one needs it not.
        if let Err(error) = resolve_organisations(app, groups, &token.access).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "an organisation of the allow-list was not resolved");
        }
        if app.accounts.signed_in(user, token, None).await? {
            return Ok(Admission::Admitted(None));
        }
    }
    if groups.is_empty() {
        return Ok(Admission::NotAllowed);
    }
    match verdict(app, &user.login, &token.access).await? {
        Verdict::In(membership) => {
            let signed_in = app.accounts.signed_in(user, token, Some(&membership));
            Ok(match signed_in.await? {
                true => Admission::Admitted(Some(membership.through)),
                false => Admission::NotAllowed,
            })
        }
        Verdict::Out => Ok(Admission::NotAllowed),
        Verdict::Hidden => Ok(Admission::Hidden),
    }
}

/// The ids of the organisations, each resolved now where it was not before.
async fn resolve_organisations(
    app: &App,
    groups: &[Group],
    token: &SecretString,
) -> Result<(), AccountError> {
    for group in groups {
        organisation_id(app, group.organisation(), token).await?;
    }
    Ok(())
}

async fn organisation_id(
    app: &App,
    login: &str,
    token: &SecretString,
) -> Result<Option<u64>, AccountError> {
    if let Some(known) = app.accounts.group_id(login).await? {
        return Ok(Some(known));
    }
    let found = app.github.organisation_id(login, token).await;
    let Some(id) = found.map_err(AccountError::Github)? else {
        tracing::warn!(login, "no organisation bears this name of the allow-list");
        return Ok(None);
    };
    let id = app.accounts.resolve_group(login, id).await?;
    tracing::info!(
        login,
        id,
        "an organisation of the allow-list is known by its id"
    );
    Ok(Some(id))
}

async fn team_id(
    app: &App,
    (organisation, login): (u64, &str),
    group: &Group,
    slug: &str,
    token: &SecretString,
) -> Result<Option<u64>, AccountError> {
    let name = group.to_string();
    if let Some(known) = app.accounts.group_id(&name).await? {
        return Ok(Some(known));
    }
    let found = app.github.team_id((organisation, login), slug, token).await;
    // Only members see it: to others it is as if it were not there.
    match found.map_err(AccountError::Github)? {
        Some(id) => Ok(Some(app.accounts.resolve_group(&name, id).await?)),
        None => Ok(None),
    }
}

/// Whether the token's account is in one of the groups.
async fn verdict(app: &App, login: &str, token: &SecretString) -> Result<Verdict, AccountError> {
    let groups = &app.config.allow_list.groups;
    let verified_at = app.clock.now_micros();
    let is_in = |group: &Group| {
        Verdict::In(Membership {
            through: group.to_string(),
            verified_at,
        })
    };
    let mut hidden = false;
    if groups.iter().any(|group| group.team().is_none()) {
        match app.github.own_organisations(token).await {
            Ok(own) => {
                for group in groups.iter().filter(|group| group.team().is_none()) {
                    let id = organisation_id(app, group.organisation(), token).await?;
                    let Some(id) = id else { continue };
                    if own.active.contains(&id) {
                        return Ok(is_in(group));
                    }
                    hidden |= own.hidden.contains(&id);
                }
            }
            Err(error) if is_forbidden(&error) => hidden = true,
            Err(error) => return Err(AccountError::Github(error)),
        }
    }
    for group in groups {
        let Some(slug) = group.team() else { continue };
        match is_in_team(app, group, slug, login, token).await {
            Ok(true) => return Ok(is_in(group)),
            Ok(false) => {}
            Err(AccountError::Github(error)) if is_forbidden(&error) => hidden = true,
            Err(error) => return Err(error),
        }
    }
    Ok(match hidden {
        true => Verdict::Hidden,
        false => Verdict::Out,
    })
}

async fn is_in_team(
    app: &App,
    group: &Group,
    slug: &str,
    login: &str,
    token: &SecretString,
) -> Result<bool, AccountError> {
    let name = group.organisation();
    let Some(organisation) = organisation_id(app, name, token).await? else {
        return Ok(false);
    };
    let Some(team) = team_id(app, (organisation, name), group, slug, token).await? else {
        return Ok(false);
    };
    let is_in = app.github.is_in_team((organisation, team), login, token);
    is_in.await.map_err(AccountError::Github)
}

/// The organisation's policy, or a token that may not look: asking again changes nothing.
fn is_forbidden(error: &GithubError) -> bool {
    matches!(error, GithubError::Status(StatusCode::FORBIDDEN))
}

/// Asks GitHub again about everybody who is in through an organisation or a team and has not been
/// asked about for as long as is configured. Who is not in any more is out: their sessions end.
///
/// Where GitHub does not answer, who was in stays in, for two days at most.
pub async fn recheck(app: &App) {
    let config = &app.config.allow_list;
    if config.is_by_account_only() {
        return;
    }
    let before = app.clock.now_micros() - micros(config.recheck);
    let due = match app.accounts.members_not_asked_since(before, BATCH).await {
        Ok(due) => due,
        Err(error) => return warn(&error),
    };
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut under_way = JoinSet::new();
    let mut failures = 0;
    for member in due {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return;
        };
        while let Some(done) = under_way.try_join_next() {
            failures = if done.unwrap_or(false) {
                0
            } else {
                failures + 1
            };
        }
        if failures >= PATIENCE {
            break;
        }
        let app = app.clone();
        under_way.spawn(async move {
            let done = ask_again(&app, &member).await;
            drop(permit);
            done.inspect_err(warn).is_ok()
        });
    }
    while under_way.join_next().await.is_some() {}
}

fn warn(error: &AccountError) {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "a membership could not be asked about");
}

async fn ask_again(app: &App, member: &Member) -> Result<(), AccountError> {
    let asked_at = app.clock.now_micros();
    if !app.accounts.ask_about(member, asked_at).await? {
        return Ok(());
    }
    let id = member.github_id;
    let verdict = still_in(app, id).await;
    if verdict.is_err() {
        // Soon again, not only when it is due.
        let asked = Member {
            asked_at,
            ..member.clone()
        };
        let soon = asked_at - micros(app.config.allow_list.recheck) + micros(AGAIN_AFTER);
        app.accounts.ask_about(&asked, soon).await?;
    }
    let reason = match verdict? {
        Ok(Verdict::In(membership)) => {
            return app.accounts.verified(id, asked_at, &membership).await;
        }
        Ok(Verdict::Out) => "not_a_member",
        Ok(Verdict::Hidden) => "hidden",
        Err(reason) => reason,
    };
    if reason != NOT_SIGNED_IN && !app.accounts.is_listed(id).await? {
        let selector = Selector::User(user_id(id));
        let revoked = app.sessions.revoke(selector, RevokeCause::AccountRemoved);
        let revoked = revoked.await;
        revoked.map_err(|error| AccountError::Sessions(error.into()))?;
    }
    if app.accounts.end_membership(id, asked_at).await? && reason != NOT_SIGNED_IN {
        let event = Cause::default()
            .event(Kind::AllowListChange, "membership.end")
            .severity(Severity::High)
            .resource(format!("github:{id}"));
        let details = json!({ "through": member.through, "reason": reason });
        app.wiring.audit(event.details(&details));
    }
    Ok(())
}

/// Nobody needs to be asked about who is not signed in: the next sign-in asks.
const NOT_SIGNED_IN: &str = "not_signed_in";

/// What GitHub says now, or why there is no use in asking.
async fn still_in(app: &App, id: u64) -> Result<Result<Verdict, &'static str>, AccountError> {
    let sessions = app.sessions.list(&user_id(id)).await;
    let sessions = sessions.map_err(|error| AccountError::Sessions(error.into()))?;
    if sessions.is_empty() {
        return Ok(Err(NOT_SIGNED_IN));
    }
    let Some(token) = app.accounts.fresh_token(&app.github, id).await? else {
        return Ok(Err("no_token"));
    };
    // The login may have changed since the sign-in, and the token may be somebody's no more.
    let user = match app.github.user(&token).await {
        Ok(user) if user.id == id => user,
        Ok(_) => return Ok(Err("another_account")),
        Err(GithubError::Status(StatusCode::UNAUTHORIZED)) => return Ok(Err("token_revoked")),
        Err(error) => return Err(AccountError::Github(error)),
    };
    verdict(app, &user.login, &token).await.map(Ok)
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
