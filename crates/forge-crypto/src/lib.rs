//! Seals secrets in your own tables, each bound to its place, under keys that can be rotated.
//!
//! A [`Vault`] turns a secret into a text for a column and back. The text opens only under a key
//! of the vault's [`Keyring`] and only in the [`Context`] it was sealed for: tenant, table, column
//! and row. A dump of the database yields nothing, and who can write to it can neither read a
//! secret nor move one to another row.
//!
//! It fails closed: without a key there is no vault; without random bytes nothing is sealed; a
//! value that is changed, cut, moved, or sealed under an unknown or compromised key does not open.
//!
//! # Example
//!
//! ```
//! use forge_crypto::secrecy::ExposeSecret;
//! use forge_crypto::{Context, Keyring, Vault};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // In production: `Keyring::from_credentials_directory()?` or `Keyring::from_file(path)?`.
//! let vault = Vault::new(&Keyring::generate()?);
//!
//! let place = Context::new("users", "github_token", "user-17").tenant("acme");
//! let sealed = vault.seal(&place, "gho_16C7e42F292c6912E7710c838347Ae178B4a")?;
//! assert!(sealed.as_str().starts_with("fv1."));
//!
//! let token = vault.open_string(&place, &sealed)?;
//! assert_eq!(token.expose_secret(), "gho_16C7e42F292c6912E7710c838347Ae178B4a");
//!
//! // In another row it is worth nothing.
//! let elsewhere = Context::new("users", "github_token", "user-18").tenant("acme");
//! assert!(vault.open(&elsewhere, &sealed).is_err());
//! # Ok(())
//! # }
//! ```
//!
//! # What there is
//!
//! - **Keys**: [`Keyring`], from a file, the service manager's credentials or the environment;
//!   checked, and changed step by step. [`KeySources`] falls back to a JWT secret and finds the way
//!   back from it; `PassphraseSalt` makes keys of passphrases; [`KeyWrap`] is the seam for a key
//!   management service.
//! - **Secrets in tables**: [`Vault`] and [`Sealed`]; [`SealedTable`] names a table's sealed columns
//!   once, for sealing, opening and [`Rewrap`].
//! - **Hashes**: `Passwords` with Argon2id, [`ApiKeys`] with a keyed hash.
//! - **Tower**: [`VaultLayer`] puts the vault at hand for the handlers of an Axum router or a Tonic
//!   server; [`CredentialLayer`] gives the requests of an HTTP client or a Tonic channel a stored
//!   credential.
//!
//! # Rotation
//!
//! A keyring has one primary key, which seals, and others that only open. Each step is taken with
//! [`Keyring::change_file`], and reaches every process, by [`Vault::reload`] or a restart, before
//! the next:
//!
//! 1. [`Keyring::add`]: a new key, [`Pending`](KeyState::Pending), opens and does not seal yet.
//! 2. [`Keyring::promote`]: it is primary; the old one is [`Retired`](KeyState::Retired) and opens
//!    what it sealed.
//! 3. [`Rewrap`]: what is stored is sealed anew, while others read and write; it can be
//!    interrupted, and run twice at once.
//! 4. [`Keyring::retire`]: the old key is gone. That is refused as long as anything is stored under
//!    it: the id of the key stands in clear in each text, so that SQL can count.
//!
//! # Format
//!
//! ```text
//! fv1.<key id>.<base64url(nonce ‖ commitment ‖ ciphertext ‖ tag)>
//!     11 chars             24       32           0..=65536    16 bytes
//! ```
//!
//! - Base64url without padding (RFC 4648, section 5); one text for each value.
//! - From the root key, HKDF-SHA256 (RFC 5869) with salt `forge-crypto` derives the key id (info
//!   `key-id`, 8 bytes) and the sealing key (info `fv1 xaes-256-gcm`, 32 bytes).
//! - The nonce is random. The cipher is [XAES-256-GCM](https://c2sp.org/XAES-256-GCM) in its
//!   key-committing variant [KC-XAES](https://eprint.iacr.org/2025/758): the commitment is
//!   `CMAC(K, "XCMT" ‖ nonce ‖ 00 01 00 01) ‖ CMAC(K, "XCMT" ‖ nonce ‖ 00 01 00 02)` with the
//!   sealing key `K`, checked in constant time before anything is decrypted.
//! - The associated data is `"forge-crypto/fv1" ‖ key id`, and then tenant, table, column and row,
//!   each after its length in bytes as a big-endian `u64`.
//!
//! The text form of a keyring is described at [`Keyring::parse`].
//!
//! # Feature flags
//!
//! None is on by default.
//!
//! - `axum`: [`Vault`] is an extractor.
//! - `tonic`: the errors convert to `tonic::Status`.
//! - `sqlite`, `postgres`: [`Sealed`] is a column type of sqlx, and `SqliteSealedStore` and
//!   `PostgresSealedStore` are rewrapped.
//! - `argon2`: passwords, and keys from passphrases.
//! - `metrics`: `RecordMetrics`, an observer that counts.
//!
//! # Security
//!
//! - Outside there is one error for whatever does not open, [`OpenError`]; the reason goes to the
//!   observer ([`OnVault`]) as an [`OpenFailure`], for audit.
//! - Keys and plaintexts are held in types that wipe them from memory, have a `Debug` that shows
//!   nothing, and no `Serialize`. The plaintext you pass in is yours to wipe.
//! - No block of memory that this crate frees holds a plaintext or a key. What a database driver,
//!   a connection or the caller copies is theirs.
//! - The length of a secret shows in the length of the text.
//! - An old value of the same place opens too: whoever can write to the database can bring it
//!   back, or delete it.
//! - 2^80 values can be sealed under one key before two nonces meet with a chance of 2^-32.

mod api_key;
#[cfg(feature = "argon2")]
mod argon2id;
mod cipher;
mod context;
mod credential;
mod entropy;
mod envelope;
mod error;
#[cfg(feature = "axum")]
mod extract;
mod jwt_secret;
mod key;
mod key_wrap;
mod keyring;
mod keyring_file;
mod layer;
#[cfg(feature = "metrics")]
mod metrics;
mod on_vault;
#[cfg(feature = "argon2")]
mod passphrase;
#[cfg(feature = "argon2")]
mod password;
mod rewrap;
mod rotation;
mod sealed;
mod sealed_table;
mod service;
#[cfg(feature = "tonic")]
mod status;
mod store;
#[cfg(test)]
mod testing;
mod vault;

pub use api_key::{ApiKeyHash, ApiKeys};
pub use context::Context;
pub use credential::{
    CredentialEvent, CredentialFuture, CredentialLayer, Credentials, FromExtensions, OnCredential,
    OnUnauthorized, ResponseFuture, StoredCredential, WithCredential,
};
pub use envelope::MAX_PLAINTEXT;
#[cfg(feature = "argon2")]
pub use error::PasswordError;
pub use error::{
    ApiKeyError, BoxError, CredentialError, KeyError, KeySourceError, KeyringError, MissingVault,
    OpenError, OpenFailure, ResealError, RotationError, SealError, StoreError, WrapError,
};
pub use jwt_secret::{JwtSecret, KeySources, KeyWarning};
pub use key::{KeyId, RootKey};
pub use key_wrap::{FileKeyWrap, KeyWrap, WrapFuture, WrappedKey};
pub use keyring::{KeyEntry, KeyState, Keyring};
pub use layer::VaultLayer;
#[cfg(feature = "metrics")]
pub use metrics::RecordMetrics;
pub use on_vault::{OnVault, VaultEvent};
#[cfg(feature = "argon2")]
pub use passphrase::PassphraseSalt;
#[cfg(feature = "argon2")]
pub use password::{MAX_PASSWORD, PasswordCheck, PasswordHash, Passwords};
pub use rewrap::{Rewrap, RewrapProgress, RewrapReport};
pub use sealed::Sealed;
pub use sealed_table::{RowKind, SealedColumn, SealedTable};
/// The crate of the types that opened secrets come in.
pub use secrecy;
pub use service::WithVault;
#[cfg(feature = "postgres")]
pub use store::postgres::PostgresSealedStore;
#[cfg(feature = "sqlite")]
pub use store::sqlite::SqliteSealedStore;
pub use store::{Remaining, Replacement, RowId, SealedStore, StoreFuture, StoredValue};
pub use vault::Vault;
