//! Signs that a session is used by somebody else, and what to make of them.
//!
//! None of them is proof: people change networks and update browsers. So they are weighed, and by
//! default a changed address alone ends nothing.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::cache::Recent;
use crate::clock::Timestamp;
use crate::policy::KindPolicy;
use crate::session::{Caller, Session, SessionId};

/// For how long a sign counts.
const WINDOW: Duration = Duration::from_secs(10 * 60);

/// Networks that take turns this often within this time are two places at once.
const TURNS: usize = 3;
const TURNS_WITHIN: Duration = Duration::from_secs(2 * 60);

/// So many refreshes that fail within the window are a sign.
const FAILED_REFRESHES: usize = 5;

/// For how many sessions the last uses are remembered.
const SESSIONS: usize = 10_000;

/// A sign that a session may be in the wrong hands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThreatSignal {
    /// Another browser, program or operating system than before; a new version is not another.
    UserAgentFamily,
    /// Another network than before: another /24 of IPv4, another /48 of IPv6.
    Network,
    /// Two networks take turns faster than a person travels.
    ImpossibleConcurrency,
    /// A secret came after its overlap and was honoured, as the policy says.
    ReuseAfterRotation,
    /// Many refreshes of the session failed within a few minutes.
    FailedRefreshes,
    /// The session is older than its kind's policy allows: it was made under another one.
    OlderThanPolicy,
}

impl ThreatSignal {
    /// What it adds to the score.
    #[must_use]
    pub const fn weight(self) -> u32 {
        match self {
            Self::UserAgentFamily => 50,
            Self::Network => 20,
            Self::ImpossibleConcurrency => 40,
            Self::ReuseAfterRotation => 60,
            Self::FailedRefreshes => 40,
            Self::OlderThanPolicy => 30,
        }
    }

    /// The sign as it is logged and counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserAgentFamily => "user_agent_family",
            Self::Network => "network",
            Self::ImpossibleConcurrency => "impossible_concurrency",
            Self::ReuseAfterRotation => "reuse_after_rotation",
            Self::FailedRefreshes => "failed_refreshes",
            Self::OlderThanPolicy => "older_than_policy",
        }
    }
}

/// What was noticed about a session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Assessment {
    /// The session.
    pub session: Session,
    /// Who uses it now.
    pub caller: Caller,
    /// The signs of the last ten minutes, each once.
    pub signals: Vec<ThreatSignal>,
    /// The sum of their weights.
    pub score: u32,
}

/// What to do about a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ThreatResponse {
    /// Tell, and go on.
    Note,
    /// Go on, and let the application ask for a new sign-in before what matters: see
    /// [`Authenticated::needs_step_up`](crate::Authenticated::needs_step_up).
    StepUp,
    /// End the session.
    Revoke,
}

impl ThreatResponse {
    /// The response as it is logged and counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::StepUp => "step_up",
            Self::Revoke => "revoke",
        }
    }

    pub(crate) fn must_end(self) -> bool {
        self == Self::Revoke
    }
}

/// Says what to do about an [`Assessment`]. Implemented for closures.
///
/// It is asked when there is a new sign, not with each request. It must not block.
pub trait ThreatPolicy: Send + Sync + 'static {
    /// What to do.
    fn respond(&self, assessment: &Assessment) -> ThreatResponse;
}

impl<F> ThreatPolicy for F
where
    F: Fn(&Assessment) -> ThreatResponse + Send + Sync + 'static,
{
    fn respond(&self, assessment: &Assessment) -> ThreatResponse {
        self(assessment)
    }
}

/// Responds by the score. The default: step-up from 60, revocation from 150, so that a changed
/// address (20) is noted, a changed address and browser (70) need a step-up, and it takes nearly
/// everything at once to end a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByScore {
    step_up: u32,
    revoke: u32,
}

impl ByScore {
    /// Step-up and revocation from these scores on.
    #[must_use]
    pub const fn new(step_up: u32, revoke: u32) -> Self {
        Self { step_up, revoke }
    }
}

impl Default for ByScore {
    fn default() -> Self {
        Self::new(60, 150)
    }
}

impl ThreatPolicy for ByScore {
    fn respond(&self, assessment: &Assessment) -> ThreatResponse {
        match assessment.score {
            score if score >= self.revoke => ThreatResponse::Revoke,
            score if score >= self.step_up => ThreatResponse::StepUp,
            _ => ThreatResponse::Note,
        }
    }
}

/// The last uses of sessions.
pub(crate) struct Sightings(Mutex<Recent<SessionId, Sighting>>);

struct Sighting {
    ip: Option<IpAddr>,
    user_agent: Option<String>,
    /// When the network was changed, the latest last.
    turns: Vec<Timestamp>,
    failed_refreshes: Vec<Timestamp>,
    signals: Vec<(ThreatSignal, Timestamp)>,
    response: ThreatResponse,
}

impl Sightings {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Recent::new(SESSIONS)))
    }

    /// Notes a use. Returns the signs of late if one of them is new.
    pub(crate) fn see(
        &self,
        session: &Session,
        caller: &Caller,
        policy: &KindPolicy,
        now: Timestamp,
    ) -> (Option<Vec<ThreatSignal>>, ThreatResponse) {
        let mut sightings = self.lock();
        if let Some(sighting) = sightings.get(&session.id)
            && sighting.is_by(caller)
        {
            return (None, sighting.response);
        }
        let known = sightings.get(&session.id).is_some();
        let Some(sighting) = entry(&mut sightings, session) else {
            return (None, ThreatResponse::Note);
        };
        let mut new = Vec::new();
        if !known && now.duration_since(session.created) >= policy.absolute {
            new.push(ThreatSignal::OlderThanPolicy);
        }
        if caller.ip().is_some() && caller.ip() != sighting.ip {
            if is_another_network(sighting.ip, caller.ip()) {
                new.push(ThreatSignal::Network);
                sighting.turns.push(now);
                keep_recent(&mut sighting.turns, now, TURNS_WITHIN);
                if sighting.turns.len() >= TURNS {
                    new.push(ThreatSignal::ImpossibleConcurrency);
                }
            }
            sighting.ip = caller.ip();
        }
        // Who says nothing is not somebody else, and does not make one forget who it was.
        let agent = caller.user_agent().filter(|agent| !agent.is_empty());
        if agent.is_some() && agent != sighting.user_agent.as_deref() {
            if is_another_family(sighting.user_agent.as_deref(), agent) {
                new.push(ThreatSignal::UserAgentFamily);
            }
            sighting.user_agent = agent.map(str::to_owned);
        }
        (sighting.add(new, now), sighting.response)
    }

    /// Notes a sign that was seen elsewhere.
    pub(crate) fn add(
        &self,
        session: &Session,
        signal: ThreatSignal,
        now: Timestamp,
    ) -> Option<Vec<ThreatSignal>> {
        entry(&mut self.lock(), session)?.add(vec![signal], now)
    }

    /// Notes a refresh that failed; it is weighed with the next use.
    pub(crate) fn refresh_failed(&self, session: SessionId, now: Timestamp) {
        if let Some(sighting) = self.lock().get(&session) {
            sighting.failed_refreshes.push(now);
            keep_recent(&mut sighting.failed_refreshes, now, WINDOW);
            sighting.failed_refreshes.truncate(FAILED_REFRESHES);
        }
    }

    pub(crate) fn set_response(&self, session: SessionId, response: ThreatResponse) {
        if let Some(sighting) = self.lock().get(&session) {
            sighting.response = sighting.response.max(response);
        }
    }

    /// The strongest response to this session so far.
    pub(crate) fn response(&self, session: SessionId) -> ThreatResponse {
        let mut sightings = self.lock();
        let sighting = sightings.get(&session);
        sighting.map_or(ThreatResponse::Note, |sighting| sighting.response)
    }

    fn lock(&self) -> MutexGuard<'_, Recent<SessionId, Sighting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn entry<'a>(
    sightings: &'a mut Recent<SessionId, Sighting>,
    session: &Session,
) -> Option<&'a mut Sighting> {
    if sightings.get(&session.id).is_none() {
        let sighting = Sighting {
            ip: session.last_ip,
            user_agent: session.user_agent.clone(),
            turns: Vec::new(),
            failed_refreshes: Vec::new(),
            signals: Vec::new(),
            response: ThreatResponse::Note,
        };
        sightings.insert(session.id, sighting);
    }
    sightings.get(&session.id)
}

impl Sighting {
    /// Whether nothing is new about a use: by far the most are so.
    fn is_by(&self, caller: &Caller) -> bool {
        self.failed_refreshes.len() < FAILED_REFRESHES
            && caller.ip().is_none_or(|ip| self.ip == Some(ip))
            && caller
                .user_agent()
                .is_none_or(|agent| self.user_agent.as_deref() == Some(agent))
    }

    fn add(&mut self, mut new: Vec<ThreatSignal>, now: Timestamp) -> Option<Vec<ThreatSignal>> {
        if self.failed_refreshes.len() >= FAILED_REFRESHES {
            self.failed_refreshes.clear();
            new.push(ThreatSignal::FailedRefreshes);
        }
        if new.is_empty() {
            return None;
        }
        self.signals
            .retain(|(signal, at)| now.duration_since(*at) < WINDOW && !new.contains(signal));
        self.signals
            .extend(new.into_iter().map(|signal| (signal, now)));
        Some(self.signals.iter().map(|(signal, _)| *signal).collect())
    }
}

fn keep_recent(times: &mut Vec<Timestamp>, now: Timestamp, within: Duration) {
    times.retain(|at| now.duration_since(*at) < within);
}

/// Whether a client looks like the one a session was last used with.
pub(crate) fn is_similar(session: &Session, caller: &Caller) -> bool {
    let same_network = session.last_ip.is_some()
        && caller.ip().is_some()
        && !is_another_network(session.last_ip, caller.ip());
    let (before, now) = (session.user_agent.as_deref(), caller.user_agent());
    same_network && before.is_some() && now.is_some() && !is_another_family(before, now)
}

/// What is not known is not another.
fn is_another_network(before: Option<IpAddr>, now: Option<IpAddr>) -> bool {
    before
        .zip(now)
        .is_some_and(|(a, b)| network(a) != network(b))
}

/// The /24 of an IPv4 address, the /48 of an IPv6 address: what one household or office has.
fn network(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [a, b, c, 0].into()
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            [a, b, c, 0, 0, 0, 0, 0].into()
        }
    }
}

fn is_another_family(before: Option<&str>, now: Option<&str>) -> bool {
    before.zip(now).is_some_and(|(a, b)| family(a) != family(b))
}

/// The program and the system it runs on, without versions. Most browsers claim to be others too,
/// so the order matters: whoever says `Edg` says `Chrome` and `Safari` as well.
fn family(user_agent: &str) -> (&str, &'static str) {
    const PROGRAMS: [&str; 8] = [
        "Edg",
        "OPR/",
        "SamsungBrowser/",
        "Firefox/",
        "FxiOS/",
        "CriOS/",
        "Chrome/",
        "Safari/",
    ];
    const SYSTEMS: [&str; 7] = [
        "Android",
        "iPhone",
        "iPad",
        "Windows",
        "CrOS",
        "Macintosh",
        "Linux",
    ];
    let known = PROGRAMS.into_iter().find(|name| user_agent.contains(name));
    let first = || user_agent.split(['/', ' ', '(']).next().unwrap_or_default();
    let system = SYSTEMS.into_iter().find(|name| user_agent.contains(name));
    (known.unwrap_or_else(first), system.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    const NEXT_FIREFOX: &str =
        "Mozilla/5.0 (X11; Linux x86_64; rv:129.0) Gecko/20100101 Firefox/129.0";
    const CHROME: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
                          (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";
    const EDGE: &str = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 \
                        (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0";

    #[test]
    fn tells_programs_and_systems_apart_but_not_versions() {
        assert_eq!(family(FIREFOX), family(NEXT_FIREFOX));
        assert_eq!(family("curl/8.5.0"), family("curl/8.9.1"));
        let all = [
            FIREFOX,
            CHROME,
            EDGE,
            "curl/8.5.0",
            "python-requests/2.32",
            "",
        ];
        for (n, a) in all.iter().enumerate() {
            for b in &all[n + 1..] {
                assert_ne!(family(a), family(b));
            }
        }
        assert_ne!(
            family(FIREFOX),
            family(&FIREFOX.replace("X11; Linux x86_64", "Macintosh"))
        );
    }

    #[test]
    fn tells_networks_apart() {
        let another = |a: &str, b: &str| {
            is_another_network(Some(a.parse().unwrap()), Some(b.parse().unwrap()))
        };
        assert!(!another("192.0.2.1", "192.0.2.254"));
        assert!(another("192.0.2.1", "192.0.3.1"));
        assert!(!another("192.0.2.1", "::ffff:192.0.2.9"));
        assert!(!another("2001:db8:1::1", "2001:db8:1:ffff::1"));
        assert!(another("2001:db8:1::1", "2001:db8:2::1"));
        assert!(another("192.0.2.1", "2001:db8::1"));
        assert!(!is_another_network(
            None,
            Some("192.0.2.1".parse().unwrap())
        ));
    }

    #[test]
    fn a_changed_address_alone_is_noted_by_default() {
        let weight = ThreatSignal::Network.weight() + ThreatSignal::ImpossibleConcurrency.weight();
        assert!(ThreatSignal::Network.weight() < ByScore::default().step_up);
        assert!(weight < ByScore::default().revoke);
    }
}
