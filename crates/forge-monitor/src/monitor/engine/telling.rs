//! What people are told, and what they do not want to hear.

use std::sync::Arc;

use uuid::Uuid;

use super::{Answer, Engine, attempt, lost, no_answer};
use crate::alert::{Alert, Fingerprint, Raised, Silence};
use crate::decision::Target;
use crate::delivery::Delivery;
use crate::error::LiftError;
use crate::monitor::reporter::Reporter;
use crate::on_event::MonitorEvent;

impl Engine {
    pub(super) fn silence(&mut self, silence: Silence, answer: Answer<()>) {
        let mut silences = self.alerts.silences().to_vec();
        silences.push(silence.clone());
        self.alerts.set_silences(silences);
        let (store, reporter) = (Arc::clone(&self.alert_store), Arc::clone(&self.reporter));
        self.outlet.offer(async move {
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

    pub(super) fn unsilence(&mut self, id: Uuid, answer: Answer<()>) {
        let mut silences = self.alerts.silences().to_vec();
        silences.retain(|silence| silence.id != id);
        self.alerts.set_silences(silences);
        let (store, reporter) = (Arc::clone(&self.alert_store), Arc::clone(&self.reporter));
        let now = self.clock.now();
        self.outlet.offer(async move {
            let result = match attempt(|| store.unsilence(id, now)).await {
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

    pub(super) fn raise(&mut self, alert: Alert, has_end: bool) {
        let scenario = Arc::clone(&alert.scenario);
        let (elapsed, now) = (self.clock.monotonic(), self.clock.now());
        match self.alerts.raise(alert, has_end, elapsed, now) {
            Raised::Notice(alert) => self.send(alert),
            Raised::Held => {}
            raised => self.reporter.tell(&MonitorEvent::AlertSuppressed {
                scenario,
                silenced: raised == Raised::Silenced,
            }),
        }
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
        if let Some(alert) = self.alerts.resolve(&fingerprint, elapsed, now) {
            self.send(alert);
        }
    }

    /// Stores the alert for every sink it is for; where that fails it goes through the spill file.
    pub(super) fn send(&self, alert: Alert) {
        let now = self.clock.now();
        let sinks = self.sinks.iter().filter(|sink| sink.sink.takes(&alert));
        let (deliveries, bells): (Vec<_>, Vec<_>) = sinks
            .map(|sink| {
                let delivery = Delivery::new(Arc::clone(&sink.name), alert.clone(), now);
                (delivery, sink.bell.clone())
            })
            .unzip();
        let alert = Arc::new(alert);
        self.reporter.trends().alert(self.clock.monotonic());
        self.reporter
            .tell(&MonitorEvent::AlertRaised(Arc::clone(&alert)));
        if deliveries.is_empty() {
            return;
        }
        let (store, reporter) = (Arc::clone(&self.alert_store), Arc::clone(&self.reporter));
        let (spill, the, to_spill) = (
            Arc::clone(&self.spill),
            Arc::clone(&alert),
            deliveries.clone(),
        );
        let taken = self.outlet.offer(async move {
            match attempt(|| store.enqueue(&deliveries)).await {
                Ok(Ok(())) => {}
                failed => {
                    match failed {
                        Ok(Err(error)) => {
                            let error = &error as &dyn std::error::Error;
                            tracing::error!(error, "an alert is not stored");
                        }
                        Err(why) => lost(&reporter, why, "the alert store"),
                        Ok(Ok(())) => {}
                    }
                    let spilled = tokio::task::spawn_blocking(move || spill.push(deliveries));
                    told_of_spill(&reporter, the, spilled.await.unwrap_or(false));
                }
            }
            for bell in bells {
                bell.ring();
            }
        });
        if !taken {
            let spilled = self.spill.push(to_spill);
            told_of_spill(&self.reporter, alert, spilled);
            for sink in &self.sinks {
                sink.bell.ring();
            }
        }
    }
}

fn told_of_spill(reporter: &Reporter, alert: Arc<Alert>, spilled: bool) {
    reporter.tell(&if spilled {
        MonitorEvent::AlertSpilled(alert)
    } else {
        tracing::error!(id = %alert.id, "an alert is lost: neither stored nor spilled");
        MonitorEvent::AlertLost(alert)
    });
}
