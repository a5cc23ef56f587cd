//! Organizations, their teams, and who is in them.

use std::collections::BTreeMap;

/// How somebody is in an organization or a team.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Membership {
    /// A member.
    Active,
    /// Invited; the invitation is not accepted yet.
    Pending,
}

impl Membership {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Pending => "pending",
        }
    }
}

/// What an organization lets an application see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Access {
    #[default]
    Open,
    /// The organization has not approved the application.
    NotApproved,
    /// The token is not authorized for SAML single sign-on.
    SingleSignOn,
}

/// An organization of the stand-in, as it is told to [`Control`](crate::Control).
///
/// The id never changes; the login may, and may be taken by another.
#[derive(Clone, Debug)]
#[must_use]
pub struct Organization {
    pub(crate) id: u64,
    pub(crate) login: String,
    pub(crate) members: BTreeMap<u64, Membership>,
    pub(crate) teams: Vec<Team>,
    pub(crate) access: Access,
}

impl Organization {
    /// An organization without members and teams, open to applications.
    pub fn new(id: u64, login: impl Into<String>) -> Self {
        Self {
            id,
            login: login.into(),
            members: BTreeMap::new(),
            teams: Vec::new(),
            access: Access::Open,
        }
    }

    /// Puts an account into it.
    pub fn member(mut self, account_id: u64, membership: Membership) -> Self {
        self.members.insert(account_id, membership);
        self
    }

    /// Adds a team.
    pub fn team(mut self, team: Team) -> Self {
        self.teams.push(team);
        self
    }

    /// Has not approved the application ("OAuth app access restrictions").
    pub fn approves_no_app(mut self) -> Self {
        self.access = Access::NotApproved;
        self
    }

    /// Wants tokens to be authorized for SAML single sign-on, and none is.
    pub fn wants_single_sign_on(mut self) -> Self {
        self.access = Access::SingleSignOn;
        self
    }

    /// Logins are the same to GitHub whatever their case.
    pub(crate) fn is_called(&self, login: &str) -> bool {
        self.login.eq_ignore_ascii_case(login)
    }

    pub(crate) fn has_active(&self, account_id: u64) -> bool {
        self.members.get(&account_id) == Some(&Membership::Active)
    }
}

/// A team of an [`Organization`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Team {
    pub(crate) id: u64,
    pub(crate) slug: String,
    pub(crate) members: BTreeMap<u64, Membership>,
}

impl Team {
    /// A team without members.
    pub fn new(id: u64, slug: impl Into<String>) -> Self {
        Self {
            id,
            slug: slug.into(),
            members: BTreeMap::new(),
        }
    }

    /// Puts an account into it.
    pub fn member(mut self, account_id: u64, membership: Membership) -> Self {
        self.members.insert(account_id, membership);
        self
    }
}
