//! One alert on its way to one sink.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::alert::Alert;
use crate::clock::Timestamp;
use crate::decision::Lift;

/// How often a delivery is tried before it is given up: for some six hours.
pub(crate) const MAX_ATTEMPTS: u32 = 32;
/// How long a try has the delivery for itself; longer than a try may take.
pub(crate) const LEASE: Duration = Duration::from_secs(20);
/// The longest pause between two tries.
pub(crate) const MAX_PAUSE: Duration = Duration::from_secs(900);
/// A time further ahead than this was written by a clock that has been set back since.
pub(crate) const HORIZON: Duration = Duration::from_secs(3600);

/// One alert on its way to one sink: a row of the outbox.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Delivery {
    /// The row's id, a UUIDv7.
    #[serde(
        serialize_with = "crate::alert::as_text",
        deserialize_with = "crate::alert::from_text"
    )]
    pub id: Uuid,
    /// The sink, by the name it has in the monitor.
    pub sink: Arc<str>,
    /// The alert.
    pub alert: Alert,
    /// Since when it waits.
    pub created: Timestamp,
    /// When it is to be tried next.
    pub due: Timestamp,
    /// How often it was tried, the try under way included.
    pub attempts: u32,
}

impl Delivery {
    /// A delivery that was not tried yet and is due at once, with a new id.
    #[must_use]
    pub fn new(sink: impl Into<Arc<str>>, alert: Alert, created: Timestamp) -> Self {
        Self {
            id: Uuid::now_v7(),
            sink: sink.into(),
            alert,
            created,
            due: created,
            attempts: 0,
        }
    }

    /// Sets when it is to be tried next.
    #[must_use]
    pub fn due(mut self, due: Timestamp) -> Self {
        self.due = due;
        self
    }

    /// Sets the id and the tries, for stores that read a delivery back.
    #[must_use]
    pub fn stored(mut self, id: Uuid, attempts: u32) -> Self {
        self.id = id;
        self.attempts = attempts;
        self
    }

    /// What follows from a try that failed at `now`.
    pub(crate) fn after_failure(&self, now: Timestamp) -> Settled {
        if self.attempts >= MAX_ATTEMPTS {
            return Settled::Dead;
        }
        let pause = 2u64
            .checked_pow(self.attempts.min(32))
            .map_or(MAX_PAUSE, Duration::from_secs)
            .min(MAX_PAUSE);
        // Up to a quarter less, so that sinks that failed together are not tried together.
        let part = (self.id.as_u128() as u32 % 256) as f64 / 1024.0;
        Settled::Again(now + pause.mul_f64(1.0 - part))
    }
}

/// A delivery that was given up, and is kept for a while.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DeadLetter {
    /// What was to be delivered.
    pub delivery: Delivery,
    /// When it was given up.
    pub at: Timestamp,
    /// Why.
    pub reason: DeadReason,
}

impl DeadLetter {
    /// A delivery that its sink did not take, and when it was given up.
    #[must_use]
    pub fn new(delivery: Delivery, at: Timestamp) -> Self {
        Self {
            delivery,
            at,
            reason: DeadReason::NotTaken,
        }
    }

    /// Sets why.
    #[must_use]
    pub fn reason(mut self, reason: DeadReason) -> Self {
        self.reason = reason;
        self
    }
}

/// A delivery that was given up, and that somebody let wait again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Requeued {
    /// What is to be delivered.
    pub delivery: Delivery,
    /// When that was, and by whom.
    pub by: Lift,
}

impl Requeued {
    /// A delivery, and who let it wait again.
    #[must_use]
    pub fn new(delivery: Delivery, by: Lift) -> Self {
        Self { delivery, by }
    }
}

/// Why a delivery was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum DeadReason {
    /// The sink did not take it, however often it was tried.
    NotTaken,
    /// No running monitor has a sink of that name.
    NoSink,
    /// It has waited for too long.
    TooOld,
}

impl DeadReason {
    /// The name in stores and events: `not_taken`, `no_sink` or `too_old`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotTaken => "not_taken",
            Self::NoSink => "no_sink",
            Self::TooOld => "too_old",
        }
    }

    /// The reason of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let all = [Self::NotTaken, Self::NoSink, Self::TooOld];
        all.into_iter().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for DeadReason {
    /// For people to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotTaken => "the sink did not take it",
            Self::NoSink => "there is no sink of this name any more",
            Self::TooOld => "it waited for too long",
        })
    }
}

/// How long what is not delivered waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Patience {
    /// However it is tried.
    pub max_age: Duration,
    /// Where its sink is missing: for so long, and it has waited for as long.
    pub without_sink: Duration,
}

impl Patience {
    /// For how long at most, and for how long where there is no sink.
    #[must_use]
    pub fn new(max_age: Duration, without_sink: Duration) -> Self {
        Self {
            max_age,
            without_sink,
        }
    }
}

/// What came of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// The sink has it.
    Delivered,
    /// To be tried again at that time.
    Again(Timestamp),
    /// Given up.
    Dead,
}

/// What waits in an outbox.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct OutboxStats {
    /// Deliveries that wait, or are being tried.
    pub waiting: u64,
    /// Deliveries that were given up and are kept.
    pub dead: u64,
    /// Since when the oldest that waits does.
    pub oldest: Option<Timestamp>,
}

impl OutboxStats {
    /// What waits, what was given up, and since when the oldest waits.
    #[must_use]
    pub fn new(waiting: u64, dead: u64, oldest: Option<Timestamp>) -> Self {
        Self {
            waiting,
            dead,
            oldest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::Severity;

    #[test]
    fn pauses_grow_to_a_quarter_of_an_hour_and_end_after_hours() {
        let now = Timestamp::from_micros(0);
        let alert = Alert::new("x", "y", Severity::Info, "z", now);
        let mut delivery = Delivery::new("log", alert, now);
        let mut total = 0;
        for attempts in 1..MAX_ATTEMPTS {
            delivery.attempts = attempts;
            let Settled::Again(at) = delivery.after_failure(now) else {
                panic!("given up after {attempts}");
            };
            let seconds = at.saturating_since(now).as_secs_f64();
            let full = 2f64.powi(attempts as i32).min(900.0);
            assert!(
                seconds <= full && seconds >= 0.74 * full,
                "{attempts}: {seconds}"
            );
            total += seconds as u64;
        }
        assert!((4 * 3600..8 * 3600).contains(&total), "{total}");
        delivery.attempts = MAX_ATTEMPTS;
        assert_eq!(delivery.after_failure(now), Settled::Dead);
    }
}
