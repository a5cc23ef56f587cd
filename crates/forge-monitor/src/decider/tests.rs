//! What the core decides, by signals and a clock alone.

use super::*;
use crate::signal::{SignalClass, SignalKind};
use proptest::prelude::*;
use std::net::IpAddr;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);
const MINUTE: Duration = Duration::from_secs(60);

struct Bench {
    decider: Decider,
    active: Arc<Active>,
    elapsed: Duration,
}

impl Bench {
    fn new(scenarios: Vec<Scenario>, never_block: NeverBlock) -> Self {
        let active = Arc::new(Active::default());
        let limits = Limits {
            max_block: MINUTE * 60,
            jitter: 0,
            escalation_memory: MINUTE * 600,
            blocks_per_minute: 5,
            max_blocks: 50,
            strangers: 4096,
        };
        let decider = Decider::new(scenarios, never_block, Arc::clone(&active), limits);
        Self {
            decider,
            active,
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
            Some(Outcome::Met(0, _, decisions)) => Arc::clone(&decisions[0]),
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
    assert!(
        bench
            .active
            .blocks
            .of_target(&decision.target, START)
            .is_some()
    );
}

#[test]
fn ten_limit_refusals_pass_and_the_eleventh_decides() {
    let mut bench = Bench::new(vec![Scenario::limit_refusals()], NeverBlock::new());
    let refused = || Signal::new(SignalKind::RateLimited).address(IpAddr::from([192, 0, 2, 1]));
    for _ in 0..10 {
        assert!(bench.show(refused()).is_empty());
    }
    assert!(matches!(bench.show(refused())[..], [Outcome::Met(..)]));
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
    assert_eq!(bench.active.blocks.len(), 1);
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
    assert_eq!(bench.active.blocks.len(), 5);
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
        matches!(outcome, Some(Outcome::Simulated(..))),
        "{outcome:?}"
    );
    assert_eq!(bench.active.blocks.len(), 0);
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
    assert!(bench.active.blocks.of_user("7", || START).is_some());
    assert!(bench.active.blocks.of_user("admin", || START).is_none());
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
    .threshold(2)
    .build()
    .unwrap();
    let scenarios = vec![touchy, Scenario::failed_authentications()];
    let mut bench = Bench::new(scenarios, NeverBlock::new());
    bench.fail("192.0.2.1", 2);
    let outcomes = bench.show(Signal::new(SignalKind::AdminAct));
    assert!(matches!(outcomes[..], [Outcome::Panicked(0)]));
    // All that is left is when the address was seen last.
    assert!(bench.fail("192.0.2.1", 1).is_none());
    assert!(matches!(
        bench.fail("192.0.2.1", 1),
        Some(Outcome::Met(0, ..))
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
    let restored = second
        .active
        .blocks
        .of_target(&escalated.target, now)
        .unwrap();
    assert_eq!(restored.remaining(now), MINUTE * 10);
    assert_eq!(restored.id, escalated.id);
    second.elapsed += MINUTE * 10;
    assert_eq!(second.block("192.0.2.1", 6).escalation, 2);
    assert_eq!(second.block("192.0.2.2", 6).escalation, 1);
}

fn built(scenario: Scenario) -> Bench {
    Bench::new(vec![scenario], NeverBlock::new())
}

fn is_met(outcomes: &[Outcome]) -> bool {
    outcomes.iter().any(|of| matches!(of, Outcome::Met(..)))
}

fn call(tool: &str) -> Signal {
    let tool = tool.to_owned().into();
    Signal::new(SignalKind::ToolCall { tool }).user("7")
}

#[test]
fn many_users_from_one_address_are_stuffed_credentials() {
    let mut bench = built(Scenario::credential_stuffing());
    let fail = |bench: &mut Bench, user: u32| {
        is_met(&bench.show(failed("192.0.2.1").user(user.to_string())))
    };
    for _ in 0..10 {
        assert!(!fail(&mut bench, 1), "one user, however often");
    }
    for user in 2..=4 {
        assert!(!fail(&mut bench, user));
    }
    assert!(
        !is_met(&bench.show(failed("192.0.2.1"))),
        "nobody in particular"
    );
    assert!(!fail(&mut bench, 4));
    // Of who was seen first twelve bits are kept: once in a thousand times another looks alike.
    assert!((5..=8).any(|user| fail(&mut bench, user)));
    assert_eq!(bench.active.blocks.len(), 1);
}

#[test]
fn different_ones_count_only_within_the_window() {
    let mut bench = built(Scenario::credential_stuffing());
    for user in 0..20 {
        let outcomes = bench.show(failed("192.0.2.1").user(user.to_string()));
        assert!(!is_met(&outcomes), "{user}");
        bench.elapsed += MINUTE * 10 / 4;
    }
}

#[test]
fn one_user_from_many_addresses_is_an_alert_and_no_block() {
    let mut bench = built(Scenario::password_spraying());
    let mut met = 0;
    // More than ten, since one of them may look like the first.
    for last in 0..13 {
        let outcomes = bench.show(failed(&format!("192.0.2.{last}")).user("7"));
        met += usize::from(is_met(&outcomes));
    }
    assert_eq!(met, 1);
    assert_eq!(bench.active.blocks.len(), 0);
}

#[test]
fn a_bucket_runs_over_by_score_and_forgives_with_time() {
    let mut bench = built(Scenario::suspicious_requests());
    let suspicious = |bench: &mut Bench, score| {
        let signal = Signal::new(SignalKind::SuspiciousRequest { score });
        is_met(&bench.show(signal.address(IpAddr::from([192, 0, 2, 1]))))
    };
    for _ in 0..4 {
        assert!(!suspicious(&mut bench, 5));
    }
    bench.elapsed += MINUTE;
    assert!(!suspicious(&mut bench, 2), "two were forgiven");
    assert!(suspicious(&mut bench, 1));
    bench.elapsed += MINUTE * 60;
    assert!(!suspicious(&mut bench, 20));
    bench.elapsed += MINUTE * 10;
    assert!(!suspicious(&mut bench, 20));
}

#[test]
fn reading_then_sending_is_met_in_that_order_and_time_alone() {
    let mut bench = built(Scenario::tool_read_then_send());
    let show = |bench: &mut Bench, tool| is_met(&bench.show(call(tool)));
    assert!(!show(&mut bench, "send_mail"));
    assert!(!show(&mut bench, "read_file"));
    assert!(!show(&mut bench, "add_numbers"));
    bench.elapsed += MINUTE * 2;
    assert!(!show(&mut bench, "send_mail"), "too late");
    assert!(!show(&mut bench, "read_file"));
    bench.elapsed += MINUTE;
    assert!(!show(&mut bench, "read_file"));
    bench.elapsed += MINUTE;
    assert!(show(&mut bench, "send_mail"), "the later reading counts");
    assert!(!show(&mut bench, "send_mail"), "it begins anew");
}

#[test]
fn a_sequence_may_need_a_step_several_times_and_can_be_reset() {
    let broken_in = Scenario::sequence("broken_in")
        .then_times(3, SignalClass::AuthFailed)
        .then(SignalClass::AuthOk)
        .reset_on(SignalClass::AdminAct)
        .build()
        .unwrap();
    let mut bench = built(broken_in);
    let show = |bench: &mut Bench, kind: SignalKind| {
        is_met(&bench.show(Signal::new(kind).address(IpAddr::from([192, 0, 2, 1]))))
    };
    for _ in 0..2 {
        assert!(!show(&mut bench, SignalKind::AuthFailed));
    }
    assert!(!show(&mut bench, SignalKind::AuthOk));
    assert!(!show(&mut bench, SignalKind::AuthFailed));
    assert!(!show(&mut bench, SignalKind::AdminAct));
    assert!(!show(&mut bench, SignalKind::AuthOk));
    for _ in 0..3 {
        assert!(!show(&mut bench, SignalKind::AuthFailed));
    }
    assert!(show(&mut bench, SignalKind::AuthOk));
}

#[test]
fn only_the_first_use_of_a_tool_is_news() {
    let mut bench = built(Scenario::tool_first_use());
    bench.decider.prime(&call("known"), Duration::ZERO);
    assert!(!is_met(&bench.show(call("known"))));
    assert!(is_met(&bench.show(call("new"))));
    assert!(!is_met(&bench.show(call("new"))));
    assert!(is_met(&bench.show(call("new").user("8"))));
    bench.elapsed += MINUTE * 60 * 24 * 30;
    assert!(is_met(&bench.show(call("new"))));
}

#[test]
fn a_component_that_is_down_is_met_and_over_when_it_is_up() {
    let mut bench = built(Scenario::health_degradation());
    let show = |bench: &mut Bench, status| {
        let component = "database".into();
        bench.show(Signal::new(SignalKind::HealthChanged { component, status }))
    };
    use crate::HealthStatus;
    assert!(is_met(&show(&mut bench, HealthStatus::Down)));
    let over = show(&mut bench, HealthStatus::Up);
    let Outcome::Over(0, target) = &over[0] else {
        panic!("{over:?}");
    };
    assert_eq!(target.to_string(), "component database");
}

#[test]
fn decides_what_the_scenario_says_and_holds_it_for_its_time() {
    let scenario = Scenario::count("x", SignalClass::SessionAnomaly)
        .scope(Scope::User)
        .threshold(0)
        .respond([
            Action::RevokeSessions,
            Action::RequireSignIn,
            Action::TightenLimit,
        ])
        .build()
        .unwrap();
    let mut bench = built(scenario);
    let anomaly = || Signal::new(SignalKind::SessionAnomaly).user("7");
    let outcomes = bench.show(anomaly());
    let [Outcome::Met(0, _, decisions)] = &outcomes[..] else {
        panic!("{outcomes:?}");
    };
    let lengths: Vec<_> = decisions
        .iter()
        .map(|of| (of.action, of.remaining(START).as_secs()))
        .collect();
    let expected = [
        (Action::RevokeSessions, 0),
        (Action::RequireSignIn, 900),
        (Action::TightenLimit, 900),
    ];
    assert_eq!(lengths, expected);
    assert!(bench.active.blocks.of_user("7", || START).is_none());
    assert!(bench.active.sign_in.of_user("7", || START).is_some());
    // What is done once is done again.
    let again = bench.show(anomaly());
    let [Outcome::Met(0, _, decisions)] = &again[..] else {
        panic!("{again:?}");
    };
    assert_eq!(decisions.len(), 1);
}

#[test]
fn who_is_adopted_from_another_process_is_blocked_here_too_unless_listed() {
    let never = NeverBlock::new().network("192.0.2.3/32".parse::<ipnet::IpNet>().unwrap());
    let mut bench = Bench::new(vec![Scenario::failed_authentications()], never);
    let block = |last: u8| {
        let target = Target::of_address(IpAddr::from([192, 0, 2, last]));
        Arc::new(Decision::block(
            "failed_authentications",
            target,
            START,
            START + MINUTE,
        ))
    };
    assert!(bench.decider.adopt(&block(1), START));
    assert!(!bench.decider.adopt(&block(1), START));
    assert!(!bench.decider.adopt(&block(3), START));
    assert!(!bench.decider.adopt(&block(4), START + MINUTE));
    bench.elapsed += MINUTE;
    assert_eq!(bench.block("192.0.2.1", 6).escalation, 1);
}

#[test]
fn an_attacker_is_caught_in_a_flood_of_a_million_addresses_within_16_mib() {
    let active = Arc::new(Active::default());
    let limits = Limits {
        max_block: MINUTE * 60,
        jitter: 0,
        escalation_memory: MINUTE * 600,
        blocks_per_minute: 60,
        max_blocks: 50,
        strangers: 1 << 20,
    };
    let scenarios = Scenario::built_in();
    let mut decider = Decider::new(scenarios, NeverBlock::new(), Arc::clone(&active), limits);
    let attacker: IpAddr = [203, 0, 113, 9].into();
    let mut outcomes = Vec::new();
    let mut met = Vec::new();
    // Six failures among a million strangers, each of which fails once, as another user.
    for n in 0..1_000_000u32 {
        let now = START + Duration::from_micros(u64::from(n) * 500);
        let elapsed = Duration::from_micros(u64::from(n) * 500);
        let from = |address| Signal::new(SignalKind::AuthFailed).address(address);
        let stranger = IpAddr::from((0x0b00_0000 + n).to_be_bytes());
        let user = (n % 1000).to_string();
        decider.observe(&from(stranger).user(user), elapsed, now, &mut outcomes);
        if n % 160_000 == 100_000 {
            decider.observe(&from(attacker), elapsed, now, &mut outcomes);
        }
        met.extend(outcomes.drain(..).filter_map(|of| match of {
            Outcome::Met(_, target @ Target::Network(_), _) => Some((n, target)),
            _ => None,
        }));
    }
    assert_eq!(met, [(900_000, Target::of_address(attacker))]);
    let bytes = decider.bytes();
    assert!(bytes <= 16 << 20, "{bytes}");
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
        let guard = crate::Guard::new(Arc::clone(&bench.active), never, Arc::new(clock.clone()));
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
