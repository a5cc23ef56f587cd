//! The kinds of rules, each over a few words of state: plain functions of state and time.

use std::sync::Arc;
use std::time::Duration;

use crate::seen::Earlier;
use crate::signal::{MatchSignal, SignalKind};
use crate::table::{Kept, State};

/// What is to be different in signals that count as several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Distinct {
    /// The user: many users from one address are stuffed credentials.
    User,
    /// The address: one user from many addresses is sprayed passwords.
    Address,
    /// The name the signal carries: a path, a tool, a component.
    Name,
}

/// The most that one suspicious request weighs: a single link, which another may have planted, is
/// not enough for a ban.
const MAX_SCORE: u32 = 10;

/// What a signal weighs in a leaky bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Weight {
    /// Each signal one.
    #[default]
    One,
    /// The score of a suspicious request, at most 10; other signals one.
    Score,
    /// The bytes of a tool's output; other signals one.
    Bytes,
}

impl Weight {
    fn of(self, kind: &SignalKind) -> u64 {
        match (self, kind) {
            (Self::Score, SignalKind::SuspiciousRequest { score }) => {
                u64::from((*score).min(MAX_SCORE))
            }
            (Self::Bytes, SignalKind::ToolOutput { bytes, .. }) => *bytes,
            _ => 1,
        }
    }
}

#[derive(Clone)]
pub(crate) enum Rule {
    Count {
        matcher: Arc<dyn MatchSignal>,
        threshold: u32,
        window: Duration,
    },
    Leaky {
        matcher: Arc<dyn MatchSignal>,
        burst: u64,
        drain: Duration,
        weight: Weight,
    },
    Distinct {
        matcher: Arc<dyn MatchSignal>,
        of: Distinct,
        threshold: u32,
        window: Duration,
    },
    Sequence {
        steps: Vec<Arc<dyn MatchSignal>>,
        window: Duration,
    },
    First {
        matcher: Arc<dyn MatchSignal>,
        of: Distinct,
        memory: Duration,
    },
}

/// Ranks of a leaky bucket's levels.
const LEVELS: usize = 16;
/// Set in a member of which the lowest twelve bits are all that is known.
const PARTIAL: u64 = 1 << 63;

impl Rule {
    /// Whether a signal of this kind has to do with the rule.
    pub(super) fn matches(&self, kind: &SignalKind) -> bool {
        match self {
            Self::Count { matcher, .. }
            | Self::Leaky { matcher, .. }
            | Self::Distinct { matcher, .. }
            | Self::First { matcher, .. } => matcher.matches(kind),
            Self::Sequence { steps, .. } => steps.iter().any(|step| step.matches(kind)),
        }
    }

    /// What is to be different, where the rule counts that.
    pub(super) fn distinct(&self) -> Option<Distinct> {
        match self {
            Self::Distinct { of, .. } | Self::First { of, .. } => Some(*of),
            _ => None,
        }
    }

    /// The matcher, where one sighting of a key needs no place in the table.
    pub(super) fn remembered_apart(&self) -> Option<&Arc<dyn MatchSignal>> {
        match self {
            Self::Count {
                matcher, threshold, ..
            }
            | Self::Distinct {
                matcher, threshold, ..
            } if *threshold > 0 => Some(matcher),
            _ => None,
        }
    }

    /// Words of state for a key.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Count { threshold, .. } => *threshold as usize + 1,
            Self::Distinct { threshold, .. } => 2 * (*threshold as usize + 1),
            Self::Leaky { .. } => 2,
            Self::Sequence { steps, .. } => steps.len().max(1),
            Self::First { .. } => 1,
        }
    }

    pub(super) fn max_rank(&self) -> usize {
        match self {
            Self::Count { threshold, .. } | Self::Distinct { threshold, .. } => {
                *threshold as usize + 1
            }
            Self::Leaky { .. } => LEVELS,
            Self::Sequence { steps, .. } => steps.len(),
            Self::First { .. } => 0,
        }
    }

    /// Takes a signal of a key into its state; whether the rule is met.
    pub(super) fn take(
        &self,
        kind: &SignalKind,
        member: u64,
        earlier: Option<Earlier>,
        now: u64,
        state: &mut State<'_>,
    ) -> (bool, Kept) {
        match self {
            Self::Count { window, .. } => count(state, micros(*window), earlier, now),
            Self::Distinct { window, .. } => {
                distinct(state, micros(*window), earlier, member & !PARTIAL, now)
            }
            Self::Leaky {
                burst,
                drain,
                weight,
                ..
            } => fill(state, *burst, micros(*drain), weight.of(kind), now),
            Self::Sequence { steps, window } => step(state, steps, micros(*window), kind, now),
            Self::First { memory, .. } => {
                let memory = micros(*memory);
                let met = *state.used == 0 || state.words[0].saturating_add(memory) <= now;
                *state.used = 1;
                state.words[0] = now;
                let void_at = now.saturating_add(memory);
                (met, Kept { rank: 0, void_at })
            }
        }
    }

    /// What a person reads in an alert.
    pub(super) fn summary(&self) -> String {
        match self {
            Self::Count { threshold: 0, .. } | Self::Leaky { burst: 0, .. } => {
                "a matching signal".to_owned()
            }
            Self::Count {
                threshold, window, ..
            } => format!(
                "more than {threshold} matching {} in {} s",
                if *threshold == 1 { "signal" } else { "signals" },
                window.as_secs_f64()
            ),
            Self::Leaky { burst, drain, .. } => format!(
                "more than {burst} at once, of what is forgiven in {} s",
                drain.as_secs_f64()
            ),
            Self::Distinct {
                of,
                threshold,
                window,
                ..
            } => {
                let (one, several) = match of {
                    Distinct::User => ("user", "users"),
                    Distinct::Address => ("address", "addresses"),
                    Distinct::Name => ("name", "names"),
                };
                let window = window.as_secs_f64();
                match threshold {
                    0 => format!("a matching signal of any {one}"),
                    1 => format!("more than 1 {one} in {window} s"),
                    _ => format!("more than {threshold} different {several} in {window} s"),
                }
            }
            Self::Sequence { steps, window } => format!(
                "{} steps in their order within {} s",
                steps.len(),
                window.as_secs_f64()
            ),
            Self::First { of, .. } => match of {
                Distinct::User => "seen with this user for the first time".to_owned(),
                Distinct::Address => "seen from this address for the first time".to_owned(),
                Distinct::Name => "seen with this name for the first time".to_owned(),
            },
        }
    }
}

/// The words are the times of the last signals, oldest first.
fn count(state: &mut State<'_>, window: u64, earlier: Option<Earlier>, now: u64) -> (bool, Kept) {
    let width = state.words.len();
    if let Some(earlier) = unless_known(state, earlier, window, now) {
        state.words[0] = earlier.at;
        *state.used = 1;
    }
    let past = state.words[..*state.used as usize]
        .iter()
        .take_while(|at| at.saturating_add(window) <= now)
        .count();
    let mut used = *state.used as usize - past;
    state.words.copy_within(past..past + used, 0);
    if used == width {
        state.words.copy_within(1.., 0);
        used -= 1;
    }
    state.words[used] = now;
    used += 1;
    *state.used = used as u32;
    let void_at = now.saturating_add(window);
    (
        used == width,
        Kept {
            rank: used,
            void_at,
        },
    )
}

/// The first half of the words are times, oldest first, the second half what was seen then.
fn distinct(
    state: &mut State<'_>,
    window: u64,
    earlier: Option<Earlier>,
    member: u64,
    now: u64,
) -> (bool, Kept) {
    // A member of zero is none: that signal did not bear what is counted here.
    let earlier = unless_known(state, earlier, window, now).filter(|earlier| earlier.member != 0);
    let width = state.words.len() / 2;
    let (times, members) = state.words.split_at_mut(width);
    let mut used = *state.used as usize;
    if let Some(earlier) = earlier {
        (times[0], members[0]) = (earlier.at, earlier.member | PARTIAL);
        used = 1;
    }
    let is_same = |known: u64| match known & PARTIAL {
        0 => known == member,
        _ => (known ^ member) & 0xfff == 0,
    };
    // What is past goes, and so does the one that came again: it is the latest now.
    let mut kept = 0;
    for n in 0..used {
        if times[n].saturating_add(window) > now && !is_same(members[n]) {
            (times[kept], members[kept]) = (times[n], members[n]);
            kept += 1;
        }
    }
    if kept == width {
        times.copy_within(1.., 0);
        members.copy_within(1.., 0);
        kept -= 1;
    }
    (times[kept], members[kept]) = (now, member);
    kept += 1;
    *state.used = kept as u32;
    let void_at = now.saturating_add(window);
    (
        kept == width,
        Kept {
            rank: kept,
            void_at,
        },
    )
}

/// The sighting before, for a key that has no state yet.
fn unless_known(
    state: &State<'_>,
    earlier: Option<Earlier>,
    window: u64,
    now: u64,
) -> Option<Earlier> {
    let fresh = *state.used == 0;
    earlier.filter(|earlier| fresh && earlier.at.saturating_add(window) > now)
}

/// The words are the level, as the bits of a float, and when it was so.
fn fill(state: &mut State<'_>, burst: u64, drain: u64, weight: u64, now: u64) -> (bool, Kept) {
    let burst = burst as f64;
    let per_micro = burst / drain.max(1) as f64;
    let level = match *state.used {
        0 => 0.0,
        _ => {
            let gone = now.saturating_sub(state.words[1]) as f64 * per_micro;
            (f64::from_bits(state.words[0]) - gone).max(0.0)
        }
    };
    // A level far above the brim would hold on long after what caused it.
    let level = (level + weight as f64).min(2.0 * burst + 1.0);
    *state.used = 1;
    state.words[0] = level.to_bits();
    state.words[1] = now;
    let rank = (level / burst * (LEVELS - 1) as f64) as usize;
    let void_at = now.saturating_add((level / per_micro) as u64);
    (level > burst, Kept { rank, void_at })
}

/// Word `n` is when the latest run began that has come through step `n`, one more than that; zero
/// is none.
fn step(
    state: &mut State<'_>,
    steps: &[Arc<dyn MatchSignal>],
    window: u64,
    kind: &SignalKind,
    now: u64,
) -> (bool, Kept) {
    if *state.used == 0 {
        state.words.fill(0);
        *state.used = 1;
    }
    let within = |began: u64| began > 0 && (began - 1).saturating_add(window) > now;
    // From the last to the first, so that one signal takes each run one step further.
    for n in (0..steps.len()).rev() {
        if !steps[n].matches(kind) {
            continue;
        }
        if n == 0 {
            state.words[0] = now.saturating_add(1);
        } else if within(state.words[n - 1]) {
            state.words[n] = state.words[n].max(state.words[n - 1]);
        }
    }
    let reached = (0..steps.len())
        .rev()
        .find(|n| within(state.words[*n]))
        .map_or(0, |n| n + 1);
    let began = state.words.iter().max().copied().unwrap_or(0);
    let void_at = began.saturating_add(window);
    (
        reached == steps.len(),
        Kept {
            rank: reached,
            void_at,
        },
    )
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::SignalClass;
    use crate::table::Table;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn counted(threshold: u32) -> Rule {
        Rule::Count {
            matcher: Arc::new(SignalClass::AuthFailed),
            threshold,
            window: seconds(10),
        }
    }

    struct Bench {
        rule: Rule,
        table: Table,
    }

    impl Bench {
        fn new(rule: Rule) -> Self {
            let table = Table::new(rule.width(), rule.max_rank(), 100);
            Self { rule, table }
        }

        fn take(&mut self, member: u64, earlier: Option<Earlier>, now: u64) -> bool {
            let mut met = false;
            self.table.change(1, now, |mut state| {
                let kind = SignalKind::AuthFailed;
                let (is_met, kept) = self.rule.take(&kind, member, earlier, now, &mut state);
                met = is_met;
                kept
            });
            met
        }
    }

    #[test]
    fn a_signal_leaves_the_window_at_its_very_end() {
        let mut bench = Bench::new(counted(1));
        assert!(!bench.take(0, None, 0));
        assert!(!bench.take(0, None, 10 * SECOND));
        assert!(bench.take(0, None, 20 * SECOND - 1));
    }

    #[test]
    fn the_sighting_before_counts_while_it_is_in_the_window() {
        let earlier = |at| Some(Earlier { at, member: 0x123 });
        for (now, met) in [(9 * SECOND, true), (11 * SECOND, false)] {
            let mut bench = Bench::new(counted(1));
            assert_eq!(bench.take(0, earlier(SECOND), now), met, "{now}");
        }
        let distinct = || {
            Bench::new(Rule::Distinct {
                matcher: Arc::new(SignalClass::AuthFailed),
                of: Distinct::User,
                threshold: 1,
                window: seconds(10),
            })
        };
        assert!(distinct().take(0xab_cdef, earlier(0), SECOND));
        // The same one, as far as is known of it; and a signal that bore none.
        assert!(!distinct().take(0xab_c123, earlier(0), SECOND));
        let none = Some(Earlier { at: 0, member: 0 });
        assert!(!distinct().take(0xab_cdef, none, SECOND));
    }

    proptest! {
        #[test]
        fn counts_as_a_plain_list_of_times_would(
            threshold in 0u32..6,
            pauses in prop::collection::vec(0u64..4, 1..200),
        ) {
            let mut bench = Bench::new(counted(threshold));
            let (mut all, mut now) = (Vec::new(), 0);
            for pause in pauses {
                now += pause * SECOND;
                all.push(now);
                let count = all.iter().filter(|at| **at + 10 * SECOND > now).count();
                prop_assert_eq!(bench.take(0, None, now), count > threshold as usize);
            }
        }

        #[test]
        fn counts_different_ones_as_a_plain_set_would(
            threshold in 0u32..4,
            seen in prop::collection::vec((1u64..6, 0u64..4), 1..200),
        ) {
            let mut bench = Bench::new(Rule::Distinct {
                matcher: Arc::new(SignalClass::AuthFailed),
                of: Distinct::User,
                threshold,
                window: seconds(10),
            });
            let (mut all, mut now) = (Vec::new(), 0);
            for (member, pause) in seen {
                now += pause * SECOND;
                all.push((member, now));
                let current = all.iter().filter(|(_, at)| at + 10 * SECOND > now);
                let different: std::collections::HashSet<_> = current.map(|(m, _)| m).collect();
                let met = bench.take(member, None, now);
                prop_assert_eq!(met, different.len() > threshold as usize);
            }
        }

        #[test]
        fn finds_a_sequence_where_a_search_through_all_signals_does(
            signals in prop::collection::vec((0u8..3, 0u64..4), 1..60),
        ) {
            let of = |class| -> Arc<dyn MatchSignal> { Arc::new(class) };
            let classes = [SignalClass::AuthFailed, SignalClass::AuthOk, SignalClass::AdminAct];
            let kinds = [SignalKind::AuthFailed, SignalKind::AuthOk, SignalKind::AdminAct];
            let rule = Rule::Sequence { steps: classes.map(of).to_vec(), window: seconds(10) };
            let mut table = Table::new(rule.width(), rule.max_rank(), 1);
            let (mut all, mut now): (Vec<(u8, u64)>, u64) = (Vec::new(), 0);
            for (kind, pause) in signals {
                now += pause * SECOND;
                all.push((kind, now));
                let mut met = false;
                table.change(1, now, |mut state| {
                    let kind = &kinds[kind as usize];
                    let (is_met, kept) = rule.take(kind, 0, None, now, &mut state);
                    met = is_met;
                    kept
                });
                let begins = |i: usize| all[i].0 == 0 && all[i].1 + 10 * SECOND > now;
                let second = |i: usize, j: usize| i < j && all[j].0 == 1;
                let found = (0..all.len()).any(|i| begins(i) && (0..all.len()).any(|j| {
                    second(i, j) && (j + 1..all.len()).any(|k| all[k].0 == 2)
                }));
                prop_assert_eq!(met, found);
            }
        }
    }
}
