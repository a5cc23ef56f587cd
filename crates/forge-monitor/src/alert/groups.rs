//! Which occurrences become a notice at once, which wait, and which are not told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Alert, AlertState, Fingerprint, Inhibition, SEVERAL, Severity, Silence};
use crate::clock::Timestamp;

/// How many fingerprints are grouped at once.
const MAX_GROUPS: usize = 4096;
/// How many scenarios have their crowds counted.
const MAX_CROWDS: usize = 1024;
/// Notices of one fingerprint within one cool-down: that it began, and that it is over.
const MAX_NOTICES: u8 = 2;

#[derive(Clone, Debug)]
pub(crate) struct GroupLimits {
    /// How long a fingerprint is held back after a notice.
    pub(crate) cool_down: Duration,
    /// How many fingerprints of one scenario have a notice each within a cool-down; the others are
    /// one notice together.
    pub(crate) individually: usize,
}

/// What becomes of an occurrence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Raised {
    /// A notice now.
    Notice(Alert),
    /// Part of a later notice.
    Held,
    /// None: somebody wants silence.
    Silenced,
    /// None: a graver alert says it all.
    Inhibited,
}

#[derive(Debug)]
pub(crate) struct AlertGroups {
    limits: GroupLimits,
    inhibitions: Vec<Inhibition>,
    silences: Vec<Silence>,
    groups: HashMap<Fingerprint, Group>,
    crowds: HashMap<Arc<str>, Crowd>,
}

#[derive(Debug)]
struct Group {
    quiet_until: Duration,
    /// Notices since the cool-down began.
    notices: u8,
    waiting: Option<Alert>,
    /// What is going on, as it was raised last.
    firing: Option<Alert>,
    /// Somebody will say when it is over; otherwise it is when the cool-down ends without another.
    has_end: bool,
}

/// The fingerprints of one scenario.
#[derive(Debug)]
struct Crowd {
    quiet_until: Duration,
    /// How many had a notice each.
    individually: usize,
    /// Those beyond.
    waiting: Option<Alert>,
}

impl AlertGroups {
    pub(crate) fn new(limits: GroupLimits, inhibitions: Vec<Inhibition>) -> Self {
        Self {
            limits,
            inhibitions,
            silences: Vec::new(),
            groups: HashMap::new(),
            crowds: HashMap::new(),
        }
    }

    pub(crate) fn silences(&self) -> &[Silence] {
        &self.silences
    }

    pub(crate) fn set_silences(&mut self, silences: Vec<Silence>) {
        self.silences = silences;
    }

    /// Takes one occurrence at the monotonic time `now`. The first of its fingerprint is a notice;
    /// those within the cool-down are collected into one that [`due`](Self::due) hands out.
    pub(crate) fn raise(
        &mut self,
        alert: Alert,
        has_end: bool,
        now: Duration,
        utc: Timestamp,
    ) -> Raised {
        if self
            .silences
            .iter()
            .any(|silence| silence.covers(&alert, utc))
        {
            return Raised::Silenced;
        }
        if self.is_inhibited(&alert) {
            return Raised::Inhibited;
        }
        let cool_down = self.limits.cool_down;
        if let Some(group) = self.groups.get_mut(&alert.fingerprint) {
            group.firing = Some(alert.clone());
            group.has_end = has_end;
            let waiting = merged(group.waiting.take(), alert);
            if group.notices > 0 && now < group.quiet_until {
                group.waiting = Some(waiting);
                return Raised::Held;
            }
            group.quiet_until = now.saturating_add(cool_down);
            group.notices = 1;
            return Raised::Notice(waiting);
        }
        if !self.may_stand_alone(&alert, now) {
            return Raised::Held;
        }
        if self.groups.len() >= MAX_GROUPS {
            self.groups
                .retain(|_, group| now < group.quiet_until || group.waiting.is_some());
        }
        // With every place taken the notice goes out ungrouped: too many rather than none, and the
        // crowds see to it that too many are not very many.
        if self.groups.len() < MAX_GROUPS {
            let group = Group {
                quiet_until: now.saturating_add(cool_down),
                notices: 1,
                waiting: None,
                firing: Some(alert.clone()),
                has_end,
            };
            self.groups.insert(alert.fingerprint.clone(), group);
        }
        Raised::Notice(alert)
    }

    /// What an earlier run has told of, and somebody will say when it is over.
    pub(crate) fn adopt(&mut self, alert: &Alert, now: Duration) {
        if self.groups.len() < MAX_GROUPS {
            let group = Group {
                quiet_until: now,
                notices: 0,
                waiting: None,
                firing: Some(alert.clone()),
                has_end: true,
            };
            self.groups
                .entry(alert.fingerprint.clone())
                .or_insert(group);
        }
    }

    /// Takes that something is over; the notice of that, unless there were enough lately.
    pub(crate) fn resolve(
        &mut self,
        fingerprint: &Fingerprint,
        now: Duration,
        utc: Timestamp,
    ) -> Option<Alert> {
        let group = self.groups.get_mut(fingerprint)?;
        let resolved = resolved(group.firing.take()?, group.waiting.take(), utc);
        if resolved.severity == Severity::Info {
            return None;
        }
        if now >= group.quiet_until {
            group.quiet_until = now.saturating_add(self.limits.cool_down);
            group.notices = 0;
        }
        if group.notices >= MAX_NOTICES {
            group.waiting = Some(resolved);
            return None;
        }
        group.notices += 1;
        self.unless_silenced(resolved, utc)
    }

    /// The notices whose cool-down has ended at `now`, each of which begins a new one. A group with
    /// nothing going on is forgotten.
    pub(crate) fn due(&mut self, now: Duration, utc: Timestamp) -> Vec<Alert> {
        let mut due = Vec::new();
        let cool_down = self.limits.cool_down;
        self.groups.retain(|_, group| {
            if now < group.quiet_until {
                return true;
            }
            if let Some(waiting) = group.waiting.take() {
                group.quiet_until = now.saturating_add(cool_down);
                group.notices = 1;
                due.push(waiting);
                return true;
            }
            match &group.firing {
                // Its end will be told at once.
                Some(_) if group.has_end => {
                    group.quiet_until = now.saturating_add(cool_down);
                    group.notices = 0;
                    true
                }
                Some(firing) if firing.severity > Severity::Info => {
                    due.push(resolved(firing.clone(), None, utc));
                    group.firing = None;
                    group.quiet_until = now.saturating_add(cool_down);
                    group.notices = 1;
                    true
                }
                _ => false,
            }
        });
        self.crowds.retain(|_, crowd| {
            if now < crowd.quiet_until {
                return true;
            }
            due.extend(crowd.waiting.take());
            false
        });
        due.retain(|alert| !self.silences.iter().any(|of| of.covers(alert, utc)));
        due
    }

    /// The notice of that fingerprint that is held back, and until when.
    pub(crate) fn waiting(&self, fingerprint: &Fingerprint) -> Option<(&Alert, Duration)> {
        let group = self.groups.get(fingerprint);
        let group = group.and_then(|of| Some((of.waiting.as_ref()?, of.quiet_until)));
        group.or_else(|| {
            let mut crowds = self.crowds.values();
            crowds.find_map(|crowd| {
                let waiting = crowd.waiting.as_ref()?;
                (waiting.fingerprint == *fingerprint).then_some((waiting, crowd.quiet_until))
            })
        })
    }

    /// All notices that wait, for a shutdown.
    pub(crate) fn drain(&mut self) -> Vec<Alert> {
        let groups = self.groups.drain().filter_map(|(_, group)| group.waiting);
        let crowds = self.crowds.drain().filter_map(|(_, crowd)| crowd.waiting);
        groups.chain(crowds).collect()
    }

    /// Whether a fingerprint that is new has a notice of its own; otherwise it is in the crowd's.
    fn may_stand_alone(&mut self, alert: &Alert, now: Duration) -> bool {
        if self.crowds.len() >= MAX_CROWDS && !self.crowds.contains_key(&alert.scenario) {
            return true;
        }
        let crowd = self
            .crowds
            .entry(Arc::clone(&alert.scenario))
            .or_insert_with(|| Crowd {
                quiet_until: now.saturating_add(self.limits.cool_down),
                individually: 0,
                waiting: None,
            });
        if crowd.individually < self.limits.individually {
            crowd.individually += 1;
            return true;
        }
        let several = Alert {
            fingerprint: Fingerprint::of_several(&alert.scenario),
            scope: SEVERAL.to_owned(),
            ..alert.clone()
        };
        crowd.waiting = Some(merged(crowd.waiting.take(), several));
        false
    }

    fn is_inhibited(&self, alert: &Alert) -> bool {
        self.inhibitions
            .iter()
            .filter(|inhibition| inhibition.concerns(alert))
            .any(|inhibition| {
                let mut firing = self.groups.values().filter_map(|of| of.firing.as_ref());
                firing.any(|source| {
                    source.fingerprint != alert.fingerprint && inhibition.is_caused_by(source)
                })
            })
    }

    fn unless_silenced(&self, alert: Alert, utc: Timestamp) -> Option<Alert> {
        let is_silenced = self.silences.iter().any(|of| of.covers(&alert, utc));
        (!is_silenced).then_some(alert)
    }
}

/// Both as one, told as the later.
fn merged(earlier: Option<Alert>, alert: Alert) -> Alert {
    match earlier {
        // What was over goes on after all.
        Some(earlier) => Alert {
            // It is stored under this id already.
            id: earlier.id,
            first: earlier.first.min(alert.first),
            last: earlier.last.max(alert.last),
            count: earlier.count.saturating_add(alert.count),
            severity: earlier.severity.max(alert.severity),
            ..alert
        },
        None => alert,
    }
}

fn resolved(firing: Alert, untold: Option<Alert>, at: Timestamp) -> Alert {
    Alert {
        id: Uuid::now_v7(),
        state: AlertState::Resolved,
        last: at.max(firing.last),
        count: untold.map_or(0, |untold| untold.count),
        ..firing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: Timestamp = Timestamp::from_micros(1_000_000_000);

    fn alert(scope: &str, at: i64) -> Alert {
        let at = Timestamp::from_micros(at);
        Alert::new("failed", scope, Severity::Warning, "too many", at)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn groups() -> AlertGroups {
        let limits = GroupLimits {
            cool_down: secs(60),
            individually: 10,
        };
        AlertGroups::new(limits, Vec::new())
    }

    fn notice(raised: Raised) -> Option<Alert> {
        match raised {
            Raised::Notice(alert) => Some(alert),
            _ => None,
        }
    }

    #[test]
    fn a_storm_gives_at_most_two_notices_of_a_fingerprint_in_a_cool_down() {
        let mut groups = groups();
        let mut sent = 0;
        for n in 0..100_000 {
            let raised = groups.raise(alert("a", n), true, secs(1), UTC);
            sent += usize::from(notice(raised).is_some());
            // It stops and begins again all the time.
            if n % 10 == 0 {
                let fingerprint = alert("a", n).fingerprint;
                sent += usize::from(groups.resolve(&fingerprint, secs(1), UTC).is_some());
            }
        }
        assert_eq!(sent, 2);
        assert!(groups.due(secs(60), UTC).is_empty());
        let due = groups.due(secs(61), UTC);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].count, 99_999);
    }

    #[test]
    fn what_comes_in_the_cool_down_is_one_notice_at_its_end_and_then_it_is_over() {
        let mut groups = groups();
        assert!(notice(groups.raise(alert("a", 0), false, secs(0), UTC)).is_some());
        for at in 1..4 {
            let raised = groups.raise(alert("a", at), false, secs(59), UTC);
            assert_eq!(raised, Raised::Held);
        }
        let due = groups.due(secs(60), UTC);
        assert_eq!((due.len(), due[0].count), (1, 3));
        assert_eq!((due[0].first.as_micros(), due[0].last.as_micros()), (1, 3));
        assert!(groups.due(secs(119), UTC).is_empty());
        let over = groups.due(secs(120), UTC);
        assert_eq!(over[0].state, AlertState::Resolved);
        assert!(groups.due(secs(180), UTC).is_empty());
        assert!(groups.groups.is_empty() && groups.crowds.is_empty());
    }

    #[test]
    fn the_end_of_something_is_told_at_once_and_its_groups_forgotten() {
        let mut groups = groups();
        let fingerprint = alert("a", 0).fingerprint;
        assert!(groups.resolve(&fingerprint, secs(0), UTC).is_none());
        groups.raise(alert("a", 0), true, secs(0), UTC);
        assert!(groups.due(secs(60), UTC).is_empty());
        assert!(groups.due(secs(120), UTC).is_empty(), "it goes on");
        let over = groups.resolve(&fingerprint, secs(130), UTC).unwrap();
        assert_eq!((over.state, over.count), (AlertState::Resolved, 0));
        assert_eq!(over.last, UTC);
        assert!(groups.resolve(&fingerprint, secs(131), UTC).is_none());
        assert!(groups.due(secs(300), UTC).is_empty());
        assert!(groups.groups.is_empty());
    }

    #[test]
    fn what_an_earlier_run_told_of_is_resolved_too() {
        let mut groups = groups();
        groups.adopt(&alert("a", 0), secs(0));
        assert!(groups.due(secs(0), UTC).is_empty());
        let fingerprint = alert("a", 0).fingerprint;
        assert!(groups.resolve(&fingerprint, secs(1), UTC).is_some());
    }

    #[test]
    fn beyond_ten_the_fingerprints_of_a_scenario_are_one_notice() {
        let mut groups = groups();
        let mut sent = 0;
        for n in 0..MAX_GROUPS as i64 + 10 {
            let raised = groups.raise(alert(&n.to_string(), n), true, secs(0), UTC);
            sent += usize::from(notice(raised).is_some());
        }
        assert_eq!(sent, 10);
        let due = groups.due(secs(60), UTC);
        assert_eq!(due.len(), 1);
        assert_eq!(due[0].fingerprint.as_str(), "failed/several");
        assert_eq!(due[0].count, MAX_GROUPS as u64);
        assert!(notice(groups.raise(alert("new", 0), true, secs(61), UTC)).is_some());
    }

    #[test]
    fn a_silence_holds_until_its_end() {
        let mut groups = groups();
        let until = UTC + secs(10);
        groups.set_silences(vec![Silence::new("fail*", UTC, until).scope("network *")]);
        let raise = |groups: &mut AlertGroups, scope, utc| {
            groups.raise(alert(scope, 0), false, secs(0), utc)
        };
        assert_eq!(raise(&mut groups, "network a", UTC), Raised::Silenced);
        assert!(notice(raise(&mut groups, "user a", UTC)).is_some());
        assert!(notice(raise(&mut groups, "network a", until)).is_some());
    }

    #[test]
    fn a_graver_alert_inhibits_what_follows_from_it_until_it_is_over() {
        let source = ("health", "component database");
        let mut groups = AlertGroups {
            inhibitions: vec![Inhibition::new(source, ("health", "*"))],
            ..groups()
        };
        let of = |scope| Alert::new("health", scope, Severity::Critical, "down", UTC);
        let database = of("component database");
        assert!(notice(groups.raise(database.clone(), true, secs(0), UTC)).is_some());
        let audit = groups.raise(of("component audit"), true, secs(1), UTC);
        assert_eq!(audit, Raised::Inhibited);
        // It does not inhibit itself.
        assert_eq!(
            groups.raise(database.clone(), true, secs(2), UTC),
            Raised::Held
        );
        groups.resolve(&database.fingerprint, secs(3), UTC);
        assert!(notice(groups.raise(of("component audit"), true, secs(4), UTC)).is_some());
    }

    #[test]
    fn a_shutdown_hands_out_what_waits() {
        let mut groups = groups();
        groups.raise(alert("a", 0), false, secs(0), UTC);
        groups.raise(alert("a", 1), false, secs(1), UTC);
        assert_eq!(groups.drain().len(), 1);
        assert!(groups.drain().is_empty());
    }

    #[test]
    fn good_to_know_is_never_resolved() {
        let mut groups = groups();
        let info = Alert::new("first", "user 7", Severity::Info, "new", UTC);
        groups.raise(info, false, secs(0), UTC);
        assert!(groups.due(secs(60), UTC).is_empty());
        assert!(groups.groups.is_empty());
    }
}
