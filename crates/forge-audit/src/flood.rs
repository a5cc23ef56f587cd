//! Floods: many alike events become one that tells how many there were.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::json;

use crate::clock::Timestamp;
use crate::event::{Actor, Event, Source};
use crate::kind::{Kind, Outcome, Severity};

/// So many different sorts are told apart at once; what comes beyond is recorded each.
const MAX_SORTS: usize = 4096;

#[derive(Clone, PartialEq, Eq, Hash)]
struct Sort {
    kind: Kind,
    action: String,
    outcome: Outcome,
    actor: Actor,
    source: Source,
}

#[derive(Clone, Copy)]
struct Flood {
    /// When its window ends, on the monotonic clock.
    until: Duration,
    seen: u32,
    absorbed: u64,
    severity: Severity,
    first: Timestamp,
    last: Timestamp,
}

pub(crate) struct Floods {
    burst: u32,
    window: Duration,
    open: Mutex<HashMap<Sort, Flood>>,
}

impl Floods {
    pub(crate) fn new(burst: u32, window: Duration) -> Self {
        Self {
            burst: burst.max(1),
            window,
            open: Mutex::default(),
        }
    }

    /// Whether `event` is one of a flood; then it is counted, and need not be recorded.
    pub(crate) fn absorbs(&self, event: &Event, occurred: Timestamp, now: Duration) -> bool {
        if event.severity > Severity::Medium {
            return false;
        }
        let sort = Sort {
            kind: event.kind,
            action: event.action.clone().into_owned(),
            outcome: event.outcome,
            actor: event.actor.clone(),
            source: event.source.clone(),
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.len() >= MAX_SORTS && !open.contains_key(&sort) {
            open.retain(|_, flood| flood.until > now || flood.absorbed > 0);
            if open.len() >= MAX_SORTS {
                return false;
            }
        }
        let fresh = Flood {
            until: now + self.window,
            seen: 0,
            absorbed: 0,
            severity: event.severity,
            first: occurred,
            last: occurred,
        };
        let flood = open.entry(sort).or_insert(fresh);
        if now >= flood.until && flood.absorbed == 0 {
            *flood = fresh;
        }
        flood.seen = flood.seen.saturating_add(1);
        if flood.seen <= self.burst {
            return false;
        }
        if flood.absorbed == 0 {
            flood.first = occurred;
        }
        flood.absorbed += 1;
        flood.severity = flood.severity.max(event.severity);
        flood.last = occurred;
        true
    }

    /// How long until the first window ends in which something was absorbed.
    pub(crate) fn due_in(&self, now: Duration) -> Option<Duration> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let absorbed = open.values().filter(|flood| flood.absorbed > 0);
        absorbed.map(|flood| flood.until.saturating_sub(now)).min()
    }

    /// The events that tell of floods whose window has ended, or of all.
    pub(crate) fn take(&self, now: Option<Duration>) -> Vec<(Event, Timestamp)> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |flood: &Flood| now.is_none_or(|now| now >= flood.until);
        let over: Vec<Sort> = open
            .iter()
            .filter(|(_, flood)| is_over(flood))
            .map(|(sort, _)| sort.clone())
            .collect();
        let told = over.into_iter().filter_map(|sort| {
            let flood = open.remove(&sort)?;
            if flood.absorbed == 0 {
                return None;
            }
            let event = Event::new(sort.kind, sort.action)
                .outcome(sort.outcome)
                .severity(flood.severity)
                .actor(sort.actor)
                .source(sort.source)
                .details(&json!({
                    "coalesced": flood.absorbed, "from": flood.first, "until": flood.last,
                }));
            Some((event, flood.last))
        });
        told.collect()
    }

    /// How many events are counted and not recorded yet.
    pub(crate) fn absorbed(&self) -> u64 {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.values().map(|flood| flood.absorbed).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_is_beyond_the_burst_by_sort_and_never_what_is_severe() {
        let floods = Floods::new(2, Duration::from_secs(1));
        let event = |actor: &str| Event::new(Kind::RateLimit, "limit.hit").actor(Actor::new(actor));
        let at = Timestamp::from_micros;
        let mut kept = 0;
        for n in 0..10 {
            for actor in ["1", "2"] {
                kept += u32::from(!floods.absorbs(&event(actor), at(n), Duration::ZERO));
            }
            let severe = event("1").severity(Severity::High);
            assert!(!floods.absorbs(&severe, at(n), Duration::ZERO));
        }
        assert_eq!((kept, floods.absorbed()), (4, 16));
        assert!(floods.take(Some(Duration::from_millis(999))).is_empty());
        let told = floods.take(Some(Duration::from_secs(1)));
        assert_eq!(told.len(), 2);
        for (event, last) in told {
            assert_eq!(event.details_value().unwrap()["coalesced"], 8);
            assert_eq!(last, at(9));
        }
        // A new window has a burst of its own.
        assert!(!floods.absorbs(&event("1"), at(20), Duration::from_secs(2)));
    }

    #[test]
    fn its_memory_has_a_bound() {
        let floods = Floods::new(1, Duration::from_secs(1));
        for n in 0..10_000 {
            let event = Event::new(Kind::RateLimit, "x").actor(Actor::new(n.to_string()));
            assert!(!floods.absorbs(&event, Timestamp::default(), Duration::ZERO));
        }
        assert!(floods.open.lock().unwrap().len() <= MAX_SORTS);
    }
}
