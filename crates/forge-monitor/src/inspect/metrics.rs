//! What inspection finds, as metrics.

use http::request::Parts;

use super::inspection::Inspection;
use super::on_inspection::{InspectOutcome, OnInspection};
use crate::metrics::RecordMetrics;

impl OnInspection for RecordMetrics {
    fn on_inspection(&self, _: &Parts, inspection: &Inspection, outcome: InspectOutcome) {
        metrics::counter!("forge_monitor_inspections_total", "outcome" => outcome.as_str())
            .increment(1);
        if outcome != InspectOutcome::Clean {
            for family in inspection.families() {
                metrics::counter!(
                    "forge_monitor_inspection_findings_total",
                    "family" => family.as_str(),
                )
                .increment(1);
            }
        }
    }
}
