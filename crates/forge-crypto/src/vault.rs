//! Sealing and opening.
//!
//! The way of a secret: a root key derives, by HKDF-SHA256 with salt `forge-crypto` and info
//! `fv1 xaes-256-gcm`, the key of the [cipher](crate::cipher); the [context](crate::context) is
//! the associated data; the [envelope](crate::envelope) is the text.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use secrecy::{SecretSlice, SecretString};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::cipher::{CommittingCipher, NONCE_LEN};
use crate::context::Context;
use crate::entropy::{self, Entropy};
use crate::envelope::{self, Envelope, MAX_PLAINTEXT};
use crate::error::{MissingVault, OpenError, OpenFailure, ResealError, SealError};
use crate::key::KeyId;
use crate::keyring::{KeyEntry, KeyState, Keyring};
use crate::on_vault::{OnVault, VaultEvent};
use crate::sealed::Sealed;

const KDF_SEAL: &[u8] = b"fv1 xaes-256-gcm";

/// Seals secrets under the primary key of a keyring and opens what any usable key of it sealed.
///
/// A clone is cheap and shares the keys: a [`reload`](Self::reload) is seen by all.
///
/// Counting what a key still protects needs no vault, since the key id stands in clear:
///
/// ```sql
/// SELECT count(*) FROM users WHERE substr(github_token, 1, 16) = 'fv1.' || :key_id || '.'
/// ```
///
/// (`LIKE 'fv1.….%'` also works, but `_` in a key id matches any character there, and SQLite's
/// `LIKE` ignores case.)
#[derive(Clone)]
pub struct Vault {
    keys: Arc<ArcSwap<Keys>>,
    observer: Arc<dyn OnVault>,
    entropy: Entropy,
    reads_unsealed: bool,
}

struct Keys {
    primary: usize,
    keys: Vec<Key>,
}

struct Key {
    id: KeyId,
    state: KeyState,
    cipher: CommittingCipher,
}

impl Vault {
    /// A vault with these keys, which tells nobody what it does.
    pub fn new(keyring: &Keyring) -> Self {
        Self {
            keys: Arc::new(ArcSwap::from_pointee(Keys::new(keyring))),
            observer: Arc::new(()),
            entropy: entropy::from_os,
            reads_unsealed: false,
        }
    }

    /// Lets this vault, and the clones made of it from now on, open values that were stored before
    /// there was a vault: a text that does not begin with `fv1.` is taken for the secret itself.
    /// Default: it is refused.
    ///
    /// For the time in which a table is migrated, see
    /// [`Rewrap::dangerous_seal_unsealed`](crate::Rewrap::dangerous_seal_unsealed). As long as it
    /// is on, whoever can write to the database can put any value in place of a sealed one.
    #[must_use]
    pub fn dangerous_read_unsealed(mut self) -> Self {
        self.reads_unsealed = true;
        self
    }

    /// Tells `observer` what this vault, and the clones made of it from now on, do.
    /// Default: nobody.
    #[must_use]
    pub fn on_event(mut self, observer: impl OnVault) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Seals `plaintext` for the place `context`, under the primary key.
    ///
    /// # Errors
    /// See [`SealError`]; among others when the operating system gives no random bytes.
    pub fn seal(
        &self,
        context: &Context<'_>,
        plaintext: &(impl AsRef<[u8]> + ?Sized),
    ) -> Result<Sealed, SealError> {
        let keys = self.keys.load();
        let key = keys.primary();
        let sealed = self.try_seal(key, context, plaintext.as_ref());
        self.observer.on_vault(&match &sealed {
            Ok(_) => VaultEvent::Sealed {
                context,
                key: key.id,
            },
            Err(error) => VaultEvent::SealFailed { context, error },
        });
        sealed
    }

    /// Opens a value that was sealed for the place `context`.
    ///
    /// # Errors
    /// [`OpenError`], whatever the reason; the observer is told which.
    pub fn open(
        &self,
        context: &Context<'_>,
        sealed: &(impl AsRef<str> + ?Sized),
    ) -> Result<SecretSlice<u8>, OpenError> {
        self.open_as(
            context,
            sealed.as_ref(),
            Compromised::Refuse,
            |mut bytes| Ok(SecretSlice::from(std::mem::take(&mut *bytes))),
        )
    }

    /// Opens a value that was sealed from text.
    ///
    /// # Errors
    /// [`OpenError`], whatever the reason; also when the value is not UTF-8.
    pub fn open_string(
        &self,
        context: &Context<'_>,
        sealed: &(impl AsRef<str> + ?Sized),
    ) -> Result<SecretString, OpenError> {
        self.open_as(
            context,
            sealed.as_ref(),
            Compromised::Refuse,
            |mut bytes| match String::from_utf8(std::mem::take(&mut *bytes)) {
                Ok(text) => Ok(SecretString::from(text)),
                Err(error) => {
                    error.into_bytes().zeroize();
                    Err(OpenFailure::NotText)
                }
            },
        )
    }

    /// Opens a value even when its key is marked compromised, so that it can be sealed anew.
    ///
    /// Whoever has that key can have written the value: do not trust what comes out more than
    /// anything else they could have sent.
    ///
    /// # Errors
    /// [`OpenError`], whatever the reason.
    pub fn dangerous_open_compromised(
        &self,
        context: &Context<'_>,
        sealed: &(impl AsRef<str> + ?Sized),
    ) -> Result<SecretSlice<u8>, OpenError> {
        self.open_as(
            context,
            sealed.as_ref(),
            Compromised::Accept,
            |mut bytes| Ok(SecretSlice::from(std::mem::take(&mut *bytes))),
        )
    }

    /// Seals a value anew, for the same place under the primary key; `None` when it already is.
    ///
    /// Writing it back must be a compare-and-set on the old text, or a value that was written
    /// meanwhile is lost; [`Rewrap`](crate::Rewrap) does that for whole tables.
    ///
    /// # Errors
    /// [`ResealError`]: the value does not open, or nothing can be sealed.
    pub fn reseal(
        &self,
        context: &Context<'_>,
        sealed: &(impl AsRef<str> + ?Sized),
    ) -> Result<Option<Sealed>, ResealError> {
        self.reseal_as(context, sealed.as_ref(), Compromised::Refuse)
    }

    /// As [`reseal`](Self::reseal), also from a key that is marked compromised.
    ///
    /// Whoever has that key can have written the value: sealed anew, it looks like any other.
    ///
    /// # Errors
    /// [`ResealError`]: the value does not open, or nothing can be sealed.
    pub fn dangerous_reseal_compromised(
        &self,
        context: &Context<'_>,
        sealed: &(impl AsRef<str> + ?Sized),
    ) -> Result<Option<Sealed>, ResealError> {
        self.reseal_as(context, sealed.as_ref(), Compromised::Accept)
    }

    fn reseal_as(
        &self,
        context: &Context<'_>,
        text: &str,
        compromised: Compromised,
    ) -> Result<Option<Sealed>, ResealError> {
        let mut from = None;
        let opened = Envelope::parse(text).and_then(|envelope| {
            from = Some(envelope.key);
            if envelope.key == self.primary_key_id() {
                return Ok(None);
            }
            self.try_open(context, &envelope, compromised).map(Some)
        });
        let opened = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => return Ok(None),
            Err(reason) => {
                self.observer.on_vault(&VaultEvent::OpenFailed {
                    context,
                    key: from,
                    reason,
                });
                return Err(ResealError::Open(OpenError));
            }
        };
        let keys = self.keys.load();
        let key = keys.primary();
        let sealed = self.try_seal(key, context, &opened);
        self.observer.on_vault(&match (&sealed, from) {
            (Ok(_), Some(from)) => VaultEvent::Resealed {
                context,
                from,
                key: key.id,
            },
            (Ok(_), None) => VaultEvent::Sealed {
                context,
                key: key.id,
            },
            (Err(error), _) => VaultEvent::SealFailed { context, error },
        });
        sealed.map(Some).map_err(ResealError::Seal)
    }

    /// Whether the value is sealed under another key than the primary one, and is to be sealed anew.
    /// `false` for what is not a sealed value: that does not open either.
    pub fn reseal_needed(&self, sealed: &(impl AsRef<str> + ?Sized)) -> bool {
        Envelope::parse(sealed.as_ref()).is_ok_and(|envelope| envelope.key != self.primary_key_id())
    }

    /// Replaces the keys, in this vault and in all its clones. Calls under way end with the old
    /// ones.
    pub fn reload(&self, keyring: &Keyring) {
        let keys = Arc::new(Keys::new(keyring));
        let event = VaultEvent::Reloaded {
            primary: keys.primary().id,
            keys: keys.keys.len(),
        };
        self.keys.store(Arc::clone(&keys));
        self.observer.on_vault(&event);
    }

    /// The key that seals.
    pub fn primary_key_id(&self) -> KeyId {
        self.keys.load().primary().id
    }

    /// The ids and states of all keys, in the keyring's order.
    pub fn keys(&self) -> Vec<(KeyId, KeyState)> {
        let keys = self.keys.load();
        keys.keys.iter().map(|key| (key.id, key.state)).collect()
    }

    /// The vault that a [`VaultLayer`](crate::VaultLayer) put into a request's extensions.
    ///
    /// # Errors
    /// [`MissingVault`] when no such layer is mounted.
    pub fn from_extensions(extensions: &http::Extensions) -> Result<&Self, MissingVault> {
        extensions.get().ok_or_else(MissingVault::new)
    }

    fn try_seal(
        &self,
        key: &Key,
        context: &Context<'_>,
        plaintext: &[u8],
    ) -> Result<Sealed, SealError> {
        if !context.is_bound() {
            return Err(SealError::EmptyContext);
        }
        if plaintext.len() > MAX_PLAINTEXT {
            return Err(SealError::TooLong {
                most: MAX_PLAINTEXT,
            });
        }
        let mut nonce = [0; NONCE_LEN];
        (self.entropy)(&mut nonce).map_err(SealError::Random)?;
        let text = envelope::write(key.id, plaintext.len(), |parts| {
            let message = key.cipher.message(&nonce);
            parts.nonce.copy_from_slice(&nonce);
            parts.commitment.copy_from_slice(&message.commitment);
            parts.message.copy_from_slice(plaintext);
            match context.with_aad(key.id, |aad| message.encrypt(aad, parts.message)) {
                Ok(tag) => {
                    parts.tag.copy_from_slice(&tag);
                    Ok(())
                }
                Err(_) => {
                    parts.message.zeroize();
                    Err(SealError::Cipher)
                }
            }
        })?;
        Ok(Sealed::new(text))
    }

    fn open_as<T>(
        &self,
        context: &Context<'_>,
        text: &str,
        compromised: Compromised,
        convert: impl FnOnce(Zeroizing<Vec<u8>>) -> Result<T, OpenFailure>,
    ) -> Result<T, OpenError> {
        if self.reads_unsealed && !envelope::is_sealed(text) {
            return self.take_unsealed(context, text, convert);
        }
        let mut key = None;
        let opened = Envelope::parse(text).and_then(|envelope| {
            key = Some(envelope.key);
            convert(self.try_open(context, &envelope, compromised)?)
        });
        match (opened, key) {
            (Ok(opened), Some(key)) => {
                self.observer.on_vault(&VaultEvent::Opened { context, key });
                Ok(opened)
            }
            (opened, key) => {
                let reason = opened.err().unwrap_or(OpenFailure::Malformed);
                self.observer.on_vault(&VaultEvent::OpenFailed {
                    context,
                    key,
                    reason,
                });
                Err(OpenError)
            }
        }
    }

    fn take_unsealed<T>(
        &self,
        context: &Context<'_>,
        text: &str,
        convert: impl FnOnce(Zeroizing<Vec<u8>>) -> Result<T, OpenFailure>,
    ) -> Result<T, OpenError> {
        let taken = match text.len() {
            0..=MAX_PLAINTEXT => convert(Zeroizing::new(text.as_bytes().to_vec())),
            _ => Err(OpenFailure::TooLong),
        };
        match taken {
            Ok(taken) => {
                self.observer
                    .on_vault(&VaultEvent::OpenedUnsealed { context });
                Ok(taken)
            }
            Err(reason) => {
                self.observer.on_vault(&VaultEvent::OpenFailed {
                    context,
                    key: None,
                    reason,
                });
                Err(OpenError)
            }
        }
    }

    fn try_open(
        &self,
        context: &Context<'_>,
        envelope: &Envelope<'_>,
        compromised: Compromised,
    ) -> Result<Zeroizing<Vec<u8>>, OpenFailure> {
        let keys = self.keys.load();
        let key = keys.find(envelope.key).ok_or(OpenFailure::UnknownKey)?;
        if key.state == KeyState::Compromised && compromised == Compromised::Refuse {
            return Err(OpenFailure::CompromisedKey);
        }
        // Exactly as long as the plaintext, so that it becomes a boxed slice where it lies.
        let mut buffer = Zeroizing::new(vec![0; envelope.len]);
        let seal = envelope.decode(&mut buffer)?;
        let message = key.cipher.message(&seal.nonce);
        if !bool::from(message.commitment.ct_eq(&seal.commitment)) {
            return Err(OpenFailure::Commitment);
        }
        context
            .with_aad(key.id, |aad| message.decrypt(aad, &mut buffer, &seal.tag))
            .map_err(|_| OpenFailure::Authentication)?;
        Ok(buffer)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault")
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}

/// Whether a value may be opened under a key that is marked compromised.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Compromised {
    Refuse,
    Accept,
}

impl Keys {
    fn new(keyring: &Keyring) -> Self {
        let entries = keyring.entries();
        Self {
            primary: keyring.primary_index(),
            keys: entries.iter().map(Key::new).collect(),
        }
    }

    fn primary(&self) -> &Key {
        &self.keys[self.primary]
    }

    fn find(&self, id: KeyId) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl Key {
    fn new(entry: &KeyEntry) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        entry.key().derive(KDF_SEAL, key.as_mut_slice());
        Self {
            id: entry.id(),
            state: entry.state(),
            cipher: CommittingCipher::new(&key),
        }
    }
}

#[cfg(test)]
mod tests;
