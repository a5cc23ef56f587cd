//! A session: one row, the same for people and programs.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use uuid::Uuid;

use crate::clock::Timestamp;
use crate::error::InvalidName;
use crate::kind::Kind;
use crate::scopes::Scopes;

/// The id of a session (UUIDv7). Not a secret: it may be shown, logged and listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(Uuid);

impl SessionId {
    /// A new id.
    #[expect(clippy::new_without_default, reason = "each id is a new one")]
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::now_v7())
    }

    /// The id as a UUID.
    #[must_use]
    pub const fn as_uuid(&self) -> Uuid {
        self.0
    }
}

impl From<Uuid> for SessionId {
    fn from(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl FromStr for SessionId {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Uuid::try_parse(text).map(Self).map_err(|_| InvalidName)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! bounded_name {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("From 1 to ", $max, " bytes without control characters.")]
            ///
            /// # Errors
            ///
            /// [`InvalidName`] for anything else.
            pub fn new(name: impl Into<String>) -> Result<Self, InvalidName> {
                let name = name.into();
                if (1..=$max).contains(&name.len()) && !name.chars().any(char::is_control) {
                    Ok(Self(name))
                } else {
                    Err(InvalidName)
                }
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

bounded_name! {
    /// The application's name for a user, opaque to this crate, such as `github:1001`.
    UserId, 128
}

bounded_name! {
    /// The OAuth client, or program, that a session was made for.
    ClientId, 256
}

/// Who is at the other end of the connection: where a session is made from and used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    ip: Option<IpAddr>,
    user_agent: Option<String>,
}

impl Caller {
    /// The most characters of a user agent that are kept.
    pub const MAX_USER_AGENT: usize = 256;

    /// A caller at `ip` with `user_agent`.
    ///
    /// An IPv4-mapped IPv6 address becomes the IPv4 address. Of the user agent the first
    /// [`MAX_USER_AGENT`](Self::MAX_USER_AGENT) characters are kept, without control characters.
    #[must_use]
    pub fn new(ip: Option<IpAddr>, user_agent: Option<&str>) -> Self {
        Self {
            ip: ip.map(|ip| ip.to_canonical()),
            user_agent: user_agent.map(|text| {
                let printable = text.chars().filter(|c| !c.is_control());
                printable.take(Self::MAX_USER_AGENT).collect()
            }),
        }
    }

    /// The client's address, where known.
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.ip
    }

    /// The client's user agent, where sent.
    #[must_use]
    pub fn user_agent(&self) -> Option<&str> {
        self.user_agent.as_deref()
    }
}

/// Why a session was ended before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RevokeCause {
    /// The user signed out of it.
    SignOut,
    /// The user ended it from another session.
    User,
    /// An administrator ended it.
    Admin,
    /// One more session of the kind was made than the policy allows.
    Evicted,
    /// A secret was presented after it had been replaced.
    Reuse,
    /// The account may no longer sign in.
    AccountRemoved,
    /// A detected threat.
    Threat,
}

impl RevokeCause {
    /// The cause as it is stored, logged and counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SignOut => "sign_out",
            Self::User => "user",
            Self::Admin => "admin",
            Self::Evicted => "evicted",
            Self::Reuse => "reuse",
            Self::AccountRemoved => "account_removed",
            Self::Threat => "threat",
        }
    }

    const ALL: [Self; 7] = [
        Self::SignOut,
        Self::User,
        Self::Admin,
        Self::Evicted,
        Self::Reuse,
        Self::AccountRemoved,
        Self::Threat,
    ];
}

impl FromStr for RevokeCause {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let found = Self::ALL.into_iter().find(|cause| cause.as_str() == text);
        found.ok_or(InvalidName)
    }
}

/// A session as it is stored, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is.
    pub user: UserId,
    /// What sort of client it is for.
    pub kind: Kind,
    /// The program it was made for; always present for a kind that bears access tokens.
    pub client: Option<ClientId>,
    /// What it is good for, where that is not everything its user may do.
    pub scopes: Option<Scopes>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was last used, up to a minute late.
    pub last_used: Timestamp,
    /// When it ends unless it is used before; never after `absolute_expires`.
    pub idle_expires: Timestamp,
    /// When it ends in any case.
    pub absolute_expires: Timestamp,
    /// The address it was made from.
    pub created_ip: Option<IpAddr>,
    /// The address it was last used from.
    pub last_ip: Option<IpAddr>,
    /// The user agent it was made with, at most [`Caller::MAX_USER_AGENT`] characters.
    pub created_user_agent: Option<String>,
    /// The user agent it was last used with, at most [`Caller::MAX_USER_AGENT`] characters.
    pub user_agent: Option<String>,
    /// How often its secret has been replaced.
    pub generation: u32,
    /// When its secret was last replaced.
    pub rotated: Option<Timestamp>,
    /// When and why it was revoked. Final: nothing brings a revoked session back.
    pub revoked: Option<(Timestamp, RevokeCause)>,
}

impl Session {
    /// Whether it may be used at `now`: not revoked, not expired.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked.is_none() && now < self.expires()
    }

    /// Whether it is good for all of these, or, without scopes, for everything.
    #[must_use]
    pub fn has_scopes(&self, scopes: Option<&Scopes>) -> bool {
        match (&self.scopes, scopes) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(own), Some(wanted)) => wanted.is_subset(own),
        }
    }

    /// When it ends unless it is used before.
    #[must_use]
    pub fn expires(&self) -> Timestamp {
        self.idle_expires.min(self.absolute_expires)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_names_and_refuses_control_characters() {
        assert!(UserId::new("github:1001").is_ok());
        assert!(UserId::new("x".repeat(128)).is_ok());
        assert!(UserId::new("x".repeat(129)).is_err());
        assert!(UserId::new("").is_err());
        assert!(UserId::new("a\nb").is_err());
    }

    #[test]
    fn bounds_the_user_agent_and_unmaps_the_address() {
        let caller = Caller::new(
            Some("::ffff:192.0.2.1".parse().unwrap()),
            Some(&format!("a\r\n{}", "é".repeat(300))),
        );
        assert_eq!(caller.ip(), Some("192.0.2.1".parse().unwrap()));
        let kept = caller.user_agent().unwrap();
        assert_eq!(kept.chars().count(), 256);
        assert!(kept.starts_with("aéé"));
    }

    #[test]
    fn every_cause_is_read_back_from_its_name() {
        for cause in RevokeCause::ALL {
            assert_eq!(cause.as_str().parse(), Ok(cause));
        }
        assert!("none".parse::<RevokeCause>().is_err());
    }
}
