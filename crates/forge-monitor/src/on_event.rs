//! What a monitor tells.

use std::sync::Arc;
use std::time::Duration;

use crate::alert::{Alert, Silence};
use crate::decision::{Decision, Lift, Target};
use crate::delivery::{DeadLetter, Delivery, Requeued};
use crate::monitor::MonitorStats;
use crate::signal::SignalClass;

/// What happened in a monitor.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum MonitorEvent {
    /// A signal was looked at by every scenario.
    SignalProcessed {
        /// Its kind.
        class: SignalClass,
        /// How long that took from its emission, the time in the queue included.
        took: Duration,
    },
    /// A signal was dropped, because the queue is full or the monitor has shut down.
    SignalDropped {
        /// Its kind.
        class: SignalClass,
    },
    /// A decision was made, is enforced, and is stored unless [`StoreFailed`](Self::StoreFailed)
    /// follows.
    DecisionMade(Arc<Decision>),
    /// A scenario in simulation would have decided this; nothing is done.
    DecisionSimulated(Arc<Decision>),
    /// A scenario that only alerts is met.
    Detected {
        /// The scenario.
        scenario: Arc<str>,
        /// Whom it is about.
        target: Target,
        /// It is in simulation, and raises no alert either.
        simulated: bool,
    },
    /// A block was due, but not decided.
    DecisionDropped {
        /// The scenario.
        scenario: Arc<str>,
        /// Whom it would have concerned.
        target: Target,
        /// Why not.
        reason: DropReason,
    },
    /// Decisions of an earlier run hold again after the start.
    DecisionsRestored {
        /// How many.
        count: usize,
    },
    /// A decision that another process made holds here too.
    DecisionAdopted(Arc<Decision>),
    /// A decision has ended.
    DecisionExpired(Arc<Decision>),
    /// A decision was lifted before its end, here or by whom `Lift` says.
    DecisionLifted(Arc<Decision>, Lift),
    /// A silence was made in the store by another program, and not [through](crate::Monitor::silence)
    /// a monitor. Of several monitors on the store one tells.
    SilenceMade(Arc<Silence>),
    /// The same of the end of a silence.
    SilenceEnded(Arc<Silence>, Lift),
    /// A delivery that was given up waits again, because another program had the store do so, and not
    /// [through](crate::Monitor::requeue) a monitor. Of several monitors on the store one tells.
    AlertRequeued(Arc<Requeued>),
    /// An alert is on its way to the sinks.
    AlertRaised(Arc<Alert>),
    /// An alert is not sent, because somebody wants silence or a graver one says it all.
    AlertSuppressed {
        /// The scenario.
        scenario: Arc<str>,
        /// Somebody wants silence; otherwise a graver one says it all.
        silenced: bool,
    },
    /// An alert reached a sink.
    AlertDelivered {
        /// What was delivered.
        delivery: Arc<Delivery>,
        /// How long it took from its raising.
        took: Duration,
    },
    /// An alert did not reach a sink, and is tried again.
    AlertFailed(Arc<Delivery>),
    /// An alert did not reach a sink, and is given up for the reason that the letter has.
    AlertDead(Arc<DeadLetter>),
    /// An alert could not be stored, and is on its way through the spill file.
    AlertSpilled(Arc<Alert>),
    /// An alert could neither be stored nor spilled.
    AlertLost(Arc<Alert>),
    /// How the monitor is, once a second.
    Vitals(MonitorStats),
    /// A responder failed, panicked, took too long or was too far behind.
    ResponderFailed(Arc<Decision>),
    /// A decision is enforced, but not stored: it would not survive a restart.
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
/// Called from the monitor's tasks, for a dropped signal from the task that emits it, so it must
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
