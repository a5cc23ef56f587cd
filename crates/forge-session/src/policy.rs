//! How long a session of a kind lives, how many a user may have, and which gives way.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::error::BuildError;
use crate::session::{ClientId, SessionId};

/// The longest life an access token may be given.
pub const MAX_ACCESS_TTL: Duration = Duration::from_secs(60 * 60);

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How the proof of a session travels.
///
/// A secret made for one way is refused on the other, so that a cookie can never serve as a
/// refresh token, nor the reverse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Carrier {
    /// The session's secret, in a cookie.
    Cookie,
    /// A short-lived access token in `Authorization: Bearer`; the session's secret is the refresh
    /// token, replaced with each use.
    Bearer,
}

/// The rules for one [`Kind`](crate::Kind) of session.
///
/// Read the fields, write them with the setters of the same name.
///
/// | | carrier | live per user | idle | absolute | new secret | overlap | access token |
/// |---|---|---|---|---|---|---|---|
/// | [`cookie()`](Self::cookie), of [`Kind::WEB`](crate::Kind::WEB) | cookie | 3 | 24 h | 7 d | each 12 h | 60 s | none |
/// | [`bearer()`](Self::bearer), of [`Kind::MCP`](crate::Kind::MCP) | bearer | 5 | 30 d | 90 d | each refresh | 10 min | 15 min |
///
/// NIST SP 800-63B-4 (AAL1) wants people to sign in again after at most 30 days; ASVS 5.0 V7.3
/// wants an idle and an absolute limit, chosen and written down. A program holds its session
/// longer than a person, but proves itself with each refresh, and one stolen refresh token shows
/// itself when it is used twice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindPolicy {
    /// How the proof travels.
    pub carrier: Carrier,
    /// The most live sessions of the kind that one user may have; one more evicts the oldest.
    pub max_per_user: NonZeroU32,
    /// A session unused for this long is over.
    pub idle: Duration,
    /// A session this old is over, used or not.
    pub absolute: Duration,
    /// How long an access token lives, at most [`MAX_ACCESS_TTL`]. Without effect for cookies.
    pub access_ttl: Duration,
    /// A secret this old is replaced with the next request. Only for cookies: a refresh token is
    /// replaced each time.
    pub rotate_after: Duration,
    /// For how long the replaced secret is still honoured. It yields the same successor each time,
    /// so that requests under way, and a retry after a lost response, do no harm.
    pub overlap: Duration,
    /// What it means when a replaced secret comes after the overlap.
    pub on_reuse: OnReuse,
}

/// What it means when the secret before the current one comes after its overlap.
///
/// One that was replaced even before that one always means theft.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OnReuse {
    /// Theft: the session is revoked. The default, and what RFC 9700, section 4.14.2, asks for.
    #[default]
    Revoke,
    /// A client with the same family of user agent, from the same network, as the session was last
    /// used with gets the successor as within the overlap, and the event says so; for any other
    /// client it is theft.
    ///
    /// This forgives a browser that crashed before it wrote the new cookie to disk, and a program
    /// that lost the response and comes back hours later. It costs the discovery of a thief who
    /// sits behind the same router with the same browser.
    TolerateSimilar,
}

impl KindPolicy {
    /// For people: the secret is in a cookie.
    #[must_use]
    pub const fn cookie() -> Self {
        Self {
            carrier: Carrier::Cookie,
            max_per_user: NonZeroU32::MIN.saturating_add(2),
            idle: DAY,
            absolute: DAY.saturating_mul(7),
            access_ttl: Duration::from_secs(15 * 60),
            rotate_after: HOUR.saturating_mul(12),
            overlap: Duration::from_secs(60),
            on_reuse: OnReuse::Revoke,
        }
    }

    /// For programs: access tokens and a rotating refresh token.
    #[must_use]
    pub const fn bearer() -> Self {
        Self {
            carrier: Carrier::Bearer,
            max_per_user: NonZeroU32::MIN.saturating_add(4),
            idle: DAY.saturating_mul(30),
            absolute: DAY.saturating_mul(90),
            access_ttl: Duration::from_secs(15 * 60),
            rotate_after: Duration::ZERO,
            overlap: Duration::from_secs(10 * 60),
            on_reuse: OnReuse::Revoke,
        }
    }

    /// Sets the most live sessions per user.
    #[must_use]
    pub const fn max_per_user(mut self, max_per_user: NonZeroU32) -> Self {
        self.max_per_user = max_per_user;
        self
    }

    /// Sets the idle limit.
    #[must_use]
    pub const fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Sets the absolute limit.
    #[must_use]
    pub const fn absolute(mut self, absolute: Duration) -> Self {
        self.absolute = absolute;
        self
    }

    /// Sets the life of an access token.
    #[must_use]
    pub const fn access_ttl(mut self, access_ttl: Duration) -> Self {
        self.access_ttl = access_ttl;
        self
    }

    /// Sets the age at which the secret in a cookie is replaced.
    #[must_use]
    pub const fn rotate_after(mut self, rotate_after: Duration) -> Self {
        self.rotate_after = rotate_after;
        self
    }

    /// Sets for how long a replaced secret is honoured.
    #[must_use]
    pub const fn overlap(mut self, overlap: Duration) -> Self {
        self.overlap = overlap;
        self
    }

    /// Sets what a replaced secret after its overlap means.
    #[must_use]
    pub const fn on_reuse(mut self, on_reuse: OnReuse) -> Self {
        self.on_reuse = on_reuse;
        self
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        if self.idle < Duration::from_secs(60) || self.absolute < self.idle {
            return Err(BuildError::Limits);
        }
        if self.access_ttl < Duration::from_secs(1) || self.access_ttl > MAX_ACCESS_TTL {
            return Err(BuildError::AccessTtl);
        }
        let rotates_too_soon =
            self.carrier == Carrier::Cookie && self.rotate_after < self.overlap.saturating_mul(2);
        if self.overlap > HOUR || rotates_too_soon {
            return Err(BuildError::Overlap);
        }
        Ok(())
    }

    /// How stale `last_used` may get before it is written again: a minute, less where the idle
    /// limit is so short that a minute would matter.
    pub(crate) fn touch_interval(&self) -> Duration {
        (self.idle / 4).min(HOUR / 60)
    }
}

/// Which of a user's live sessions of a kind give way to one more, so that `max` are left with it.
///
/// `live` is in order of creation. Sessions of the same client go first, then the oldest.
pub fn choose_evicted(
    live: &[(SessionId, Option<ClientId>)],
    client: Option<&ClientId>,
    max: NonZeroU32,
) -> Vec<SessionId> {
    let max = usize::try_from(max.get()).unwrap_or(usize::MAX);
    let surplus = (live.len() + 1).saturating_sub(max);
    let same = live.iter().filter(|(_, c)| c.as_ref() == client);
    let other = live.iter().filter(|(_, c)| c.as_ref() != client);
    same.chain(other).take(surplus).map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn live(clients: &[Option<&str>]) -> Vec<(SessionId, Option<ClientId>)> {
        clients
            .iter()
            .map(|c| (SessionId::new(), c.map(|c| ClientId::new(c).unwrap())))
            .collect()
    }

    fn max(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[test]
    fn evicts_nobody_below_the_limit() {
        assert!(choose_evicted(&live(&[None, None]), None, max(3)).is_empty());
    }

    #[test]
    fn evicts_the_oldest_at_the_limit_and_all_above() {
        let l = live(&[None, None, None, None]);
        assert_eq!(choose_evicted(&l, None, max(4)), [l[0].0]);
        assert_eq!(choose_evicted(&l, None, max(2)), [l[0].0, l[1].0, l[2].0]);
    }

    #[test]
    fn evicts_the_same_client_before_an_older_one() {
        let l = live(&[Some("a"), Some("b"), Some("b")]);
        let b = ClientId::new("b").unwrap();
        assert_eq!(choose_evicted(&l, Some(&b), max(3)), [l[1].0]);
        let c = ClientId::new("c").unwrap();
        assert_eq!(choose_evicted(&l, Some(&c), max(3)), [l[0].0]);
    }

    #[test]
    fn the_defaults_pass_their_own_check_and_bad_limits_do_not() {
        KindPolicy::cookie().check().unwrap();
        KindPolicy::bearer().check().unwrap();
        let hour = Duration::from_secs(3600);
        assert!(KindPolicy::cookie().absolute(hour).check().is_err());
        assert!(KindPolicy::cookie().idle(Duration::ZERO).check().is_err());
        assert!(KindPolicy::cookie().overlap(hour * 7).check().is_err());
        let often = KindPolicy::cookie().rotate_after(Duration::from_secs(119));
        assert!(often.check().is_err());
        assert!(KindPolicy::bearer().access_ttl(hour * 2).check().is_err());
        assert!(
            KindPolicy::bearer()
                .access_ttl(Duration::ZERO)
                .check()
                .is_err()
        );
    }
}
