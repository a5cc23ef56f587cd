//! The layer that puts the vault at hand.

use tower_layer::Layer;

use crate::service::WithVault;
use crate::vault::Vault;

/// Puts a [`Vault`] into the extensions of every request, where handlers find it: see
/// [`Vault::from_extensions`], and the extractor behind the feature `axum`.
///
/// The same line mounts it on an Axum router and on a Tonic server.
///
/// ```
/// use axum::{Extension, Router, routing::get};
/// use forge_crypto::{Keyring, Vault, VaultLayer};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vault = Vault::new(&Keyring::generate()?);
/// let app: Router = Router::new()
///     // With the feature `axum` the argument is `vault: Vault`.
///     .route("/key", get(|Extension(vault): Extension<Vault>| async move {
///         vault.primary_key_id().to_string()
///     }))
///     .layer(VaultLayer::new(vault.clone()));
///
/// let server = tonic::transport::Server::builder().layer(VaultLayer::new(vault));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "a layer does nothing until it is mounted"]
pub struct VaultLayer {
    vault: Vault,
}

impl VaultLayer {
    /// Hands out `vault`; a reload of it or of any clone is seen by the next call.
    pub fn new(vault: Vault) -> Self {
        Self { vault }
    }
}

impl<S> Layer<S> for VaultLayer {
    type Service = WithVault<S>;

    fn layer(&self, inner: S) -> WithVault<S> {
        WithVault::new(inner, self.vault.clone())
    }
}
