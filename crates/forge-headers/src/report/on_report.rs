//! What the collector tells: the reports of one request.

use http::request::Parts;

use crate::report::Report;

/// Hears of the reports of every request that brought some: at most 20.
///
/// Implemented for closures, for `()` (hears nothing) and for pairs (both hear). Must not block
/// and must not panic: a report costs its sender nothing.
pub trait OnReport {
    /// `parts` brought `reports`.
    fn on_report(&self, parts: &Parts, reports: &[Report]);
}

impl OnReport for () {
    fn on_report(&self, _: &Parts, _: &[Report]) {}
}

impl<F> OnReport for F
where
    F: Fn(&Parts, &[Report]),
{
    fn on_report(&self, parts: &Parts, reports: &[Report]) {
        self(parts, reports);
    }
}

impl<A, B> OnReport for (A, B)
where
    A: OnReport,
    B: OnReport,
{
    fn on_report(&self, parts: &Parts, reports: &[Report]) {
        self.0.on_report(parts, reports);
        self.1.on_report(parts, reports);
    }
}
