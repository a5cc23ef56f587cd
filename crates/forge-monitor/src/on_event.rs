//! What a monitor tells.

use std::sync::Arc;

use crate::alert::Alert;
use crate::decision::{Decision, Target};
use crate::signal::SignalClass;

/// What happened in a monitor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MonitorEvent {
    /// A signal was looked at by every scenario.
    SignalProcessed {
        /// Its kind.
        class: SignalClass,
    },
    /// A signal was dropped, because the queue is full or the monitor has shut down.
    SignalDropped {
        /// Its kind.
        class: SignalClass,
    },
    /// A block was decided, and is enforced.
    DecisionMade(Arc<Decision>),
    /// A scenario in simulation would have decided this; nothing is blocked.
    DecisionSimulated(Arc<Decision>),
    /// A block was due, but not decided.
    DecisionDropped {
        /// The scenario.
        scenario: Arc<str>,
        /// Whom it would have concerned.
        target: Target,
        /// Why not.
        reason: DropReason,
    },
    /// Blocks of an earlier run hold again after the start.
    DecisionsRestored {
        /// How many.
        count: usize,
    },
    /// A block has ended.
    DecisionExpired(Arc<Decision>),
    /// A block was lifted before its end.
    DecisionLifted(Arc<Decision>),
    /// An alert is on its way to the sinks.
    AlertRaised(Arc<Alert>),
    /// An alert did not reach one of the sinks.
    AlertFailed(Arc<Alert>),
    /// A responder failed, panicked, took too long or was too far behind.
    ResponderFailed(Arc<Decision>),
    /// A block is enforced, but not stored: it would not survive a restart.
    StoreFailed(Arc<Decision>),
    /// A scenario panicked; its counts start anew.
    ScenarioPanicked {
        /// The scenario.
        scenario: Arc<str>,
    },
}

/// Why a due block was not decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The cap on new blocks a minute is reached.
    RateCap,
    /// The set of active blocks is full.
    Full,
}

/// Is told what happens in a monitor. Implemented for closures, `()` and pairs.
///
/// Called from the monitor's task, for a dropped signal from the task that emits it, so it must
/// not block. A panic is caught and counted.
pub trait OnMonitorEvent: Send + Sync + 'static {
    /// Takes note of one event.
    fn on_event(&self, event: &MonitorEvent);
}

impl OnMonitorEvent for () {
    fn on_event(&self, _: &MonitorEvent) {}
}

impl<A: OnMonitorEvent, B: OnMonitorEvent> OnMonitorEvent for (A, B) {
    fn on_event(&self, event: &MonitorEvent) {
        self.0.on_event(event);
        self.1.on_event(event);
    }
}

impl<F> OnMonitorEvent for F
where
    F: Fn(&MonitorEvent) + Send + Sync + 'static,
{
    fn on_event(&self, event: &MonitorEvent) {
        self(event);
    }
}
