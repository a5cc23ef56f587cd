//! What `RecordMetrics` counts.
#![cfg(feature = "metrics")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use forge_crypto::{Context, Keyring, MAX_PLAINTEXT, RecordMetrics, RootKey, Vault};
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};

/// Keeps the latest value of each counter and gauge.
#[derive(Default)]
struct Values(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Values {
    fn cell(&self, key: &Key) -> Arc<AtomicU64> {
        let labels: Vec<_> = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()))
            .collect();
        let name = format!("{} {}", key.name(), labels.join(","));
        let mut cells = self.0.lock().unwrap();
        Arc::clone(cells.entry(name.trim_end().to_owned()).or_default())
    }
}

impl Recorder for Values {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.cell(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.cell(key))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn counts_what_the_vault_does() {
    let values = Values::default();
    metrics::with_local_recorder(&values, || {
        let vault = Vault::new(&Keyring::generate().unwrap()).on_event(RecordMetrics);
        let place = Context::new("users", "token", "ada");
        let sealed = vault.seal(&place, "hunter2").unwrap();
        vault.seal(&place, "hunter3").unwrap();
        vault.seal(&place, &[0; MAX_PLAINTEXT + 1]).unwrap_err();
        vault.open(&place, &sealed).unwrap();
        vault.open(&place, "hunter2").unwrap_err();
        let elsewhere = Context::new("users", "token", "bob");
        vault.open(&elsewhere, &sealed).unwrap_err();
        vault.reseal(&place, &sealed).unwrap();
        let reads_unsealed = vault.clone().dangerous_read_unsealed();
        reads_unsealed.open(&place, "hunter2").unwrap();
        let (key, old) = (RootKey::generate().unwrap(), Keyring::generate().unwrap());
        let moved = Vault::new(&old).seal(&place, "hunter2").unwrap();
        let id = key.id();
        vault.reload(&old.add(key, "").unwrap().promote(id).unwrap());
        vault.reseal(&place, &moved).unwrap();
    });
    let values = values.0.into_inner().unwrap();
    let values: Vec<_> = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.load(Ordering::Relaxed)))
        .collect();
    assert_eq!(
        values,
        [
            ("forge_crypto_keyring_keys", 2_f64.to_bits()),
            ("forge_crypto_open_failures_total reason=authentication", 1),
            ("forge_crypto_open_failures_total reason=malformed", 1),
            ("forge_crypto_opens_total", 1),
            ("forge_crypto_opens_unsealed_total", 1),
            ("forge_crypto_reloads_total", 1),
            ("forge_crypto_reseals_total", 1),
            ("forge_crypto_seal_failures_total", 1),
            ("forge_crypto_seals_total", 2),
        ]
    );
}
