//! What inspection tells.

use http::request::Parts;

use super::inspection::Inspection;

/// Lies in the extensions of every response that inspection made in place of the service's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusedByInspection;

/// What became of an inspected request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InspectOutcome {
    /// It is passed on, and nothing is suspicious about it.
    Clean,
    /// It is passed on, though it would be refused at [`Level::High`](crate::Level::High), or in
    /// another mode.
    Suspicious,
    /// It is refused.
    Refused,
}

impl InspectOutcome {
    /// The name in metrics and reports.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Suspicious => "suspicious",
            Self::Refused => "refused",
        }
    }
}

/// Is told of every request that is inspected. Implemented for closures, `()` and pairs; must not
/// block.
pub trait OnInspection {
    /// Takes note of one inspection.
    fn on_inspection(&self, parts: &Parts, inspection: &Inspection, outcome: InspectOutcome);
}

impl OnInspection for () {
    fn on_inspection(&self, _: &Parts, _: &Inspection, _: InspectOutcome) {}
}

impl<A: OnInspection, B: OnInspection> OnInspection for (A, B) {
    fn on_inspection(&self, parts: &Parts, inspection: &Inspection, outcome: InspectOutcome) {
        self.0.on_inspection(parts, inspection, outcome);
        self.1.on_inspection(parts, inspection, outcome);
    }
}

impl<F> OnInspection for F
where
    F: Fn(&Parts, &Inspection, InspectOutcome),
{
    fn on_inspection(&self, parts: &Parts, inspection: &Inspection, outcome: InspectOutcome) {
        self(parts, inspection, outcome);
    }
}
