//! `allow_list.*`: whose members may sign in without being listed one by one.

use std::fmt;
use std::time::Duration;

use super::{Reader, parse};

/// How many organisations and teams may be named: each costs requests to GitHub.
const MAX: usize = 20;

/// `allow_list.*`
#[derive(Clone, Debug, Default)]
pub struct AllowListConfig {
    /// The organisations and teams, in the order they are asked for.
    pub groups: Vec<Group>,
    /// How long what GitHub said of a membership counts before it is asked again.
    pub recheck: Duration,
}

/// An organisation of GitHub, or a team of one, as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    organisation: String,
    team: Option<String>,
}

impl Group {
    /// The organisation's login, in lower case.
    #[must_use]
    pub fn organisation(&self) -> &str {
        &self.organisation
    }

    /// The team's slug, in lower case, where not the whole organisation is meant.
    #[must_use]
    pub fn team(&self) -> Option<&str> {
        self.team.as_deref()
    }

    fn organisation_of(text: &str) -> Result<Self, String> {
        let shape = || "holds something that is no login of an organisation".to_owned();
        let login = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let well_formed = (1..=64).contains(&text.len()) && text.bytes().all(login);
        well_formed
            .then(|| Self {
                organisation: text.to_ascii_lowercase(),
                team: None,
            })
            .ok_or_else(shape)
    }

    fn team_of(text: &str) -> Result<Self, String> {
        let shape = || "holds something that is no team: write `organisation/team`".to_owned();
        let (organisation, team) = text.split_once('/').ok_or_else(shape)?;
        let slug = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let well_formed = (1..=255).contains(&team.len())
            && team.bytes().all(slug)
            && team.bytes().any(|b| b != b'.');
        if !well_formed {
            return Err(shape());
        }
        Ok(Self {
            team: Some(team.to_ascii_lowercase()),
            ..Self::organisation_of(organisation)?
        })
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.organisation)?;
        match &self.team {
            Some(team) => write!(f, "/{team}"),
            None => Ok(()),
        }
    }
}

impl AllowListConfig {
    pub(super) fn from_reader(reader: &mut Reader) -> Option<Self> {
        let organisations = reader.one(
            "allow_list.organisations",
            parse::list(Group::organisation_of),
        );
        let teams = reader.one("allow_list.teams", parse::list(Group::team_of));
        let recheck = reader.one("allow_list.recheck", |text| {
            let duration = parse::duration(text)?;
            let bounds = Duration::from_secs(60)..=Duration::from_secs(24 * 3600);
            let within = bounds.contains(&duration).then_some(duration);
            within.ok_or_else(|| "must be from one minute to one day".to_owned())
        });
        let mut groups: Vec<Group> = Vec::new();
        for group in organisations.into_iter().chain(teams).flatten() {
            if !groups.contains(&group) {
                groups.push(group);
            }
        }
        if groups.len() > MAX {
            let fix = format!("name {MAX} at most, with those of allow_list.teams");
            reader.refuse("allow_list.organisations", "names too many", fix);
        }
        Some(Self {
            groups,
            recheck: recheck?,
        })
    }

    /// Whether only accounts that are listed may sign in.
    #[must_use]
    pub fn is_by_account_only(&self) -> bool {
        self.groups.is_empty()
    }

    /// What GitHub is asked for at a sign-in: no scope, unless memberships have to be read.
    #[must_use]
    pub fn scope(&self) -> Option<&'static str> {
        (!self.is_by_account_only()).then_some("read:org")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_organisations_and_teams_and_nothing_else() {
        assert_eq!(Group::organisation_of("Acme").unwrap().to_string(), "acme");
        assert_eq!(
            Group::team_of("Acme/Platform").unwrap().to_string(),
            "acme/platform"
        );
        for bad in [
            "",
            "a b",
            "acme/platform",
            "ä",
            "..",
            "a?b",
            &"x".repeat(65),
        ] {
            assert!(Group::organisation_of(bad).is_err(), "{bad}");
        }
        for bad in [
            "", "acme", "acme/", "/team", "acme/..", "acme/a/b", "acme/a b", "a b/c",
        ] {
            assert!(Group::team_of(bad).is_err(), "{bad}");
        }
    }
}
