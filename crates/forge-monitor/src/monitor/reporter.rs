//! Counts what happens and tells the observers, none of which can stop the monitor.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;

use crate::on_event::{MonitorEvent, OnMonitorEvent};
use crate::trends::Trends;

/// What a monitor has done since its start, and how it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MonitorStats {
    /// Signals that every scenario has seen.
    pub signals: u64,
    /// Signals dropped, because the queue was full or the monitor had shut down.
    pub signals_dropped: u64,
    /// Signals that wait.
    pub queue_depth: u64,
    /// Decisions made.
    pub decisions: u64,
    /// Decisions that scenarios in simulation would have made.
    pub decisions_simulated: u64,
    /// Decisions due for a target for which they held already.
    pub decisions_suppressed: u64,
    /// Decisions due, but beyond the cap a minute or the room for active ones.
    pub decisions_dropped: u64,
    /// Decisions lifted before their end.
    pub decisions_lifted: u64,
    /// Decisions that hold.
    pub blocks: u64,
    /// Keys displaced while they were counted.
    pub evictions: u64,
    /// Memory of what was counted, in bytes.
    pub state_bytes: u64,
    /// Alerts raised.
    pub alerts: u64,
    /// Alerts silenced or inhibited.
    pub alerts_suppressed: u64,
    /// Alerts delivered, by sink.
    pub alerts_delivered: u64,
    /// Tries of a delivery that a sink did not take.
    pub alerts_failed: u64,
    /// Deliveries given up.
    pub alerts_dead: u64,
    /// Alerts that could not be stored and went through the spill file.
    pub alerts_spilled: u64,
    /// Alerts that could neither be stored nor spilled.
    pub alerts_lost: u64,
    /// Deliveries that wait.
    pub outbox_depth: u64,
    /// For how long the oldest of them does, in microseconds.
    pub outbox_age_micros: u64,
    /// Decisions that a responder did not handle, by responder.
    pub responders_failed: u64,
    /// Decisions that could not be stored.
    pub store_failures: u64,
    /// Panics caught: of scenarios, observers, responders, sinks and stores.
    pub panics: u64,
}

pub(crate) struct Reporter {
    observers: Vec<Box<dyn OnMonitorEvent>>,
    pub(crate) signals: AtomicU64,
    pub(crate) signals_dropped: AtomicU64,
    pub(crate) decisions: AtomicU64,
    pub(crate) simulated: AtomicU64,
    pub(crate) suppressed: AtomicU64,
    pub(crate) decisions_dropped: AtomicU64,
    pub(crate) lifted: AtomicU64,
    pub(crate) evictions: AtomicU64,
    pub(crate) state_bytes: AtomicU64,
    pub(crate) alerts: AtomicU64,
    pub(crate) alerts_suppressed: AtomicU64,
    pub(crate) alerts_delivered: AtomicU64,
    pub(crate) alerts_failed: AtomicU64,
    pub(crate) alerts_dead: AtomicU64,
    pub(crate) alerts_spilled: AtomicU64,
    pub(crate) alerts_lost: AtomicU64,
    pub(crate) outbox_depth: AtomicU64,
    /// UTC microseconds; zero is none.
    pub(crate) outbox_oldest: AtomicU64,
    pub(crate) responders_failed: AtomicU64,
    pub(crate) store_failures: AtomicU64,
    pub(crate) panics: AtomicU64,
    /// The monotonic second of the last panic of a scenario, one more than that; zero is never.
    pub(crate) last_panic: AtomicU64,
    pub(crate) last_drop: AtomicU64,
    pub(crate) last_loss: AtomicU64,
    trends: Mutex<Trends>,
}

impl Reporter {
    pub(crate) fn new(observers: Vec<Box<dyn OnMonitorEvent>>) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            observers,
            signals: zero(),
            signals_dropped: zero(),
            decisions: zero(),
            simulated: zero(),
            suppressed: zero(),
            decisions_dropped: zero(),
            lifted: zero(),
            evictions: zero(),
            state_bytes: zero(),
            alerts: zero(),
            alerts_suppressed: zero(),
            alerts_delivered: zero(),
            alerts_failed: zero(),
            alerts_dead: zero(),
            alerts_spilled: zero(),
            alerts_lost: zero(),
            outbox_depth: zero(),
            outbox_oldest: zero(),
            responders_failed: zero(),
            store_failures: zero(),
            panics: zero(),
            last_panic: zero(),
            last_drop: zero(),
            last_loss: zero(),
            trends: Mutex::new(Trends::new()),
        }
    }

    /// Counts the event and tells every observer.
    pub(crate) fn tell(&self, event: &MonitorEvent) {
        if let Some(counter) = self.counter(event) {
            count(counter);
        }
        for observer in &self.observers {
            if catch_unwind(AssertUnwindSafe(|| observer.on_event(event))).is_err() {
                count(&self.panics);
            }
        }
    }

    /// An alert is lost at the monotonic time `now`.
    pub(crate) fn lost(&self, now: Duration) {
        self.last_loss.store(now.as_secs() + 1, Ordering::Relaxed);
    }

    pub(crate) fn trends(&self) -> MutexGuard<'_, Trends> {
        // Counts that a panic left half done are counts.
        self.trends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stats(&self, blocks: usize, queue_depth: usize, now_micros: i64) -> MonitorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let oldest = read(&self.outbox_oldest);
        let now = u64::try_from(now_micros).unwrap_or(0);
        MonitorStats {
            signals: read(&self.signals),
            signals_dropped: read(&self.signals_dropped),
            queue_depth: queue_depth as u64,
            decisions: read(&self.decisions),
            decisions_simulated: read(&self.simulated),
            decisions_suppressed: read(&self.suppressed),
            decisions_dropped: read(&self.decisions_dropped),
            decisions_lifted: read(&self.lifted),
            blocks: blocks as u64,
            evictions: read(&self.evictions),
            state_bytes: read(&self.state_bytes),
            alerts: read(&self.alerts),
            alerts_suppressed: read(&self.alerts_suppressed),
            alerts_delivered: read(&self.alerts_delivered),
            alerts_failed: read(&self.alerts_failed),
            alerts_dead: read(&self.alerts_dead),
            alerts_spilled: read(&self.alerts_spilled),
            alerts_lost: read(&self.alerts_lost),
            outbox_depth: read(&self.outbox_depth),
            outbox_age_micros: if oldest == 0 {
                0
            } else {
                now.saturating_sub(oldest)
            },
            responders_failed: read(&self.responders_failed),
            store_failures: read(&self.store_failures),
            panics: read(&self.panics),
        }
    }

    fn counter(&self, event: &MonitorEvent) -> Option<&AtomicU64> {
        Some(match event {
            MonitorEvent::SignalProcessed { .. } => &self.signals,
            MonitorEvent::SignalDropped { .. } => &self.signals_dropped,
            MonitorEvent::DecisionMade(_) => &self.decisions,
            MonitorEvent::DecisionSimulated(_) => &self.simulated,
            MonitorEvent::DecisionDropped { .. } => &self.decisions_dropped,
            MonitorEvent::DecisionLifted(..) => &self.lifted,
            MonitorEvent::AlertRaised(_) => &self.alerts,
            MonitorEvent::AlertSuppressed { .. } => &self.alerts_suppressed,
            MonitorEvent::AlertDelivered { .. } => &self.alerts_delivered,
            MonitorEvent::AlertFailed(_) => &self.alerts_failed,
            MonitorEvent::AlertDead(_) => &self.alerts_dead,
            MonitorEvent::AlertSpilled(_) => &self.alerts_spilled,
            MonitorEvent::AlertLost(_) => &self.alerts_lost,
            MonitorEvent::ResponderFailed(_) => &self.responders_failed,
            MonitorEvent::StoreFailed(_) => &self.store_failures,
            MonitorEvent::ScenarioPanicked { .. } => &self.panics,
            MonitorEvent::Detected { .. }
            | MonitorEvent::DecisionsRestored { .. }
            | MonitorEvent::DecisionAdopted(_)
            | MonitorEvent::DecisionExpired(_)
            | MonitorEvent::SilenceMade(_)
            | MonitorEvent::SilenceEnded(..)
            | MonitorEvent::AlertRequeued(_)
            | MonitorEvent::Vitals(_) => return None,
        })
    }
}

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reporter")
            .field("observers", &self.observers.len())
            .finish_non_exhaustive()
    }
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
