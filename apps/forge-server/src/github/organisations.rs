//! Organisations and teams: which there are, and whether somebody is in them.
//!
//! Names are resolved to numeric ids, and memberships compared by these: an organisation can be
//! renamed, and somebody else can take its name.

use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::{Github, GithubError, answer, answer_with_headers};

/// Memberships on a page, and pages, at most.
const PAGE: usize = 100;
const PAGES: usize = 20;

/// The organisations a token's account is in, as far as the token may see them.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnOrganisations {
    /// Where the account is a member; not where it is only invited.
    pub(crate) active: Vec<u64>,
    /// Where GitHub does not say, because they want single sign-on first.
    pub(crate) hidden: Vec<u64>,
}

#[derive(Deserialize)]
struct Organisation {
    id: u64,
}

#[derive(Deserialize)]
struct Team {
    id: u64,
    organization: Organisation,
}

#[derive(Deserialize)]
struct OrganisationMembership {
    state: String,
    organization: Organisation,
}

#[derive(Deserialize)]
struct TeamMembership {
    state: String,
}

impl Github {
    /// The id of the organisation that bears a login today, if one does.
    ///
    /// # Errors
    /// GitHub refused, failed, or could not be reached.
    pub(crate) async fn organisation_id(
        &self,
        login: &str,
        token: &SecretString,
    ) -> Result<Option<u64>, GithubError> {
        let request = self.api(&format!("orgs/{login}"));
        let request = request.bearer_auth(token.expose_secret());
        let found: Option<Organisation> = if_found(answer(request).await)?;
        Ok(found.map(|organisation| organisation.id))
    }

    /// The id of a team of that organisation, where the token's account may see it.
    ///
    /// # Errors
    /// As [`organisation_id`](Self::organisation_id).
    pub(crate) async fn team_id(
        &self,
        (organisation, login): (u64, &str),
        slug: &str,
        token: &SecretString,
    ) -> Result<Option<u64>, GithubError> {
        let request = self.api(&format!("orgs/{login}/teams/{slug}"));
        let request = request.bearer_auth(token.expose_secret());
        let found: Option<Team> = if_found(answer(request).await)?;
        let found = found.filter(|team| team.organization.id == organisation);
        Ok(found.map(|team| team.id))
    }

    /// The organisations the token's account is in.
    ///
    /// # Errors
    /// As [`organisation_id`](Self::organisation_id); more than two thousand are
    /// [`GithubError::Malformed`].
    pub(crate) async fn own_organisations(
        &self,
        token: &SecretString,
    ) -> Result<OwnOrganisations, GithubError> {
        let mut own = OwnOrganisations::default();
        for page in 1..=PAGES {
            let query = format!("state=active&per_page={PAGE}&page={page}");
            let request = self.api_with("user/memberships/orgs", Some(&query));
            let request = request.bearer_auth(token.expose_secret());
            let (headers, memberships) =
                answer_with_headers::<Vec<OrganisationMembership>>(request).await?;
            let active = memberships.iter().filter(|of| of.state == "active");
            own.active.extend(active.map(|of| of.organization.id));
            own.hidden.extend(hidden(&headers));
            if !has_next(&headers) {
                return Ok(own);
            }
        }
        Err(GithubError::Malformed)
    }

    /// Whether an account is in a team, and not only invited.
    ///
    /// # Errors
    /// As [`organisation_id`](Self::organisation_id).
    pub(crate) async fn is_in_team(
        &self,
        (organisation, team): (u64, u64),
        login: &str,
        token: &SecretString,
    ) -> Result<bool, GithubError> {
        let path = format!("organizations/{organisation}/team/{team}/memberships/{login}");
        let request = self.api(&path).bearer_auth(token.expose_secret());
        let found: Option<TeamMembership> = if_found(answer(request).await)?;
        Ok(found.is_some_and(|membership| membership.state == "active"))
    }
}

/// What is not there, or not for this token to see, is none.
fn if_found<T>(answer: Result<T, GithubError>) -> Result<Option<T>, GithubError> {
    match answer {
        Ok(found) => Ok(Some(found)),
        Err(GithubError::Status(http::StatusCode::NOT_FOUND)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether there is a page after this (RFC 8288). Where it is, is not asked of the answer.
fn has_next(headers: &HeaderMap) -> bool {
    let links = headers.get_all(http::header::LINK).iter();
    links
        .filter_map(|link| link.to_str().ok())
        .any(|link| link.contains(r#"rel="next""#))
}

/// `X-GitHub-SSO: partial-results; organizations=21955855,20582480`
fn hidden(headers: &HeaderMap) -> Vec<u64> {
    let list = headers
        .get("x-github-sso")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("partial-results; organizations="));
    let ids = list.unwrap_or_default().split(',').take(PAGE);
    ids.filter_map(|id| id.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        headers
    }

    #[test]
    fn reads_what_github_hides() {
        let of = |value| hidden(&headers("x-github-sso", value));
        assert_eq!(of("partial-results; organizations=7, 8,x"), [7, 8]);
        assert!(of("required; url=https://github.com/orgs/acme/sso").is_empty());
        assert!(of("partial-results; organizations=").is_empty());
    }

    #[test]
    fn sees_whether_there_is_another_page() {
        let next = r#"<https://a/?page=2>; rel="next", <https://a/?page=9>; rel="last""#;
        assert!(has_next(&headers("link", next)));
        assert!(!has_next(&headers(
            "link",
            r#"<https://a/?page=1>; rel="first""#
        )));
        assert!(!has_next(&HeaderMap::new()));
    }
}
