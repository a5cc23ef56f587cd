//! Brings the alerts in the outbox to one sink; a dead sink delays no other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::outlet::{NoResult, attempt};
use super::reporter::{Reporter, count};
use super::spill::Spill;
use crate::alert::AlertSink;
use crate::clock::{Clock, Timestamp};
use crate::delivery::{DeadLetter, Delivery, LEASE, Settled};
use crate::on_event::MonitorEvent;
use crate::store::MonitorStore;

/// How often a retry is looked for.
const TICK: Duration = Duration::from_secs(1);
/// How often the outbox is looked at though nothing is known to be due: another process may have
/// died with a delivery in its hands.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How long the last round may take when the monitor ends. What is left is in the outbox.
const LAST_ROUND: Duration = Duration::from_secs(10);

enum Knock {
    Look,
    Flush(oneshot::Sender<()>),
}

/// Wakes a courier; when the last clone is dropped the courier makes a last round and ends.
#[derive(Clone, Debug)]
pub(super) struct Bell(mpsc::Sender<Knock>);

impl Bell {
    /// There is something for the sink.
    pub(super) fn ring(&self) {
        // One that is full has been rung.
        let _ = self.0.try_send(Knock::Look);
    }

    /// Waits until everything that is due was tried.
    pub(super) async fn flush(&self) {
        let (done, all_done) = oneshot::channel();
        if self.0.send(Knock::Flush(done)).await.is_ok() {
            let _ = all_done.await;
        }
    }
}

pub(super) struct Courier {
    pub(super) name: Arc<str>,
    pub(super) sink: Arc<dyn AlertSink>,
    pub(super) store: Arc<dyn MonitorStore>,
    pub(super) spill: Arc<Spill>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) reporter: Arc<Reporter>,
    /// Nothing in the store is due before then, as far as is known.
    pub(super) next_look: Option<Timestamp>,
}

impl Courier {
    pub(super) fn spawn(self) -> (Bell, JoinHandle<()>) {
        let (bell, knocks) = mpsc::channel(16);
        (Bell(bell), tokio::spawn(self.run(knocks)))
    }

    async fn run(mut self, mut knocks: mpsc::Receiver<Knock>) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let knock = tokio::select! {
                knock = knocks.recv() => match knock {
                    Some(knock) => Some(knock),
                    None => break,
                },
                _ = tick.tick() => None,
            };
            match knock {
                Some(Knock::Look) => {
                    self.next_look = None;
                    self.round().await;
                }
                Some(Knock::Flush(done)) => {
                    self.next_look = None;
                    self.round().await;
                    let _ = done.send(());
                }
                None => self.round().await,
            }
        }
        self.next_look = None;
        let _ = tokio::time::timeout(LAST_ROUND, self.round()).await;
    }

    /// Tries everything that is due.
    async fn round(&mut self) {
        let now = self.clock.now();
        let is_known_idle = self
            .next_look
            .is_some_and(|next| now < next && next <= now + LOOK_EVERY);
        if !is_known_idle {
            while let Some(delivery) = self.lease().await {
                let settled = self.deliver(&delivery).await;
                let now = self.clock.now();
                let (store, attempts) = (&self.store, delivery.attempts);
                let settle = || store.settle(delivery.id, attempts, settled, now);
                match attempt(settle).await {
                    // Where another try has begun, the sink sees the alert twice.
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => tracing::warn!(%error, "what came of an alert is not stored"),
                    Err(why) => self.lost(why, "the alert store"),
                }
            }
        }
        while let Some(delivery) = self.spill.next(&self.name, self.clock.now()) {
            let settled = self.deliver(&delivery).await;
            if settled == Settled::Dead {
                self.bury(&delivery).await;
            }
            self.spill.settle(delivery.id, settled).wait_a_while().await;
        }
    }

    /// Keeps among the dead letters what was given up and never stored.
    async fn bury(&self, delivery: &Delivery) {
        let now = self.clock.now();
        let buried = attempt(|| async {
            self.store.enqueue(std::slice::from_ref(delivery)).await?;
            // Where this fails, it is tried once more and given up there.
            let (id, attempts) = (delivery.id, delivery.attempts);
            self.store.settle(id, attempts, Settled::Dead, now).await
        });
        match buried.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::error!(%error, "an alert that is given up is not kept"),
            Err(why) => self.lost(why, "the alert store"),
        }
    }

    async fn lease(&mut self) -> Option<Delivery> {
        let now = self.clock.now();
        let next = self.next_look.filter(|next| *next > now);
        self.next_look = Some(next.map_or(now + LOOK_EVERY, |next| next.min(now + LOOK_EVERY)));
        match attempt(|| self.store.lease(&self.name, now, now + LEASE)).await {
            Ok(Ok(delivery)) => delivery,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the outbox cannot be read");
                None
            }
            Err(why) => {
                self.lost(why, "the alert store");
                None
            }
        }
    }

    async fn deliver(&mut self, delivery: &Delivery) -> Settled {
        let alert = Arc::new(delivery.alert.clone());
        let done = attempt(|| self.sink.send(alert)).await;
        let now = self.clock.now();
        match done {
            Ok(Ok(())) => {
                self.reporter.tell(&MonitorEvent::AlertDelivered {
                    took: now.saturating_since(delivery.created),
                    delivery: Arc::new(delivery.clone()),
                });
                return Settled::Delivered;
            }
            Ok(Err(error)) => {
                let error = &*error as &dyn std::error::Error;
                tracing::warn!(error, sink = &*self.name, "an alert was not delivered");
            }
            Err(why) => self.lost(why, "an alert sink"),
        }
        let settled = delivery.after_failure(now);
        let delivery = Arc::new(delivery.clone());
        match settled {
            Settled::Again(due) => {
                let next = self.next_look.map_or(due, |next| next.min(due));
                self.next_look = Some(next);
                self.reporter.tell(&MonitorEvent::AlertFailed(delivery));
            }
            _ => {
                tracing::error!(sink = &*self.name, id = %delivery.id, "an alert is given up");
                let letter = DeadLetter::new((*delivery).clone(), now);
                self.reporter
                    .tell(&MonitorEvent::AlertDead(Arc::new(letter)));
            }
        }
        settled
    }

    fn lost(&self, why: NoResult, whose: &'static str) {
        match why {
            NoResult::Panicked => {
                count(&self.reporter.panics);
                tracing::error!("{whose} panicked");
            }
            NoResult::TimedOut => tracing::warn!("{whose} took too long"),
        }
    }
}
