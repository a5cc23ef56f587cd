//! What was lost: counted where it is lost, recorded as soon as there is room.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::clock::Timestamp;
use crate::event::Event;
use crate::kind::{Kind, Outcome, Severity};

/// Events that are not in the log, and the time in which they occurred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    /// By severity, from low to critical.
    pub(crate) dropped: [u64; 4],
    /// Events whose caller was told, and may have refused what the event was about.
    pub(crate) refused: u64,
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
}

impl Gap {
    fn at(time: Timestamp) -> Self {
        Self {
            dropped: [0; 4],
            refused: 0,
            from: time,
            until: time,
        }
    }

    pub(crate) fn dropped(severity: Severity, time: Timestamp) -> Self {
        let mut gap = Self::at(time);
        gap.dropped[usize::from(severity.code() - 1)] = 1;
        gap
    }

    pub(crate) fn refused(count: usize, time: Timestamp) -> Self {
        Self {
            refused: u64::try_from(count).unwrap_or(u64::MAX),
            ..Self::at(time)
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.dropped.iter().sum::<u64>() + self.refused
    }

    fn merge(self, other: Self) -> Self {
        Self {
            dropped: std::array::from_fn(|i| self.dropped[i] + other.dropped[i]),
            refused: self.refused + other.refused,
            from: self.from.min(other.from),
            until: self.until.max(other.until),
        }
    }

    pub(crate) fn event(&self) -> Event {
        let [low, medium, high, critical] = self.dropped;
        Event::new(Kind::System, "audit.gap")
            .outcome(Outcome::Error)
            .severity(Severity::High)
            .details(&json!({
                "count": self.count(),
                "dropped": { "low": low, "medium": medium, "high": high, "critical": critical },
                "refused": self.refused,
                "from": self.from,
                "until": self.until,
            }))
    }
}

/// The gap that is not recorded yet.
#[derive(Debug, Default)]
pub(crate) struct Losses(Mutex<Option<Gap>>);

impl Losses {
    fn lock(&self) -> MutexGuard<'_, Option<Gap>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, gap: Gap) {
        let mut open = self.lock();
        *open = Some(open.map_or(gap, |open| open.merge(gap)));
    }

    pub(crate) fn take(&self) -> Option<Gap> {
        self.lock().take()
    }

    pub(crate) fn is_open(&self) -> bool {
        self.lock().is_some()
    }
}
