//! The header fields, read back by a parser of structured fields (RFC 9651).
#![cfg(feature = "axum")]

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use forge_ratelimit::{
    Key, ManualClock, MemoryStore, Policy, Quota, RateLimitLayer, RateLimiter, RateLimiterBuilder,
};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use proptest::prelude::*;
use sfv::{BareItem, ListEntry, Parser};
use tower::ServiceExt;

fn policy(name: &'static str, quota: Quota) -> Policy {
    Policy::new(name, quota, |_: &Parts| Some(Key::global()))
}

fn limiter(clock: &ManualClock) -> RateLimiterBuilder<MemoryStore<ManualClock>> {
    RateLimiter::builder(MemoryStore::with_clock(1000, clock.clone()))
}

async fn call(limiter: &RateLimiter<MemoryStore<ManualClock>>) -> (StatusCode, HeaderMap) {
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(RateLimitLayer::new(limiter.clone()));
    let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    (response.status(), response.headers().clone())
}

type Item = (String, Vec<(String, i64)>);

/// The items of a list field: the name, then its parameters, all of which are integers.
fn items(headers: &HeaderMap, field: &str) -> Vec<Item> {
    let lines: Vec<_> = headers
        .get_all(field)
        .iter()
        .map(|line| line.to_str().unwrap())
        .collect();
    let list = Parser::new(&lines.join(", "))
        .parse::<sfv::List>()
        .expect("a list");
    let item = |entry| {
        let ListEntry::Item(item) = entry else {
            panic!("no inner lists")
        };
        let BareItem::String(name) = item.bare_item else {
            panic!("a name is a string")
        };
        let parameters = item.params.into_iter().map(|(name, value)| {
            let BareItem::Integer(value) = value else {
                panic!("{name} is an integer")
            };
            (name.to_string(), value.into())
        });
        (name.as_str().to_owned(), parameters.collect())
    };
    list.into_iter().map(item).collect()
}

fn item(name: &str, parameters: &[(&str, i64)]) -> Item {
    let parameters = parameters
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value));
    (name.to_owned(), parameters.collect())
}

#[tokio::test]
async fn every_limited_response_tells_all_its_policies_in_one_list() {
    let clock = ManualClock::new();
    let limiter = limiter(&clock)
        .policy(policy("web", Quota::WEB))
        .policy(policy("everybody", Quota::per_hour(2, 2).unwrap()))
        .policy(policy("quiet", Quota::ADMIN).announced(false))
        .build()
        .unwrap();
    let policies = [
        item("web", &[("q", 60), ("w", 60)]),
        item("everybody", &[("q", 2), ("w", 3600)]),
    ];
    let expected = [
        (StatusCode::OK, (9, Some(1)), (1, 1800)),
        (StatusCode::OK, (8, Some(1)), (0, 1800)),
        // Not charged: what is left stays. `Retry-After` is for the policy that refuses, and so is
        // the only window told.
        (StatusCode::TOO_MANY_REQUESTS, (8, None), (0, 1800)),
    ];
    for (expected, (web, web_t), (all, all_t)) in expected {
        let (status, headers) = call(&limiter).await;
        assert_eq!(status, expected);
        assert_eq!(items(&headers, "ratelimit-policy"), policies);
        assert_eq!(
            items(&headers, "ratelimit"),
            [
                match web_t {
                    Some(t) => item("web", &[("r", web), ("t", t)]),
                    None => item("web", &[("r", web)]),
                },
                item("everybody", &[("r", all), ("t", all_t)]),
            ]
        );
        assert_eq!(headers.get_all("ratelimit").iter().count(), 1);
    }
}

#[tokio::test]
async fn the_older_fields_tell_of_the_policy_with_the_least_left() {
    let clock = ManualClock::new();
    let builder = || {
        limiter(&clock)
            .policy(policy("web", Quota::WEB))
            .policy(policy("everybody", Quota::per_hour(3, 3).unwrap()))
    };
    let (_, plain) = call(&builder().build().unwrap()).await;
    assert!(!plain.contains_key("x-ratelimit-limit"));
    let (_, headers) = call(&builder().legacy_fields(true).build().unwrap()).await;
    assert_eq!(headers["x-ratelimit-limit"], "3");
    assert_eq!(headers["x-ratelimit-remaining"], "2");
    assert_eq!(headers["x-ratelimit-reset"], "1200");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the quota: the fields parse, `Retry-After` is whole, at least one and never before
    /// `t`, and who waits exactly that long is admitted.
    #[test]
    fn who_waits_retry_after_is_admitted(
        quotas in prop::collection::vec((1u32..200, 1u64..7_200_000, 1u32..6), 1..4),
        pauses in prop::collection::vec(0u64..3_000, 1..40),
    ) {
        let clock = ManualClock::new();
        let names = ["one", "two", "three"];
        let limiter = quotas
            .iter()
            .zip(names)
            .fold(limiter(&clock), |builder, ((rate, period, burst), name)| {
                let period = Duration::from_millis(*period);
                builder.policy(policy(name, Quota::new(*rate, period, *burst).unwrap()))
            })
            .build()
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for pause in pauses {
            clock.advance(Duration::from_millis(pause));
            let (status, headers) = runtime.block_on(call(&limiter));
            let told = items(&headers, "ratelimit");
            prop_assert_eq!(told.len(), quotas.len());
            prop_assert_eq!(items(&headers, "ratelimit-policy").len(), quotas.len());
            if status == StatusCode::TOO_MANY_REQUESTS {
                let after: u64 = headers["retry-after"].to_str().unwrap().parse().unwrap();
                prop_assert!(after >= 1);
                // No window that is told ends later, and one is told at least.
                let windows = told.iter().flat_map(|(_, parameters)| parameters.get(1));
                prop_assert!(windows.clone().count() >= 1);
                for (name, t) in windows {
                    prop_assert_eq!(name, "t");
                    prop_assert!(*t <= after as i64);
                }
                clock.advance(Duration::from_secs(after));
                prop_assert_eq!(runtime.block_on(call(&limiter)).0, StatusCode::OK);
            }
        }
    }
}
