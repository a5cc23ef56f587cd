//! Counts what happens and tells the observers, none of which can stop the monitor.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::on_event::{MonitorEvent, OnMonitorEvent};

/// What a monitor has done since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct MonitorStats {
    /// Signals that every scenario has seen.
    pub signals: u64,
    /// Signals dropped, because the queue was full or the monitor had shut down.
    pub signals_dropped: u64,
    /// Signals that wait.
    pub queue_depth: u64,
    /// Blocks decided and enforced.
    pub decisions: u64,
    /// Blocks that scenarios in simulation would have decided.
    pub decisions_simulated: u64,
    /// Blocks due for a target that was blocked already.
    pub decisions_suppressed: u64,
    /// Blocks due, but beyond the cap a minute or the room for active blocks.
    pub decisions_dropped: u64,
    /// Blocks lifted before their end.
    pub decisions_lifted: u64,
    /// Blocks that hold.
    pub blocks: u64,
    /// Counts displaced while they were in their window.
    pub evictions: u64,
    /// Alerts handed to the sinks.
    pub alerts: u64,
    /// Alerts that a sink did not take, by sink.
    pub alerts_failed: u64,
    /// Decisions that a responder did not handle, by responder.
    pub responders_failed: u64,
    /// Decisions that could not be stored.
    pub store_failures: u64,
    /// Panics caught: of scenarios, observers, responders, sinks and stores.
    pub panics: u64,
}

#[derive(Default)]
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
    pub(crate) alerts: AtomicU64,
    pub(crate) alerts_failed: AtomicU64,
    pub(crate) responders_failed: AtomicU64,
    pub(crate) store_failures: AtomicU64,
    pub(crate) panics: AtomicU64,
}

impl Reporter {
    pub(crate) fn new(observers: Vec<Box<dyn OnMonitorEvent>>) -> Self {
        Self {
            observers,
            ..Self::default()
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

    pub(crate) fn stats(&self, blocks: usize, queue_depth: usize) -> MonitorStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
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
            alerts: read(&self.alerts),
            alerts_failed: read(&self.alerts_failed),
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
            MonitorEvent::DecisionLifted(_) => &self.lifted,
            MonitorEvent::AlertRaised(_) => &self.alerts,
            MonitorEvent::AlertFailed(_) => &self.alerts_failed,
            MonitorEvent::ResponderFailed(_) => &self.responders_failed,
            MonitorEvent::StoreFailed(_) => &self.store_failures,
            MonitorEvent::ScenarioPanicked { .. } => &self.panics,
            MonitorEvent::DecisionsRestored { .. } | MonitorEvent::DecisionExpired(_) => {
                return None;
            }
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
