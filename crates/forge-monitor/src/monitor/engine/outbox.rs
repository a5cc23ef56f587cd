//! What waits for too long, or for a sink that is not there: noticed, given up, and told.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::{Engine, Job, attempt, lost};
use crate::alert::{Alert, Severity};
use crate::clock::Timestamp;
use crate::delivery::{DeadLetter, DeadReason, Patience, Settled};
use crate::error::StoreError;
use crate::monitor::spill::Spill;
use crate::on_event::MonitorEvent;
use crate::store::MonitorStore;

/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// For how long after the start nothing is given up: what waits is tried first, and other nodes that
/// start say which sinks they have. The same after the store was away, and after the clock leapt,
/// since nothing was tried meanwhile.
const AFTER_START: Duration = Duration::from_secs(600);
/// By how much more than the monotonic clock that of UTC may go on between two looks.
const LEAP: Duration = Duration::from_secs(60);
/// No patience is shorter than that: every node has said by then which sinks it has, and what waits
/// was tried.
const LEAST_PATIENCE: Duration = Duration::from_secs(600);
/// How many are given up at once; the rest is when it is looked next.
const AT_ONCE: usize = 500;
/// The scenario of the alert about it.
const UNDELIVERED: &str = "undelivered_alerts";

/// When the outbox is looked at, and what may wait there.
#[derive(Debug)]
pub(in crate::monitor) struct Upkeep {
    patience: Patience,
    next_look: Duration,
    gives_up_from: Duration,
    /// When it was looked the last time, on both clocks.
    looked: (Timestamp, Duration),
    /// The store did not answer a look.
    was_away: Arc<AtomicBool>,
}

impl Upkeep {
    /// From `now` on, and the monotonic time `elapsed`.
    pub(in crate::monitor) fn new(patience: Patience, now: Timestamp, elapsed: Duration) -> Self {
        Self {
            patience: Patience::new(
                patience.max_age.max(LEAST_PATIENCE),
                patience.without_sink.max(LEAST_PATIENCE),
            ),
            next_look: elapsed,
            gives_up_from: elapsed.saturating_add(AFTER_START),
            looked: (now, elapsed),
            was_away: Arc::default(),
        }
    }

    /// Whether it is time for a look, and something may be given up then.
    fn look(&mut self, now: Timestamp, elapsed: Duration) -> Option<bool> {
        if elapsed < self.next_look {
            return None;
        }
        self.next_look = elapsed + LOOK_EVERY;
        let (last, then) = std::mem::replace(&mut self.looked, (now, elapsed));
        let has_leapt = now.saturating_since(last) > elapsed.saturating_sub(then) + LEAP;
        if self.was_away.swap(false, Ordering::Relaxed) || has_leapt {
            self.gives_up_from = elapsed.saturating_add(AFTER_START);
        }
        Some(elapsed >= self.gives_up_from)
    }
}

impl Engine {
    /// Says which sinks are here, and gives up what waits for too long.
    pub(super) fn keep_outbox(&mut self) {
        let (now, elapsed) = (self.clock.now(), self.clock.monotonic());
        let Some(gives_up) = self.upkeep.look(now, elapsed) else {
            return;
        };
        let patience = self.upkeep.patience;
        let was_away = Arc::clone(&self.upkeep.was_away);
        let sinks: Vec<_> = self.sinks.iter().map(|of| Arc::clone(&of.name)).collect();
        let (store, spill) = (Arc::clone(&self.store), Arc::clone(&self.spill));
        let (reporter, queue) = (Arc::clone(&self.reporter), self.queue.clone());
        // Where the queue is full the next look will do.
        self.recorder.offer(async move {
            // Each on its own: what fails for one row must not keep all else from being done.
            match attempt(|| store.attend(&sinks, now)).await {
                Ok(Ok(missing)) => {
                    for sink in missing {
                        let sink = &*sink;
                        tracing::warn!(sink, "alerts wait for a sink that is not here");
                    }
                }
                // That the store is down is told by what needed it, and by the health check.
                Ok(Err(_)) => return was_away.store(true, Ordering::Relaxed),
                Err(why) => {
                    was_away.store(true, Ordering::Relaxed);
                    return lost(&reporter, why, "the alert store");
                }
            }
            match attempt(|| unspill(&*store, &spill, &sinks)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%error, "spilled alerts cannot be stored"),
                Err(why) => lost(&reporter, why, "the alert store"),
            }
            if !gives_up {
                return;
            }
            let letters = match attempt(|| store.give_up(now, patience, AT_ONCE)).await {
                Ok(Ok(letters)) => letters,
                Ok(Err(_)) => return,
                Err(why) => return lost(&reporter, why, "the alert store"),
            };
            let alerts = alerts(&letters, now);
            for letter in letters {
                reporter.tell(&MonitorEvent::AlertDead(Arc::new(letter)));
            }
            if let Some(queue) = queue.upgrade() {
                for alert in alerts {
                    // Waiting here would be waiting for whoever waits for this.
                    let _ = queue.try_send(Job::Raise(alert));
                }
            }
        });
    }
}

/// Brings what waits here for sinks that are not here to where other nodes find it.
async fn unspill(
    store: &dyn MonitorStore,
    spill: &Spill,
    sinks: &[Arc<str>],
) -> Result<(), StoreError> {
    for delivery in spill.strange(sinks, AT_ONCE) {
        match store.enqueue(std::slice::from_ref(&delivery)).await {
            // Stored after all, by a try that took too long.
            Ok(()) | Err(StoreError::Duplicate) => {
                // It is there twice for a moment, which is better than not at all.
                drop(spill.settle(delivery.id, Settled::Delivered));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What people are told of it: an alert for each sink and reason. That an alert about this was given
/// up as well is no news.
fn alerts(letters: &[DeadLetter], now: Timestamp) -> Vec<Alert> {
    let mut groups: BTreeMap<(Arc<str>, &str), (DeadReason, usize, bool)> = BTreeMap::new();
    for letter in letters {
        let key = (Arc::clone(&letter.delivery.sink), letter.reason.as_str());
        let group = groups.entry(key).or_insert((letter.reason, 0, false));
        group.1 += 1;
        group.2 |= &*letter.delivery.alert.scenario != UNDELIVERED;
    }
    let mut alerts = Vec::new();
    for ((sink, _), (reason, count, is_news)) in groups {
        tracing::error!(sink = &*sink, count, %reason, "alerts are given up");
        if is_news {
            let what = if count == 1 { "alert" } else { "alerts" };
            let summary = format!("{count} {what} given up: {reason}");
            let scope = format!("sink {sink}");
            alerts.push(Alert::new(
                UNDELIVERED,
                &scope,
                Severity::Warning,
                &summary,
                now,
            ));
        }
    }
    alerts
}
