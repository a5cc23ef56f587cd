//! What the tests of a store share.

pub(crate) use std::sync::Arc;

pub(crate) use forge_audit::{
    Actor, AuditLog, AuditStore, Broken, Chain, Count, Event, Fault, Filter, Head, Kind,
    ManualClock, Order, Outcome, Query, QueryError, Record, Retention, Severity, SignedNote,
    Source, StoreError, Stored, Timestamp, VerifyError, prove_consistency, prove_inclusion,
    tree_of, verify_store, verify_with,
};
pub(crate) use serde_json::json;

pub(crate) type Store = Arc<dyn AuditStore>;

pub(crate) fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// The next `count` records of a log in which much varies.
pub(crate) fn records(chain: &mut Chain, count: u64) -> Vec<Record> {
    let first = chain.head().seq + 1;
    (first..first + count)
        .map(|n| {
            let mut event = Event::new(Kind::ALL[(n % 14) as usize], format!("act.{}", n % 3))
                .severity(Severity::ALL[(n % 4) as usize])
                .outcome(Outcome::ALL[(n % 4) as usize])
                .resource(format!("thing/{}", n % 5))
                .request_id(format!("r-{}", n / 2))
                .details(&json!({ "n": n, "text": "ü\u{0}\n" }));
            if !n.is_multiple_of(6) {
                let address = format!("192.0.2.{}", n % 7).parse().unwrap();
                event = event
                    .actor(Actor::new((n % 6).to_string()).login("octo"))
                    .source(Source::new().address(address).user_agent("curl"));
            }
            // Every second pair bears the same time.
            chain.append(event, at(1000 * (n as i64 / 2)))
        })
        .collect()
}

pub(crate) fn filter(set: impl FnOnce(&mut Filter)) -> Filter {
    let mut filter = Filter::default();
    set(&mut filter);
    filter
}

pub(crate) async fn filled(store: &Store, count: u64) -> Chain {
    let mut chain = Chain::new();
    store
        .append(records(&mut chain, count).into())
        .await
        .unwrap();
    chain
}

/// A log in `store` over 20 000 microseconds, and how to ask what verifies.
pub(crate) async fn log(store: &Store, count: u64) -> (AuditLog, ManualClock) {
    filled(store, count).await;
    let clock = ManualClock::new(at(1_000_000));
    let log = AuditLog::builder(Arc::clone(store)).clock(clock.clone());
    (log.open().await.unwrap(), clock)
}
