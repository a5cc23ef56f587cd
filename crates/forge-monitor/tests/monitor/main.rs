//! The monitor as a whole.

mod alerts;
mod deciding;
mod node;
mod outage;
#[cfg(all(feature = "axum", feature = "email", feature = "webhook"))]
mod sinks;
mod undelivered;

use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forge_monitor::{
    Action, Alert, AlertState, AlertStore, Batch, BoxError, DeadLetter, Decision, DecisionStore,
    Delivery, HealthStatus, Lift, LiftError, ManualClock, MemoryMonitorStore, Monitor,
    MonitorBuilder, MonitorEvent, MonitorStore, OnMonitorEvent, OutboxStats, Patience, Requeued,
    Scenario, Settled, Severity, Signal, SignalClass, SignalKind, Silence, StartError, StoreError,
    StoreFuture, Stored, StoredSilence, Target, Timestamp,
};
use uuid::Uuid;

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn client(last: u8) -> IpAddr {
    [192, 0, 2, last].into()
}

fn failed(last: u8) -> Signal {
    Signal::new(SignalKind::AuthFailed).address(client(last))
}

fn first_failure() -> Scenario {
    Scenario::count("first_failure", SignalClass::AuthFailed)
        .threshold(0)
        .block_for(Duration::from_secs(60))
        .build()
        .unwrap()
}

/// Keeps what it is told.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<MonitorEvent>>>);

impl Told {
    /// The variants' names, without those that come all the time.
    fn names(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        let names = events.iter().map(|event| {
            let text = format!("{event:?}");
            let end = text.find(|c: char| !c.is_alphanumeric());
            text[..end.unwrap_or(text.len())].to_owned()
        });
        names
            .filter(|name| !["SignalProcessed", "Vitals"].contains(&name.as_str()))
            .collect()
    }
}

impl OnMonitorEvent for Told {
    fn on_event(&self, event: &MonitorEvent) {
        self.0.lock().unwrap().push(event.clone());
    }
}

fn monitor(clock: &ManualClock, told: &Told) -> MonitorBuilder {
    Monitor::builder()
        .scenario(first_failure())
        .clock(clock.clone())
        .on_event(told.clone())
}

/// Keeps what it is sent: the scopes, how often each happened, and the notices' ids.
#[derive(Clone, Default)]
struct Mailbox(Arc<Mutex<Vec<Alert>>>);

impl Mailbox {
    fn sink(&self) -> impl forge_monitor::AlertSink {
        let mailbox = Arc::clone(&self.0);
        move |alert: Arc<Alert>| {
            mailbox.lock().unwrap().push((*alert).clone());
            std::future::ready(Ok(()))
        }
    }

    fn got(&self) -> Vec<(String, u64)> {
        let got = self.0.lock().unwrap();
        got.iter().map(|of| (of.scope.clone(), of.count)).collect()
    }
}
