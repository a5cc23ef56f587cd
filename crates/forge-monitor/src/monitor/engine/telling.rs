//! What people are told, and what they do not want to hear.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::{Answer, Engine, attempt, lost, no_answer};
use crate::alert::{Alert, Fingerprint, Raised, Silence};
use crate::clock::Timestamp;
use crate::decision::{Decision, Lift, Target};
use crate::delivery::Delivery;
use crate::error::LiftError;
use crate::monitor::courier::Bell;
use crate::monitor::recorder::Record;
use crate::on_event::MonitorEvent;

/// How much later than it is due an alert that is held back is delivered by whoever finds it in the
/// store: that the one who held it has died is then certain.
const GRACE: Duration = Duration::from_secs(60);
/// How far ahead that is at most: what is due later counts as written by a clock that was set back.
const AHEAD: Duration = Duration::from_secs(3000);
/// How long before that it is put off again.
const IN_TIME: Duration = Duration::from_secs(600);

/// Alerts that are held back until a cool-down ends, as they lie in the store: if this process dies
/// meanwhile, the next one, or another node, delivers them.
#[derive(Debug, Default)]
pub(in crate::monitor) struct Parked(HashMap<Fingerprint, Held>);

/// One of them.
#[derive(Debug)]
struct Held {
    alert: Uuid,
    due: Timestamp,
    deliveries: Vec<Uuid>,
}

impl Engine {
    pub(super) fn silence(&mut self, silence: Silence, answer: Answer<()>) {
        // Whoever asks for it here tells whom it concerns.
        let silence = silence.told(true);
        let mut silences = self.alerts.silences().to_vec();
        silences.push(silence.clone());
        self.alerts.set_silences(silences);
        self.silenced_here += 1;
        let (store, reporter) = (Arc::clone(&self.store), Arc::clone(&self.reporter));
        self.recorder.offer(async move {
            let result = match attempt(|| store.silence(&silence)).await {
                Ok(result) => result.map_err(LiftError::Store),
                Err(why) => {
                    lost(&reporter, why, "the alert store");
                    Err(LiftError::Store(no_answer()))
                }
            };
            let _ = answer.send(result);
        });
    }

    pub(super) fn unsilence(&mut self, id: Uuid, by: Arc<str>, answer: Answer<()>) {
        let mut silences = self.alerts.silences().to_vec();
        silences.retain(|silence| silence.id != id);
        self.alerts.set_silences(silences);
        self.silenced_here += 1;
        let (store, reporter) = (Arc::clone(&self.store), Arc::clone(&self.reporter));
        let end = Lift::new(self.clock.now(), by).told(true);
        self.recorder.offer(async move {
            let result = match attempt(|| store.unsilence(id, &end)).await {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(LiftError::NotFound),
                Ok(Err(error)) => Err(LiftError::Store(error)),
                Err(why) => {
                    lost(&reporter, why, "the alert store");
                    Err(LiftError::Store(no_answer()))
                }
            };
            let _ = answer.send(result);
        });
    }

    /// Lets a delivery that was given up be tried again.
    pub(super) fn requeue(&self, id: Uuid, answer: Answer<()>) {
        let (store, reporter) = (Arc::clone(&self.store), Arc::clone(&self.reporter));
        // Whoever asks for it here tells whom it concerns.
        let by = Lift::new(self.clock.now(), "").told(true);
        let bells = self.bells();
        self.recorder.offer(async move {
            let result = match attempt(|| store.requeue(id, &by)).await {
                Ok(Ok(true)) => Ok(()),
                Ok(Ok(false)) => Err(LiftError::NotFound),
                Ok(Err(error)) => Err(LiftError::Store(error)),
                Err(why) => {
                    lost(&reporter, why, "the alert store");
                    Err(LiftError::Store(no_answer()))
                }
            };
            bells.iter().for_each(Bell::ring);
            let _ = answer.send(result);
        });
    }

    /// Takes an alert, and stores it in one transaction with the decisions that it tells of. One that
    /// is held back is stored too.
    pub(super) fn raise(&mut self, alert: Alert, has_end: bool, decisions: Vec<Arc<Decision>>) {
        let scenario = Arc::clone(&alert.scenario);
        let fingerprints = [
            alert.fingerprint.clone(),
            Fingerprint::of_several(&scenario),
        ];
        let (elapsed, now) = (self.clock.monotonic(), self.clock.now());
        let record = match self.alerts.raise(alert, has_end, elapsed, now) {
            Raised::Notice(alert) => self.notice(alert),
            Raised::Held => self.park(&fingerprints),
            raised => {
                self.reporter.tell(&MonitorEvent::AlertSuppressed {
                    scenario,
                    silenced: raised == Raised::Silenced,
                });
                Record::default()
            }
        };
        self.recorder.record(Record {
            decisions,
            ..record
        });
    }

    /// What the alerts of a scenario about a target tell of is over.
    pub(super) fn resolve(&mut self, scenario: &Arc<str>, target: &Target) {
        let now = self.clock.now();
        let goes_on = self
            .guard
            .decisions()
            .iter()
            .any(|held| held.scenario == *scenario && held.target == *target);
        if goes_on {
            return;
        }
        let scope = target.to_string().escape_debug().to_string();
        let fingerprint = Fingerprint::new(scenario, &scope);
        let elapsed = self.clock.monotonic();
        let record = match self.alerts.resolve(&fingerprint, elapsed, now) {
            Some(alert) => self.notice(alert),
            None => self.park(&[fingerprint]),
        };
        self.recorder.record(record);
    }

    /// Sends a notice that comes from no decision.
    pub(super) fn send(&mut self, alert: Alert) {
        let record = self.notice(alert);
        self.recorder.record(record);
    }

    /// Sends what is due, and withdraws what is not to be told any more.
    pub(super) fn send_due(&mut self) {
        let (now, elapsed) = (self.clock.now(), self.clock.monotonic());
        for alert in self.alerts.due(elapsed, now) {
            self.send(alert);
        }
        let parked: Vec<_> = self.parked.0.keys().cloned().collect();
        let record = self.park(&parked);
        self.recorder.record(record);
    }

    /// A notice for every sink that takes it, in place of what was held back of it.
    fn notice(&mut self, alert: Alert) -> Record {
        self.reporter.trends().alert(self.clock.monotonic());
        let parked = self.parked.0.remove(&alert.fingerprint);
        Record {
            deliveries: self.deliveries(&alert),
            alert: Some(Arc::new(alert)),
            withdrawn: parked.map_or_else(Vec::new, |held| held.deliveries),
            bells: self.bells(),
            ..Record::default()
        }
    }

    /// Brings what is stored of held alerts to what is held.
    fn park(&mut self, fingerprints: &[Fingerprint]) -> Record {
        let (now, elapsed) = (self.clock.now(), self.clock.monotonic());
        let mut record = Record::default();
        for fingerprint in fingerprints {
            let waiting = self.alerts.waiting(fingerprint);
            let stored = self.parked.0.get(fingerprint);
            let next = waiting.map(|(alert, until)| {
                let due = now + until.saturating_sub(elapsed) + GRACE;
                (alert, due.min(now + AHEAD))
            });
            let is_stored = match (stored, next) {
                (None, None) => true,
                (Some(held), Some((alert, due))) => {
                    let is_put_off = due > held.due && held.due < now + IN_TIME;
                    held.alert == alert.id && !is_put_off
                }
                _ => false,
            };
            if is_stored {
                continue;
            }
            let held = next.map(|(alert, due)| {
                let deliveries = self.deliveries(alert).into_iter();
                // Until then it does not wait for the sink.
                let deliveries = deliveries.map(|of| Delivery { created: due, ..of }.due(due));
                (alert.id, due, deliveries.collect::<Vec<_>>())
            });
            if let Some(held) = self.parked.0.remove(fingerprint) {
                record.withdrawn.extend(held.deliveries);
            }
            if let Some((alert, due, deliveries)) = held {
                let held = Held {
                    alert,
                    due,
                    deliveries: deliveries.iter().map(|of| of.id).collect(),
                };
                self.parked.0.insert(fingerprint.clone(), held);
                record.deliveries.extend(deliveries);
            }
        }
        record
    }

    fn deliveries(&self, alert: &Alert) -> Vec<Delivery> {
        let now = self.clock.now();
        let sinks = self.sinks.iter().filter(|sink| sink.sink.takes(alert));
        sinks
            .map(|sink| Delivery::new(Arc::clone(&sink.name), alert.clone(), now))
            .collect()
    }

    fn bells(&self) -> Vec<Bell> {
        self.sinks.iter().map(|sink| sink.bell.clone()).collect()
    }
}
