//! The charges of one request under several policies: all of them are made, or none.

use arrayvec::ArrayVec;

use super::table::{Found, Guard, Lines, State, neighbour};
use super::{MemoryStore, becomes, is_ahead, outcome_of};
use crate::MAX_POLICIES;
use crate::clock::Clock;
use crate::gcra::Outcome;
use crate::store::{Charge, Verdict, Verdicts};

impl<C: Clock> MemoryStore<C> {
    pub(super) fn decide_all(&self, charges: &[Charge], verdicts: &mut Verdicts) {
        let mut now = self.now();
        let mut buckets = ArrayVec::<(u64, Home), MAX_POLICIES>::new();
        for charge in charges {
            let (hash, table) = self.bucket(charge);
            let home = Home {
                anonymous: charge.is_anonymous(),
                line: table.home(hash),
            };
            table.ask(home.line);
            buckets.push((hash, home));
        }
        let homes = buckets.iter().map(|(_, home)| *home);
        let mut locked = self.lock_all(homes.clone());
        let mut at_home = true;
        if buckets
            .iter()
            .any(|of| locked.lines(of.1).find(of.0).is_none())
        {
            // Again in order, with the lines beside.
            drop(locked);
            locked = self.lock_all(homes.flat_map(|home| [home, home.beside()]));
            at_home = false;
        }
        let mut looked = Looked::new();
        look(&mut looked, &locked, charges, &buckets, now);
        if looked.iter().any(|of| is_ahead(&of.2, of.1)) {
            now = self.now();
            look(&mut looked, &locked, charges, &buckets, now);
        }
        let mut decided = charges.iter().zip(&looked);
        let pass = decided.all(|(charge, of)| charge.shadow || of.2.fits());
        for ((charge, (hash, home)), (found, state, outcome)) in
            charges.iter().zip(&buckets).zip(&looked)
        {
            if let Some(entry) = becomes(&charge.quota, outcome, *state, pass) {
                let lines = locked.lines(*home);
                // Searched once more: an earlier charge may have taken the slot.
                let found = if at_home { *found } else { lines.find(*hash) };
                lines.put(*hash, found, entry, now);
            }
            verdicts.push(Verdict::of(outcome, &charge.quota, charge.weight, pass));
        }
    }

    /// Locks every line once, and in one order for all decisions, so that no two of them wait for
    /// each other in a ring.
    fn lock_all(&self, wanted: impl Iterator<Item = Home>) -> LockedAll<'_> {
        let mut wanted = wanted.collect::<ArrayVec<Home, MAX_LINES>>();
        wanted.sort_unstable();
        let mut locked = ArrayVec::<(Home, Guard<'_>), MAX_LINES>::new();
        for home in wanted {
            if locked.last().is_none_or(|(last, _)| *last != home) {
                locked.push((home, self.table_of(home.anonymous).lock(home.line)));
            }
        }
        LockedAll(locked)
    }
}

type Looked<'a> = ArrayVec<(Found<'a>, State, Outcome), MAX_POLICIES>;

/// What each charge finds at time `now`, and would do.
#[inline]
fn look<'a>(
    looked: &mut Looked<'a>,
    locked: &LockedAll<'a>,
    charges: &[Charge],
    buckets: &[(u64, Home)],
    now: u64,
) {
    looked.clear();
    for (charge, (hash, home)) in charges.iter().zip(buckets) {
        let found = locked.lines(*home).find(*hash);
        let state = found.state(now);
        let outcome = outcome_of(&charge.quota, charge.weight, state, now);
        looked.push((found, state, outcome));
    }
}

/// A line of one of the two tables, in the order in which lines are locked.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Home {
    anonymous: bool,
    line: usize,
}

impl Home {
    fn beside(self) -> Self {
        Self {
            line: neighbour(self.line),
            ..self
        }
    }
}

/// The lines that one request's charges need: two each.
const MAX_LINES: usize = 2 * MAX_POLICIES;

struct LockedAll<'a>(ArrayVec<(Home, Guard<'a>), MAX_LINES>);

impl<'a> LockedAll<'a> {
    fn lines(&self, home: Home) -> Lines<'a> {
        let at = |line: Home| self.0.iter().position(|(of, _)| *of == line);
        let beside = at(home.beside()).map(|beside| &self.0[beside].1);
        Lines::of(&self.0[at(home).unwrap_or_default()].1, beside)
    }
}
