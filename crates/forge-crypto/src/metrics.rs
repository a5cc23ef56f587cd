//! Metrics through the `metrics` facade.

use metrics::{counter, gauge};

use crate::on_vault::{OnVault, VaultEvent};

/// An observer that counts, without a key id, a place or a secret in any label.
///
/// | Name | Kind | Labels |
/// |---|---|---|
/// | `forge_crypto_seals_total` | counter | |
/// | `forge_crypto_seal_failures_total` | counter | |
/// | `forge_crypto_opens_total` | counter | |
/// | `forge_crypto_open_failures_total` | counter | `reason`: a word of [`OpenFailure`](crate::OpenFailure) |
/// | `forge_crypto_reseals_total` | counter | |
/// | `forge_crypto_opens_unsealed_total` | counter | |
/// | `forge_crypto_reloads_total` | counter | |
/// | `forge_crypto_keyring_keys` | gauge, set by each reload | |
#[derive(Clone, Copy, Debug, Default)]
pub struct RecordMetrics;

impl OnVault for RecordMetrics {
    fn on_vault(&self, event: &VaultEvent<'_>) {
        match event {
            VaultEvent::Sealed { .. } => counter!("forge_crypto_seals_total").increment(1),
            VaultEvent::SealFailed { .. } => {
                counter!("forge_crypto_seal_failures_total").increment(1);
            }
            VaultEvent::Opened { .. } => counter!("forge_crypto_opens_total").increment(1),
            VaultEvent::OpenFailed { reason, .. } => {
                counter!("forge_crypto_open_failures_total", "reason" => reason.as_str())
                    .increment(1);
            }
            VaultEvent::Resealed { .. } => counter!("forge_crypto_reseals_total").increment(1),
            VaultEvent::OpenedUnsealed { .. } => {
                counter!("forge_crypto_opens_unsealed_total").increment(1);
            }
            VaultEvent::Reloaded { keys, .. } => {
                counter!("forge_crypto_reloads_total").increment(1);
                gauge!("forge_crypto_keyring_keys").set(*keys as f64);
            }
        }
    }
}
