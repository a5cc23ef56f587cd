//! Refusals of a moment ago, so that a flood of one client costs the server nothing.
//!
//! A refusal charges nobody, so to repeat it while its wait lasts changes nothing; for a second at
//! most, so that a reset on another node is noticed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::hash::secret;
use crate::store::{Charge, Verdicts};

/// Refusals remembered; a new one takes the place of another of the same remainder.
const PLACES: usize = 1024;
/// The longest that one is repeated.
const TRUST: Duration = Duration::from_secs(1);

pub(super) struct Denied {
    places: Box<[Mutex<Option<Denial>>]>,
}

struct Denial {
    hash: u64,
    at: Duration,
    verdicts: Verdicts,
}

impl Denied {
    pub(super) fn new() -> Self {
        Self {
            places: std::iter::repeat_with(Mutex::default)
                .take(PLACES)
                .collect(),
        }
    }

    /// The refusal of the same charges, if it still holds at `now`.
    pub(super) fn find(&self, charges: &[Charge], now: Duration) -> Option<Verdicts> {
        let hash = hash(charges);
        let place = self.place(hash);
        let denial = place.as_ref().filter(|denial| denial.hash == hash)?;
        let since = now.saturating_sub(denial.at);
        if since >= TRUST {
            return None;
        }
        let mut verdicts = denial.verdicts.clone();
        for verdict in &mut verdicts {
            verdict.wait = verdict.wait.saturating_sub(since);
        }
        let holds = |(charge, verdict): (&Charge, &crate::Verdict)| {
            !charge.shadow && !verdict.allowed && !verdict.wait.is_zero()
        };
        charges.iter().zip(&verdicts).any(holds).then_some(verdicts)
    }

    /// Remembers `verdicts` if they refuse.
    pub(super) fn note(&self, charges: &[Charge], verdicts: &Verdicts, now: Duration) {
        let mut pairs = charges.iter().zip(verdicts);
        if pairs.all(|(charge, verdict)| charge.shadow || verdict.allowed) {
            return;
        }
        let hash = hash(charges);
        *self.place(hash) = Some(Denial {
            hash,
            at: now,
            verdicts: verdicts.clone(),
        });
    }

    pub(super) fn forget_all(&self) {
        for place in &self.places {
            *place.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn place(&self, hash: u64) -> std::sync::MutexGuard<'_, Option<Denial>> {
        let place = &self.places[(hash % PLACES as u64) as usize];
        place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(charges: &[Charge]) -> u64 {
    let mut hash = secret().sip();
    for charge in charges {
        hash.word(charge.policy.as_u64());
        hash.word(u64::from(charge.weight.get()) << 32 | u64::from(charge.quota.burst().get()));
        hash.word(charge.quota.interval_nanos() << 1 | u64::from(charge.shadow));
        hash.word(charge.hash());
    }
    hash.finish()
}
