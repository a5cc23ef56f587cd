//! What a vault tells about its work, for audit and metrics.

use std::sync::Arc;

use crate::context::Context;
use crate::error::{OpenFailure, SealError};
use crate::key::KeyId;

/// Something a [`Vault`](crate::Vault) did or refused to do. It holds no secret.
#[derive(Debug)]
#[non_exhaustive]
pub enum VaultEvent<'a> {
    /// A secret was sealed.
    Sealed {
        /// The place it was sealed for.
        context: &'a Context<'a>,
        /// The primary key.
        key: KeyId,
    },
    /// A secret was not sealed.
    SealFailed {
        /// The place it was to be sealed for.
        context: &'a Context<'a>,
        /// Why.
        error: &'a SealError,
    },
    /// A secret was opened.
    Opened {
        /// The place it belongs to.
        context: &'a Context<'a>,
        /// The key it was sealed under.
        key: KeyId,
    },
    /// A value was sealed anew, for the same place under the primary key; nobody saw it.
    Resealed {
        /// The place it belongs to.
        context: &'a Context<'a>,
        /// The key it was sealed under.
        from: KeyId,
        /// The primary key.
        key: KeyId,
    },
    /// A value that is not sealed was taken for the secret itself, because the vault
    /// [was told to](crate::Vault::dangerous_read_unsealed).
    OpenedUnsealed {
        /// The place it was read from.
        context: &'a Context<'a>,
    },
    /// A sealed value was not opened.
    OpenFailed {
        /// The place it was read from.
        context: &'a Context<'a>,
        /// The key it says it was sealed under, when that could be read.
        key: Option<KeyId>,
        /// Why.
        reason: OpenFailure,
    },
    /// The keyring was replaced.
    Reloaded {
        /// The key that seals from now on.
        primary: KeyId,
        /// How many keys there are.
        keys: usize,
    },
}

/// Is told what a [`Vault`](crate::Vault) does.
///
/// Called on the thread that seals or opens, once for each call: never block, never panic. `()`
/// does nothing, a closure is called, and both of `(A, B)` are told.
pub trait OnVault: Send + Sync + 'static {
    /// Takes note of `event`.
    fn on_vault(&self, event: &VaultEvent<'_>);
}

impl OnVault for () {
    fn on_vault(&self, _event: &VaultEvent<'_>) {}
}

impl<F> OnVault for F
where
    F: Fn(&VaultEvent<'_>) + Send + Sync + 'static,
{
    fn on_vault(&self, event: &VaultEvent<'_>) {
        self(event);
    }
}

impl<A: OnVault, B: OnVault> OnVault for (A, B) {
    fn on_vault(&self, event: &VaultEvent<'_>) {
        self.0.on_vault(event);
        self.1.on_vault(event);
    }
}

impl<O: OnVault + ?Sized> OnVault for Arc<O> {
    fn on_vault(&self, event: &VaultEvent<'_>) {
        (**self).on_vault(event);
    }
}
