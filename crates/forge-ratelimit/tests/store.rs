//! What every store must do, asked of each of them.

use std::num::NonZeroU32;
use std::time::Duration;

use forge_ratelimit::{
    Adjustment, Charge, Key, KeyClass, ManualClock, MemoryStore, PolicyId, Quota, Store, Verdict,
    Verdicts,
};

const ONE: PolicyId = PolicyId::of("one");
const TWO: PolicyId = PolicyId::of("two");

/// Slow enough that nothing is regained while a test runs.
fn slow(burst: u32) -> Quota {
    Quota::per_hour(1, burst).unwrap()
}

fn user(name: &str, burst: u32) -> Charge {
    Charge::new(ONE, Key::user(name), slow(burst))
}

async fn charge(store: &impl Store, charges: &[Charge]) -> Verdicts {
    let mut verdicts = Verdicts::new();
    if store.charge_now(charges, &mut verdicts) {
        return verdicts;
    }
    store.charge(charges).await.expect("a verdict")
}

async fn one(store: &impl Store, of: &Charge) -> Verdict {
    charge(store, std::slice::from_ref(of)).await[0]
}

async fn adjust(store: &impl Store, charge: &Charge, adjustment: Adjustment) -> Verdict {
    store.adjust(charge, adjustment).await.expect("a verdict")
}

/// `tick` lets a time of its own choosing pass, where that does not pass by itself.
async fn fulfils_the_contract(store: impl Store, tick: impl Fn()) {
    nothing_to_charge_is_no_question(&store).await;
    admits_the_burst_and_says_what_is_left(&store).await;
    charges_all_or_nothing(&store).await;
    a_shadow_counts_and_has_no_say(&store).await;
    weighs(&store).await;
    keeps_policies_and_keys_apart(&store).await;
    a_debt_outlives_a_change_of_quota(&store).await;
    a_debt_from_a_larger_bucket_is_no_more_than_the_whole_of_a_smaller(&store, tick).await;
    adjusts(&store).await;
    blocks(&store).await;
}

async fn nothing_to_charge_is_no_question(store: &impl Store) {
    assert!(charge(store, &[]).await.is_empty());
}

async fn admits_the_burst_and_says_what_is_left(store: &impl Store) {
    let charge = user("burst", 3);
    for left in (0..3).rev() {
        let verdict = one(store, &charge).await;
        assert!(verdict.allowed);
        assert_eq!(verdict.remaining, left);
        let hour = Duration::from_secs(3600);
        assert!(verdict.wait <= hour && verdict.wait > hour - Duration::from_secs(60));
    }
    for _ in 0..3 {
        let verdict = one(store, &charge).await;
        assert!(!verdict.allowed && !verdict.blocked);
        assert_eq!(verdict.remaining, 0);
        assert!(verdict.wait > Duration::from_secs(3500), "{verdict:?}");
    }
}

async fn charges_all_or_nothing(store: &impl Store) {
    let address = Key::address([192, 0, 2, 1].into());
    let both = [user("all", 1), Charge::new(TWO, address, slow(10))];
    let verdicts = charge(store, &both).await;
    assert_eq!([verdicts[0].remaining, verdicts[1].remaining], [0, 9]);
    for _ in 0..5 {
        let verdicts = charge(store, &both).await;
        assert_eq!([verdicts[0].allowed, verdicts[1].allowed], [false, true]);
        assert_eq!(
            verdicts[1].remaining, 9,
            "a refusal charges no other policy"
        );
    }
    assert_eq!(one(store, &both[1]).await.remaining, 8);
}

async fn a_shadow_counts_and_has_no_say(store: &impl Store) {
    let shadow = user("shadow", 1).shadow(true);
    let both = [shadow, Charge::new(TWO, Key::user("shadow"), slow(3))];
    for expected in [[true, true], [false, true], [false, true], [false, false]] {
        let verdicts = charge(store, &both).await;
        assert_eq!([verdicts[0].allowed, verdicts[1].allowed], expected);
    }
}

async fn weighs(store: &impl Store) {
    let of = |weight| user("weight", 10).weight(NonZeroU32::new(weight).unwrap());
    assert_eq!(one(store, &of(7)).await.remaining, 3);
    let refused = one(store, &of(4)).await;
    assert_eq!((refused.allowed, refused.remaining), (false, 3));
    assert_eq!(one(store, &of(3)).await.remaining, 0);
}

async fn keeps_policies_and_keys_apart(store: &impl Store) {
    let keys = [
        Key::user("7"),
        Key::session("7"),
        Key::api_key("7"),
        Key::tool("7"),
        Key::new(KeyClass::Other("user"), b"7"),
        Key::new(KeyClass::Other("team"), b"7"),
        Key::user("7").and(&Key::tool("7")),
        Key::user("x".repeat(1000)),
        Key::user("x".repeat(1001)),
        Key::user([0]),
        Key::user([0, 0]),
    ];
    for key in keys {
        for policy in [ONE, TWO] {
            let charge = Charge::new(policy, key.clone(), slow(1));
            assert!(one(store, &charge).await.allowed, "{key:?}");
            assert!(!one(store, &charge).await.allowed, "{key:?}");
        }
    }
}

async fn a_debt_outlives_a_change_of_quota(store: &impl Store) {
    for _ in 0..5 {
        one(store, &user("reload", 10)).await;
    }
    assert_eq!(one(store, &user("reload", 8)).await.remaining, 2);
    // The debt of six is no more than the whole of a smaller bucket.
    let narrow = one(store, &user("reload", 2)).await;
    assert_eq!((narrow.allowed, narrow.remaining), (false, 0));
    assert!(narrow.wait <= Duration::from_secs(3600));
}

async fn a_debt_from_a_larger_bucket_is_no_more_than_the_whole_of_a_smaller(
    store: &impl Store,
    tick: impl Fn(),
) {
    // An hour of debt, then a bucket that is full within a second.
    one(store, &user("shrunk", 1)).await;
    let fast = Quota::per_second(20, 20).unwrap();
    let all = Charge::new(ONE, Key::user("shrunk"), fast).weight(NonZeroU32::new(20).unwrap());
    let refused = one(store, &all).await;
    assert_eq!((refused.allowed, refused.remaining), (false, 0));
    assert!(refused.wait <= Duration::from_secs(1), "{refused:?}");
    let began = std::time::Instant::now();
    while !one(store, &all).await.allowed {
        assert!(began.elapsed() < Duration::from_secs(60), "still refused");
        tick();
        tokio::task::yield_now().await;
    }
}

async fn adjusts(store: &impl Store) {
    let charge = user("adjust", 5);
    let peek = adjust(store, &charge, Adjustment::Peek).await;
    assert_eq!((peek.remaining, peek.wait), (5, Duration::ZERO));
    one(store, &charge).await;
    one(store, &charge).await;
    assert_eq!(adjust(store, &charge, Adjustment::Peek).await.remaining, 3);
    assert_eq!(
        adjust(store, &charge, Adjustment::Refund).await.remaining,
        4
    );
    let three = charge.clone().weight(NonZeroU32::new(3).unwrap());
    assert_eq!(
        adjust(store, &three, Adjustment::Penalize).await.remaining,
        1
    );
    let drained = adjust(store, &three, Adjustment::Penalize).await;
    assert_eq!((drained.allowed, drained.remaining), (false, 0));
    assert!(!one(store, &charge).await.allowed);
    let full = adjust(store, &charge, Adjustment::Reset).await;
    assert_eq!((full.allowed, full.remaining), (true, 5));
    // More than was paid is not given back.
    assert_eq!(adjust(store, &three, Adjustment::Refund).await.remaining, 5);
    assert_eq!(one(store, &charge).await.remaining, 4);
}

async fn blocks(store: &impl Store) {
    let charge = user("block", 5);
    let minute = Duration::from_secs(60);
    let blocked = adjust(store, &charge, Adjustment::Block(minute)).await;
    assert!(blocked.blocked && !blocked.allowed);
    let verdict = one(store, &charge).await;
    assert!(verdict.blocked && !verdict.allowed);
    assert!(verdict.wait <= minute && verdict.wait > Duration::from_secs(50));
    let still = adjust(store, &charge, Adjustment::Refund).await;
    assert!(still.blocked, "a refund lifts no block");
    let free = adjust(store, &charge, Adjustment::Reset).await;
    assert_eq!((free.allowed, free.remaining), (true, 5));
    assert!(one(store, &charge).await.allowed);
}

#[tokio::test]
async fn memory_fulfils_the_contract() {
    fulfils_the_contract(MemoryStore::new(1000), || {}).await;
    let clock = ManualClock::new();
    let store = MemoryStore::with_clock(1000, clock.clone());
    fulfils_the_contract(store, || clock.advance(Duration::from_millis(10))).await;
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn redis_fulfils_the_contract() {
    use forge_ratelimit::RedisStore;

    let Some(server) = test_support::require(test_support::Redis::start()) else {
        return;
    };
    let store = RedisStore::builder(server.url(), b"a secret of the tests")
        .deadline(Duration::from_secs(10))
        .build()
        .unwrap();
    store.connect();
    let probe = user("probe", 1000);
    while store.charge(std::slice::from_ref(&probe)).await.is_err() {
        tokio::task::yield_now().await;
    }
    fulfils_the_contract(store, || {}).await;
}
