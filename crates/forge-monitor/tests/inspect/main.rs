//! Inspection: what is found, what is not, and the layer on Axum and Tonic.

mod bounds;
mod found;
#[cfg(feature = "tonic")]
mod grpc;
#[cfg(feature = "axum")]
mod http;
mod padding;
mod passes;

use forge_monitor::{Family, Inspection, Inspector, Level, Verdict};

/// The value as a browser would send it in a query.
fn of_value(value: &str) -> Inspection {
    let encoded: String = value
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02x}"),
        })
        .collect();
    of_target(&format!("/api/items?q={encoded}"))
}

fn of_target(target: &str) -> Inspection {
    Inspector::new().inspect_text(target.as_bytes(), [])
}

/// Every value is refused at the low level, by a rule of this family.
fn all_found(family: &str, values: &[&str]) {
    for value in values {
        let inspection = of_value(value);
        assert_eq!(
            inspection.verdict(Level::Low),
            Verdict::Block,
            "{value}: {:?}",
            inspection.matches()
        );
        let families: Vec<_> = inspection.families().map(Family::as_str).collect();
        assert!(families.contains(&family), "{value}: {families:?}");
    }
}
