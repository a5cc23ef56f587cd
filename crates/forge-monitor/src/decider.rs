//! The core: signals and the time in, outcomes out, no I/O.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::blocks::BlockSet;
use crate::clock::Timestamp;
use crate::decision::{Action, Decision, Target, escalated};
use crate::never_block::NeverBlock;
use crate::on_event::DropReason;
use crate::scenario::{Detector, Hashed, Hasher, LaneKind, Observed, Scenario, Scope};
use crate::seen::{Earlier, Seen};
use crate::signal::Signal;

/// How many repeat offenders are remembered.
const MAX_OFFENDERS: usize = 65_536;

/// What bounds the decisions, beside the scenarios.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The longest time that escalation leads to.
    pub(crate) max_block: Duration,
    /// How much shorter a repeated decision may be, in percent.
    pub(crate) jitter: u8,
    /// For how long after its end a decision makes the next one longer.
    pub(crate) escalation_memory: Duration,
    /// New decisions within any minute.
    pub(crate) blocks_per_minute: usize,
    /// Decisions of one kind held at once.
    pub(crate) max_blocks: usize,
    /// How many addresses and users that were seen once are remembered.
    pub(crate) strangers: usize,
}

/// The decisions that hold, by what they do.
#[derive(Debug, Default)]
pub(crate) struct Active {
    pub(crate) blocks: BlockSet,
    pub(crate) tightened: BlockSet,
    pub(crate) sign_in: BlockSet,
}

impl Active {
    /// Where decisions of that kind are held; nowhere those that are done once.
    pub(crate) fn set(&self, action: Action) -> Option<&BlockSet> {
        match action {
            Action::Block => Some(&self.blocks),
            Action::TightenLimit => Some(&self.tightened),
            Action::RequireSignIn => Some(&self.sign_in),
            Action::RevokeSessions => None,
        }
    }

    pub(crate) fn sets(&self) -> [&BlockSet; 3] {
        [&self.blocks, &self.tightened, &self.sign_in]
    }
}

/// What came of a signal.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A scenario is met: what was decided and is enforced, nothing where it only alerts.
    Met(usize, Target, Vec<Arc<Decision>>),
    /// Would have been met, and decided.
    Simulated(usize, Target, Vec<Arc<Decision>>),
    /// Met, but all that is due holds already.
    Suppressed,
    /// Met, but one of the bounds is reached.
    Dropped(usize, Target, DropReason),
    /// What the scenario is about is over.
    Over(usize, Target),
    /// The scenario panicked.
    Panicked(usize),
    /// State that still meant something had to go.
    Evicted,
}

pub(crate) struct Decider {
    detectors: Vec<Detector>,
    hasher: Hasher,
    seen: Seen,
    /// What is remembered of a lane while one signal is looked at.
    lanes: Vec<Lane>,
    kinds: Vec<LaneKind>,
    never_block: NeverBlock,
    active: Arc<Active>,
    limits: Limits,
    offenders: HashMap<Offender, Offence>,
    /// When the decisions of the last minute were made, on the monotonic clock.
    recent: VecDeque<Duration>,
    /// The latest monotonic time in microseconds: signals of several threads may arrive slightly
    /// out of order.
    latest: u64,
}

type Offender = (Arc<str>, Action, Target);

#[derive(Clone, Copy, Debug, Default)]
enum Lane {
    /// No scenario of it was asked yet.
    #[default]
    Untouched,
    Asked {
        key: u64,
        member: u64,
        earlier: Option<Earlier>,
    },
    /// A decision began a new count.
    Cleared,
}

#[derive(Clone, Copy, Debug)]
struct Offence {
    escalation: u32,
    until: Timestamp,
}

impl Decider {
    pub(crate) fn new(
        scenarios: Vec<Scenario>,
        never_block: NeverBlock,
        active: Arc<Active>,
        limits: Limits,
    ) -> Self {
        let mut detectors: Vec<_> = scenarios.into_iter().map(Detector::new).collect();
        let kinds = assign_lanes(&mut detectors);
        Self {
            seen: Seen::new(if kinds.is_empty() {
                0
            } else {
                limits.strangers
            }),
            lanes: vec![Lane::Untouched; kinds.len()],
            kinds,
            detectors,
            hasher: Hasher::default(),
            never_block,
            active,
            limits,
            offenders: HashMap::new(),
            recent: VecDeque::new(),
            latest: 0,
        }
    }

    pub(crate) fn scenario(&self, index: usize) -> &Scenario {
        self.detectors[index].scenario()
    }

    /// The memory that what was seen takes, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        let tables: usize = self.detectors.iter().map(Detector::bytes).sum();
        self.seen.bytes() + tables
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
            .take(self.limits.max_blocks);
        for decision in held {
            if let Some(set) = self.active.set(decision.action) {
                set.insert([Arc::new(decision)]);
            }
        }
        self.active.sets().iter().map(|set| set.len()).sum()
    }

    /// Takes up a decision that another process made; whether it is new here.
    pub(crate) fn adopt(&mut self, decision: &Arc<Decision>, now: Timestamp) -> bool {
        let Some(set) = self.active.set(decision.action) else {
            return false;
        };
        let known = set
            .of_target(&decision.target, now)
            .is_some_and(|held| held.until >= decision.until);
        if known
            || !decision.is_active(now)
            || self.is_never_blocked(&decision.target)
            || set.len() >= self.limits.max_blocks
        {
            return false;
        }
        set.insert([Arc::clone(decision)]);
        self.remember(decision, now);
        true
    }

    /// Shows a signal of the past to the scenarios that tell the first from the later ones.
    pub(crate) fn prime(&mut self, signal: &Signal, elapsed: Duration) {
        let hashed = self.hasher.signal(signal);
        let now = micros(elapsed);
        for detector in &mut self.detectors {
            let primed = catch_unwind(AssertUnwindSafe(|| {
                if detector.scenario().is_about_firsts()
                    && let Some(place) = detector.concerns(&signal.kind, &hashed)
                {
                    detector.observe(&signal.kind, place, None, now);
                }
            }));
            if primed.is_err() {
                detector.restart();
            }
        }
    }

    /// Shows the signal to every scenario, at the monotonic time `elapsed` and the UTC time `now`.
    pub(crate) fn observe(
        &mut self,
        signal: &Signal,
        elapsed: Duration,
        now: Timestamp,
        outcomes: &mut Vec<Outcome>,
    ) {
        self.latest = self.latest.max(micros(elapsed));
        let hashed = self.hasher.signal(signal);
        let listed = Listed {
            address: signal
                .address
                .is_some_and(|address| self.never_block.contains(address)),
            user: signal
                .user
                .as_deref()
                .is_some_and(|user| self.never_block.contains_user(user)),
        };
        self.lanes.fill(Lane::Untouched);
        for index in 0..self.detectors.len() {
            // Matchers are the caller's code. What a panic may leave behind is this scenario's own
            // state, and that is thrown away.
            let looked = catch_unwind(AssertUnwindSafe(|| {
                self.look(index, signal, &hashed, listed, outcomes)
            }));
            match looked {
                Ok(None) => {}
                Ok(Some((key, observed))) => {
                    if observed.evicted {
                        outcomes.push(Outcome::Evicted);
                    }
                    if observed.met
                        && let Some(target) = self.detectors[index].scenario().by().target(signal)
                    {
                        outcomes.push(self.decide(index, key, target, elapsed, now));
                    }
                }
                Err(_) => {
                    self.detectors[index].restart();
                    outcomes.push(Outcome::Panicked(index));
                }
            }
        }
        for (number, lane) in self.lanes.iter().enumerate() {
            if let Lane::Asked { key, member, .. } = lane {
                self.seen.note(salted(*key, number), *member, self.latest);
            }
        }
    }

    /// Takes out the decisions that have ended.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Arc<Decision>> {
        let sets = self.active.sets();
        sets.iter().flat_map(|set| set.expire(now)).collect()
    }

    /// What holds for the target of that action.
    pub(crate) fn held(
        &self,
        action: Action,
        target: &Target,
        now: Timestamp,
    ) -> Option<Arc<Decision>> {
        let set = self.active.set(action)?;
        set.of_target(target, now)
    }

    /// Takes out one decision before its end. It was a mistake, so it does not count as an offence,
    /// and what was counted against its target is forgotten.
    pub(crate) fn lift(&mut self, id: Uuid, now: Timestamp) -> Option<Arc<Decision>> {
        let mut sets = self.active.sets().into_iter();
        let decision = sets
            .find_map(|set| set.remove(id))
            .filter(|decision| decision.is_active(now))?;
        let offender = offender(&decision);
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
        let key = self.hasher.target(&decision.target);
        for detector in &mut self.detectors {
            detector.clear(key);
        }
        for lane in 0..self.lanes.len() {
            self.seen.forget(salted(key, lane));
        }
        Some(decision)
    }

    /// What the signal does to the state of one scenario, with its key.
    fn look(
        &mut self,
        index: usize,
        signal: &Signal,
        hashed: &Hashed,
        listed: Listed,
        outcomes: &mut Vec<Outcome>,
    ) -> Option<(u64, Observed)> {
        let detector = &mut self.detectors[index];
        if detector.resets(&signal.kind)
            && let Some(key) = hashed.key(detector.scenario().by())
        {
            detector.clear(key);
            if let Some(lane) = detector.lane {
                self.seen.forget(salted(key, lane));
                self.lanes[lane] = Lane::Cleared;
            }
            if detector.scenario().has_end()
                && let Some(target) = detector.scenario().by().target(signal)
            {
                outcomes.push(Outcome::Over(index, target));
            }
            return None;
        }
        let (key, member) = detector.concerns(&signal.kind, hashed)?;
        let is_listed = match detector.scenario().by() {
            Scope::Address => listed.address,
            Scope::User => listed.user,
            Scope::Component => false,
        };
        if is_listed {
            return None;
        }
        let earlier = match detector.lane {
            None => None,
            Some(lane) => {
                if let Lane::Untouched = self.lanes[lane] {
                    let earlier = self.seen.earlier(salted(key, lane));
                    self.lanes[lane] = Lane::Asked {
                        key,
                        member: self.kinds[lane].member(hashed),
                        earlier,
                    };
                }
                match self.lanes[lane] {
                    Lane::Asked { earlier, .. } => earlier,
                    _ => None,
                }
            }
        };
        let observed = detector.observe(&signal.kind, (key, member), earlier, self.latest);
        Some((key, observed))
    }

    fn decide(
        &mut self,
        index: usize,
        key: u64,
        target: Target,
        elapsed: Duration,
        now: Timestamp,
    ) -> Outcome {
        let scenario = self.detectors[index].scenario().clone();
        let mut due = Vec::with_capacity(scenario.actions().len());
        for action in scenario.actions() {
            let held = self.active.set(*action);
            let holds = held.is_some_and(|set| set.of_target(&target, now).is_some());
            if !holds || scenario.is_simulated() {
                due.push(self.new_decision(&scenario, *action, &target, now));
            }
        }
        if scenario.is_simulated() {
            self.clear(index, key);
            return Outcome::Simulated(index, target, due);
        }
        if scenario.actions().is_empty() {
            self.clear(index, key);
            return Outcome::Met(index, target, due);
        }
        if due.is_empty() {
            self.clear(index, key);
            return Outcome::Suppressed;
        }
        if let Some(reason) = self.exhausted(elapsed, &due) {
            // The count stays, so that the next signal decides when there is room again.
            return Outcome::Dropped(index, target, reason);
        }
        self.clear(index, key);
        for decision in &due {
            self.recent.push_back(elapsed);
            self.remember(decision, now);
            if let Some(set) = self.active.set(decision.action) {
                set.insert([Arc::clone(decision)]);
            }
        }
        Outcome::Met(index, target, due)
    }

    fn new_decision(
        &self,
        scenario: &Scenario,
        action: Action,
        target: &Target,
        now: Timestamp,
    ) -> Arc<Decision> {
        let name = scenario.shared_name();
        let offence = self
            .offenders
            .get(&(Arc::clone(&name), action, target.clone()))
            .filter(|offence| offence.until + self.limits.escalation_memory > now);
        let escalation = offence.map_or(0, |offence| offence.escalation.saturating_add(1));
        let Limits {
            max_block, jitter, ..
        } = self.limits;
        let mut decision =
            Decision::new(action, name, target.clone(), now, now).escalation(escalation);
        // The low bits of a UUIDv7 are random.
        let chance = decision.id.as_u128() as u32;
        let length = escalated(scenario.holds_for(), escalation, max_block, jitter, chance);
        if self.active.set(action).is_some() {
            decision.until = now + length;
        }
        Arc::new(decision)
    }

    /// The count of a key begins anew.
    fn clear(&mut self, index: usize, key: u64) {
        self.detectors[index].clear(key);
        if let Some(lane) = self.detectors[index].lane {
            self.seen.forget(salted(key, lane));
            self.lanes[lane] = Lane::Cleared;
        }
    }

    fn exhausted(&mut self, elapsed: Duration, due: &[Arc<Decision>]) -> Option<DropReason> {
        const MINUTE: Duration = Duration::from_secs(60);
        while self
            .recent
            .front()
            .is_some_and(|&at| at.saturating_add(MINUTE) <= elapsed)
        {
            self.recent.pop_front();
        }
        let is_full = |decision: &Arc<Decision>| {
            let set = self.active.set(decision.action);
            set.is_some_and(|set| set.len() >= self.limits.max_blocks)
        };
        if self.recent.len() >= self.limits.blocks_per_minute {
            Some(DropReason::RateCap)
        } else if due.iter().any(is_full) {
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
        let offence = Offence {
            escalation: decision.escalation,
            until: decision.until,
        };
        self.offenders.insert(offender(decision), offence);
    }

    fn is_never_blocked(&self, target: &Target) -> bool {
        match target {
            Target::Network(network) => self.never_block.covers(network),
            Target::User(user) => self.never_block.contains_user(user),
            Target::Component(_) => true,
        }
    }
}

/// Whether the signal names somebody on the never-block list.
#[derive(Clone, Copy)]
struct Listed {
    address: bool,
    user: bool,
}

/// Scenarios that count the same share a lane.
fn assign_lanes(detectors: &mut [Detector]) -> Vec<LaneKind> {
    let mut lanes: Vec<LaneKind> = Vec::new();
    for detector in detectors {
        detector.lane = match detector.lane_kind() {
            None => None,
            Some(kind) => {
                let joined = lanes.iter_mut().position(|lane| lane.join(kind));
                Some(joined.unwrap_or_else(|| {
                    lanes.push(kind);
                    lanes.len() - 1
                }))
            }
        };
    }
    lanes
}

/// The key of a lane: another one for each.
fn salted(key: u64, lane: usize) -> u64 {
    key ^ (lane as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn offender(decision: &Decision) -> Offender {
    let scenario = Arc::clone(&decision.scenario);
    (scenario, decision.action, decision.target.clone())
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
