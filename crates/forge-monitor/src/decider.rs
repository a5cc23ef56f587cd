//! The core: signals and the time in, outcomes out, no I/O.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::blocks::BlockSet;
use crate::clock::Timestamp;
use crate::decision::{Decision, Target, escalated};
use crate::never_block::NeverBlock;
use crate::on_event::DropReason;
use crate::scenario::Detector;
use crate::signal::Signal;

/// How many repeat offenders are remembered.
const MAX_OFFENDERS: usize = 65_536;

/// What bounds the decisions, beside the scenarios.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The longest block that escalation leads to.
    pub(crate) max_block: Duration,
    /// For how long after its end a block makes the next one longer.
    pub(crate) escalation_memory: Duration,
    /// New blocks within any minute.
    pub(crate) blocks_per_minute: usize,
    /// Blocks held at once.
    pub(crate) max_blocks: usize,
}

/// What came of a signal.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Decided and enforced.
    Made(Arc<Decision>, usize),
    /// Would have been decided.
    Simulated(Arc<Decision>),
    /// Due, but the target is blocked already.
    Suppressed,
    /// Due, but one of the bounds is reached.
    Dropped(usize, Target, DropReason),
    /// The scenario panicked.
    Panicked(usize),
    /// A count that was still in its window had to go.
    Evicted,
}

pub(crate) struct Decider {
    detectors: Vec<Detector>,
    never_block: NeverBlock,
    blocks: Arc<BlockSet>,
    limits: Limits,
    offenders: HashMap<(Arc<str>, Target), Offence>,
    /// When the blocks of the last minute were decided, on the monotonic clock.
    recent: VecDeque<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Offence {
    escalation: u32,
    until: Timestamp,
}

impl Decider {
    pub(crate) fn new(
        detectors: Vec<Detector>,
        never_block: NeverBlock,
        blocks: Arc<BlockSet>,
        limits: Limits,
    ) -> Self {
        Self {
            detectors,
            never_block,
            blocks,
            limits,
            offenders: HashMap::new(),
            recent: VecDeque::new(),
        }
    }

    pub(crate) fn detectors(&self) -> &[Detector] {
        &self.detectors
    }

    /// Takes up the decisions of an earlier run; how many of them hold again.
    pub(crate) fn restore(&mut self, mut decisions: Vec<Decision>, now: Timestamp) -> usize {
        // The last one of a target tells its escalation.
        decisions.sort_by_key(|decision| decision.until);
        for decision in &decisions {
            self.remember(decision, now);
        }
        let held = decisions
            .into_iter()
            .filter(|decision| decision.is_active(now) && !self.is_never_blocked(&decision.target))
            .rev()
            .take(self.limits.max_blocks)
            .map(Arc::new);
        self.blocks.insert(held);
        self.blocks.len()
    }

    /// Shows the signal to every scenario, at the monotonic time `elapsed` and the UTC time `now`.
    pub(crate) fn observe(
        &mut self,
        signal: &Signal,
        elapsed: Duration,
        now: Timestamp,
        outcomes: &mut Vec<Outcome>,
    ) {
        for index in 0..self.detectors.len() {
            // Matchers are the caller's code. What a panic may leave behind is this scenario's own
            // state, and that is thrown away.
            let observed = catch_unwind(AssertUnwindSafe(|| {
                let detector = &mut self.detectors[index];
                let target = detector.target(signal)?;
                let listed = match &target {
                    Target::Network(_) => signal
                        .address
                        .is_some_and(|address| self.never_block.contains(address)),
                    Target::User(user) => self.never_block.contains_user(user),
                };
                if listed {
                    return None;
                }
                let observed = detector.observe(&target, elapsed);
                Some((target, observed))
            }));
            match observed {
                Ok(None) => {}
                Ok(Some((target, observed))) => {
                    if observed.evicted {
                        outcomes.push(Outcome::Evicted);
                    }
                    if observed.exceeded {
                        outcomes.push(self.decide(index, target, elapsed, now));
                    }
                }
                Err(_) => {
                    let scenario = self.detectors[index].scenario().clone();
                    self.detectors[index] = Detector::new(scenario);
                    outcomes.push(Outcome::Panicked(index));
                }
            }
        }
    }

    /// Takes out the blocks that have ended.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Arc<Decision>> {
        self.blocks.expire(now)
    }

    /// Takes out one block before its end. It was a mistake, so it does not count as an offence,
    /// and what was counted against its target is forgotten.
    pub(crate) fn lift(&mut self, id: Uuid, now: Timestamp) -> Option<Arc<Decision>> {
        let decision = self
            .blocks
            .remove(id)
            .filter(|decision| decision.is_active(now))?;
        let offender = (Arc::clone(&decision.scenario), decision.target.clone());
        match decision.escalation.checked_sub(1) {
            Some(escalation) => {
                let until = now;
                self.offenders
                    .insert(offender, Offence { escalation, until });
            }
            None => {
                self.offenders.remove(&offender);
            }
        }
        for detector in &mut self.detectors {
            detector.clear(&decision.target);
        }
        Some(decision)
    }

    fn decide(
        &mut self,
        index: usize,
        target: Target,
        elapsed: Duration,
        now: Timestamp,
    ) -> Outcome {
        let scenario = self.detectors[index].scenario().clone();
        let offence = self
            .offenders
            .get(&(scenario.shared_name(), target.clone()))
            .filter(|offence| offence.until + self.limits.escalation_memory > now);
        let escalation = offence.map_or(0, |offence| offence.escalation.saturating_add(1));
        let length = escalated(scenario.block_length(), escalation, self.limits.max_block);
        let decision = Decision::block(scenario.shared_name(), target.clone(), now, now + length)
            .escalation(escalation);
        if scenario.is_simulated() {
            self.detectors[index].clear(&target);
            return Outcome::Simulated(Arc::new(decision));
        }
        if self.blocks.of_target(&target, now).is_some() {
            self.detectors[index].clear(&target);
            return Outcome::Suppressed;
        }
        if let Some(reason) = self.exhausted(elapsed) {
            // The count stays, so that the next signal decides when there is room again.
            return Outcome::Dropped(index, target, reason);
        }
        self.recent.push_back(elapsed);
        self.detectors[index].clear(&target);
        self.remember(&decision, now);
        let decision = Arc::new(decision);
        self.blocks.insert([Arc::clone(&decision)]);
        Outcome::Made(decision, index)
    }

    fn exhausted(&mut self, elapsed: Duration) -> Option<DropReason> {
        const MINUTE: Duration = Duration::from_secs(60);
        while self
            .recent
            .front()
            .is_some_and(|&at| at.saturating_add(MINUTE) <= elapsed)
        {
            self.recent.pop_front();
        }
        if self.recent.len() >= self.limits.blocks_per_minute {
            Some(DropReason::RateCap)
        } else if self.blocks.len() >= self.limits.max_blocks {
            Some(DropReason::Full)
        } else {
            None
        }
    }

    fn remember(&mut self, decision: &Decision, now: Timestamp) {
        let memory = self.limits.escalation_memory;
        if self.offenders.len() >= MAX_OFFENDERS {
            self.offenders
                .retain(|_, offence| offence.until + memory > now);
        }
        if self.offenders.len() >= MAX_OFFENDERS {
            let soonest = self
                .offenders
                .iter()
                .min_by_key(|(_, offence)| offence.until);
            if let Some(offender) = soonest.map(|(offender, _)| offender.clone()) {
                self.offenders.remove(&offender);
            }
        }
        let offender = (Arc::clone(&decision.scenario), decision.target.clone());
        let offence = Offence {
            escalation: decision.escalation,
            until: decision.until,
        };
        self.offenders.insert(offender, offence);
    }

    fn is_never_blocked(&self, target: &Target) -> bool {
        match target {
            Target::Network(network) => self.never_block.covers(network),
            Target::User(user) => self.never_block.contains_user(user),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::{Scenario, Scope};
    use crate::signal::{SignalClass, SignalKind};
    use proptest::prelude::*;
    use std::net::IpAddr;

    const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
    const MINUTE: Duration = Duration::from_secs(60);

    struct Bench {
        decider: Decider,
        blocks: Arc<BlockSet>,
        elapsed: Duration,
    }

    impl Bench {
        fn new(scenarios: Vec<Scenario>, never_block: NeverBlock) -> Self {
            let blocks = Arc::new(BlockSet::default());
            let limits = Limits {
                max_block: MINUTE * 60,
                escalation_memory: MINUTE * 600,
                blocks_per_minute: 5,
                max_blocks: 50,
            };
            let detectors = scenarios.into_iter().map(Detector::new).collect();
            let decider = Decider::new(detectors, never_block, Arc::clone(&blocks), limits);
            Self {
                decider,
                blocks,
                elapsed: Duration::ZERO,
            }
        }

        fn now(&self) -> Timestamp {
            START + self.elapsed
        }

        fn show(&mut self, signal: Signal) -> Vec<Outcome> {
            let mut outcomes = Vec::new();
            let now = self.now();
            self.decider
                .observe(&signal.received(now), self.elapsed, now, &mut outcomes);
            outcomes
        }

        /// Failures of one address until the last one's outcome.
        fn fail(&mut self, address: &str, times: usize) -> Option<Outcome> {
            let address: IpAddr = address.parse().unwrap();
            (0..times)
                .map(|_| self.show(Signal::new(SignalKind::AuthFailed).address(address)))
                .last()
                .and_then(|mut outcomes| outcomes.pop())
        }

        fn block(&mut self, address: &str, times: usize) -> Arc<Decision> {
            match self.fail(address, times) {
                Some(Outcome::Made(decision, 0)) => decision,
                other => panic!("no block: {other:?}"),
            }
        }
    }

    fn failed(address: &str) -> Signal {
        Signal::new(SignalKind::AuthFailed).address(address.parse::<IpAddr>().unwrap())
    }

    fn bench() -> Bench {
        Bench::new(vec![Scenario::failed_authentications()], NeverBlock::new())
    }

    fn first_failure_blocks() -> Scenario {
        Scenario::count("first", SignalClass::AuthFailed)
            .threshold(0)
            .block_for(MINUTE)
            .build()
            .unwrap()
    }

    #[test]
    fn five_failures_pass_and_the_sixth_decides() {
        let mut bench = bench();
        assert!(bench.fail("192.0.2.1", 5).is_none());
        let decision = bench.block("192.0.2.1", 1);
        assert_eq!(decision.until, START + MINUTE * 15);
        assert_eq!(&*decision.scenario, "failed_authentications");
        assert!(bench.blocks.of_target(&decision.target, START).is_some());
    }

    #[test]
    fn ten_limit_refusals_pass_and_the_eleventh_decides() {
        let mut bench = Bench::new(vec![Scenario::limit_refusals()], NeverBlock::new());
        let refused = || Signal::new(SignalKind::RateLimited).address(IpAddr::from([192, 0, 2, 1]));
        for _ in 0..10 {
            assert!(bench.show(refused()).is_empty());
        }
        assert!(matches!(bench.show(refused())[..], [Outcome::Made(..)]));
    }

    #[test]
    fn failures_from_one_slash_64_add_up() {
        let mut bench = bench();
        assert!(bench.fail("2001:db8::1", 3).is_none());
        assert!(bench.fail("2001:db8::2", 2).is_none());
        assert!(bench.fail("2001:db8:0:1::1", 3).is_none());
        let decision = bench.block("2001:db8::3", 1);
        assert_eq!(decision.target.value(), "2001:db8::/64");
    }

    #[test]
    fn who_comes_back_is_blocked_twice_as_long_up_to_the_cap() {
        let mut bench = bench();
        let mut lengths = Vec::new();
        for _ in 0..4 {
            let decision = bench.block("192.0.2.1", 6);
            lengths.push(decision.remaining(bench.now()).as_secs() / 60);
            bench.elapsed += decision.remaining(bench.now());
            assert_eq!(bench.decider.expire(bench.now()).len(), 1);
        }
        assert_eq!(lengths, [15, 30, 60, 60]);
        bench.elapsed += MINUTE * 600;
        assert_eq!(bench.block("192.0.2.1", 6).escalation, 0);
        bench.elapsed += MINUTE * 15;
        assert_eq!(bench.block("192.0.2.1", 6).escalation, 1);
    }

    #[test]
    fn a_blocked_target_is_not_decided_again() {
        let mut bench = bench();
        bench.block("192.0.2.1", 6);
        assert!(matches!(
            bench.fail("192.0.2.1", 6),
            Some(Outcome::Suppressed)
        ));
        assert_eq!(bench.blocks.len(), 1);
    }

    #[test]
    fn no_more_blocks_than_the_cap_within_any_minute() {
        let mut bench = Bench::new(vec![first_failure_blocks()], NeverBlock::new());
        for n in 1..=5 {
            bench.block(&format!("192.0.2.{n}"), 1);
            bench.elapsed += MINUTE / 10;
        }
        let dropped = bench.fail("192.0.2.6", 1);
        let Some(Outcome::Dropped(0, _, DropReason::RateCap)) = dropped else {
            panic!("{dropped:?}");
        };
        assert_eq!(bench.blocks.len(), 5);
        bench.elapsed += MINUTE / 2 - Duration::from_micros(1);
        assert!(matches!(
            bench.fail("192.0.2.6", 1),
            Some(Outcome::Dropped(..))
        ));
        bench.elapsed += Duration::from_micros(1);
        bench.block("192.0.2.6", 1);
        assert!(matches!(
            bench.fail("192.0.2.7", 1),
            Some(Outcome::Dropped(..))
        ));
    }

    #[test]
    fn a_scenario_in_simulation_blocks_nobody() {
        let scenario = Scenario::count("trial", SignalClass::AuthFailed)
            .threshold(1)
            .simulate(true)
            .build()
            .unwrap();
        let mut bench = Bench::new(vec![scenario], NeverBlock::new());
        let outcome = bench.fail("192.0.2.1", 2);
        assert!(
            matches!(outcome, Some(Outcome::Simulated(_))),
            "{outcome:?}"
        );
        assert_eq!(bench.blocks.len(), 0);
        assert!(bench.fail("192.0.2.1", 1).is_none());
    }

    #[test]
    fn a_user_is_blocked_by_id_wherever_the_signals_come_from() {
        let scenario = Scenario::count("by_user", SignalClass::AuthFailed)
            .scope(Scope::User)
            .threshold(2)
            .build()
            .unwrap();
        let never = NeverBlock::new().user("admin");
        let mut bench = Bench::new(vec![scenario], never);
        for n in 0..3 {
            bench.show(failed(&format!("192.0.2.{n}")).user("7"));
            bench.show(failed(&format!("192.0.2.{n}")).user("admin"));
        }
        assert!(bench.blocks.of_user("7", START).is_some());
        assert!(bench.blocks.of_user("admin", START).is_none());
    }

    #[test]
    fn a_lifted_block_is_no_offence_and_its_count_starts_anew() {
        let mut bench = bench();
        let decision = bench.block("192.0.2.1", 6);
        // Of requests that were under way when the block was decided.
        assert!(bench.fail("192.0.2.1", 3).is_none());
        assert!(bench.decider.lift(Uuid::nil(), START).is_none());
        assert!(bench.decider.lift(decision.id, START).is_some());
        assert!(bench.decider.lift(decision.id, START).is_none());
        assert!(bench.fail("192.0.2.1", 5).is_none());
        let again = bench.block("192.0.2.1", 1);
        assert_eq!(again.escalation, 0);
        bench.elapsed += MINUTE * 15;
        let third = bench.block("192.0.2.1", 6);
        assert_eq!(third.escalation, 1);
        bench.decider.lift(third.id, bench.now()).unwrap();
        assert_eq!(bench.block("192.0.2.1", 6).escalation, 1);
    }

    #[test]
    fn a_panicking_scenario_loses_its_counts_and_nothing_else() {
        let touchy = Scenario::count("touchy", |kind: &SignalKind| {
            assert!(*kind != SignalKind::AdminAct, "on purpose");
            *kind == SignalKind::AuthFailed
        })
        .threshold(1)
        .build()
        .unwrap();
        let scenarios = vec![touchy, Scenario::failed_authentications()];
        let mut bench = Bench::new(scenarios, NeverBlock::new());
        bench.fail("192.0.2.1", 1);
        let outcomes = bench.show(Signal::new(SignalKind::AdminAct));
        assert!(matches!(outcomes[..], [Outcome::Panicked(0)]));
        assert!(bench.fail("192.0.2.1", 1).is_none());
        assert!(matches!(
            bench.fail("192.0.2.1", 1),
            Some(Outcome::Made(_, 0))
        ));
    }

    #[test]
    fn restores_what_holds_and_the_escalation_of_what_has_ended() {
        let mut first = bench();
        let ended = first.block("192.0.2.1", 6);
        first.block("192.0.2.3", 6);
        first.elapsed += MINUTE * 15;
        let escalated = first.block("192.0.2.1", 6);
        let held = first.block("192.0.2.2", 6);
        let listed = first.block("192.0.2.3", 6);
        let stored = [&ended, &escalated, &held, &listed];

        let never = NeverBlock::new().network("192.0.2.3/32".parse::<ipnet::IpNet>().unwrap());
        let mut second = Bench::new(vec![Scenario::failed_authentications()], never);
        second.elapsed = first.elapsed + MINUTE * 20;
        let now = second.now();
        assert_eq!(held.remaining(now), Duration::ZERO);
        let stored: Vec<_> = stored.map(|decision| (**decision).clone()).into();
        assert_eq!(second.decider.restore(stored, now), 1);
        let restored = second.blocks.of_target(&escalated.target, now).unwrap();
        assert_eq!(restored.remaining(now), MINUTE * 10);
        assert_eq!(restored.id, escalated.id);
        second.elapsed += MINUTE * 10;
        assert_eq!(second.block("192.0.2.1", 6).escalation, 2);
        assert_eq!(second.block("192.0.2.2", 6).escalation, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]
        #[test]
        fn whatever_happens_a_never_block_address_is_never_blocked(
            events in prop::collection::vec((0u8..6, any::<bool>(), 0u64..20), 1_000),
        ) {
            let never = NeverBlock::new()
                .network("192.0.2.0/31".parse::<ipnet::IpNet>().unwrap())
                .network("2001:db8::1/128".parse::<ipnet::IpNet>().unwrap());
            let addresses = [
                "192.0.2.0", "::ffff:192.0.2.1", "2001:db8::1", // listed
                "192.0.2.2", "2001:db8::2", "2001:db8:0:1::1",
            ].map(|text| text.parse::<IpAddr>().unwrap());
            let scenarios = vec![first_failure_blocks(), Scenario::limit_refusals()];
            let mut bench = Bench::new(scenarios, never.clone());
            let clock = crate::ManualClock::new(START);
            let guard = crate::Guard::new(Arc::clone(&bench.blocks), never, Arc::new(clock.clone()));
            let mut blocked = 0;
            for (which, failure, pause) in events {
                bench.elapsed += Duration::from_secs(pause);
                clock.advance(Duration::from_secs(pause));
                let kind = if failure { SignalKind::AuthFailed } else { SignalKind::RateLimited };
                bench.show(Signal::new(kind).address(addresses[usize::from(which)]));
                for address in &addresses[..3] {
                    prop_assert!(guard.address(*address).is_none());
                }
                blocked += usize::from(addresses[3..].iter().any(|a| guard.address(*a).is_some()));
                bench.decider.expire(bench.now());
            }
            prop_assert!(blocked > 0);
        }
    }
}
