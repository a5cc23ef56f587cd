//! Keys that are themselves encrypted where they lie, by a file or a key management service.
//!
//! ```text
//! forge-wrapped-keyring v1
//! # A line a key: its state, its id, the wrapped key, and a comment if you like.
//! primary     V3d3AZZ3Wsg  fv1.…  made in July
//! ```

use std::fmt;
use std::fmt::Write as _;
use std::path::Path;
use std::pin::Pin;

use secrecy::ExposeSecret;

use crate::context::Context;
use crate::error::{KeyringError, WrapError};
use crate::key::{KeyId, RootKey};
use crate::keyring::{self, KeyEntry, KeyState, Keyring};
use crate::vault::Vault;

const HEADER: &str = "forge-wrapped-keyring v1";

/// What the methods of [`KeyWrap`] return.
pub type WrapFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, WrapError>> + Send + 'a>>;

/// Encrypts and decrypts the keys of a keyring, so that no file holds them in clear.
///
/// The seam for a key management service: it is asked once for each key when a process starts,
/// and never on the way of a request. [`FileKeyWrap`] does it with a keyring in a file, which can
/// lie on another disk, or come from the service manager.
///
/// An implementation must authenticate what it wraps together with `id`: what was wrapped for one
/// id must not unwrap for another.
pub trait KeyWrap: Send + Sync {
    /// Encrypts a key.
    fn wrap<'a>(&'a self, id: KeyId, key: &'a RootKey) -> WrapFuture<'a, WrappedKey>;

    /// Decrypts a key.
    fn unwrap<'a>(&'a self, id: KeyId, wrapped: &'a WrappedKey) -> WrapFuture<'a, RootKey>;
}

/// A wrapped key: printable ASCII without white space, which only who wrapped it understands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WrappedKey(String);

impl WrappedKey {
    /// The text of a wrapped key.
    ///
    /// # Errors
    /// [`WrapError::Refused`] unless it is 1 to 4096 characters of printable ASCII without white
    /// space: encode other bytes.
    pub fn new(text: impl Into<String>) -> Result<Self, WrapError> {
        let text = text.into();
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        match (1..=4096).contains(&text.len()) && plain {
            true => Ok(Self(text)),
            false => Err(WrapError::Refused),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Wraps keys under a keyring of their own: the key that encrypts keys.
#[derive(Clone)]
pub struct FileKeyWrap(Vault);

impl FileKeyWrap {
    /// Wraps under the keyring in the file `path`, read as [`Keyring::from_file`] reads it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, KeyringError> {
        Ok(Self::new(&Keyring::from_file(path)?))
    }

    /// Wraps under the primary key of `keyring`, and unwraps under all.
    pub fn new(keyring: &Keyring) -> Self {
        Self(Vault::new(keyring))
    }
}

impl fmt::Debug for FileKeyWrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FileKeyWrap").field(&self.0).finish()
    }
}

impl KeyWrap for FileKeyWrap {
    fn wrap<'a>(&'a self, id: KeyId, key: &'a RootKey) -> WrapFuture<'a, WrappedKey> {
        let id = id.to_text();
        let sealed = self.0.seal(&place(&id), key.expose());
        let wrapped = sealed.map_err(|error| WrapError::Unavailable(error.into()));
        let wrapped = wrapped.and_then(|sealed| WrappedKey::new(sealed.into_string()));
        Box::pin(std::future::ready(wrapped))
    }

    fn unwrap<'a>(&'a self, id: KeyId, wrapped: &'a WrappedKey) -> WrapFuture<'a, RootKey> {
        let id = id.to_text();
        let opened = self.0.open(&place(&id), wrapped.as_str());
        let key = opened.map_err(|_| WrapError::Refused).and_then(|key| {
            RootKey::from_bytes(key.expose_secret()).map_err(|_| WrapError::OtherKey)
        });
        Box::pin(std::future::ready(key))
    }
}

fn place(id: &[u8]) -> Context<'_> {
    Context::new("forge-wrapped-keyring", "key", id)
}

/// Keyrings whose keys are wrapped.
impl Keyring {
    /// The text form with wrapped keys, which is no secret.
    ///
    /// # Errors
    /// When a key cannot be wrapped.
    pub async fn to_wrapped_text(&self, wrap: &dyn KeyWrap) -> Result<String, WrapError> {
        let mut text = format!("{HEADER}\n");
        for entry in self.entries() {
            let wrapped = wrap.wrap(entry.id(), entry.key()).await?;
            // Writing to a string cannot fail.
            let _ = write!(text, "{:<11} {} {}", entry.state(), entry.id(), wrapped.0);
            if !entry.comment().is_empty() {
                text.push(' ');
                text.push_str(entry.comment());
            }
            text.push('\n');
        }
        Ok(text)
    }

    /// Reads the text form with wrapped keys.
    ///
    /// # Errors
    /// What is wrong with the text and on which line, or when a key cannot be unwrapped, or is
    /// another one than its id says.
    pub async fn parse_wrapped(text: &str, wrap: &dyn KeyWrap) -> Result<Self, WrapError> {
        let mut lines = text.lines().zip(1..).filter(|(line, _)| {
            let line = line.trim_ascii();
            !line.is_empty() && !line.starts_with('#')
        });
        match lines.next() {
            Some((header, _)) if header.trim_ascii() == HEADER => {}
            _ => return Err(KeyringError::WrappedHeader.into()),
        }
        let mut entries = Vec::new();
        for (text, line) in lines {
            if entries.len() == keyring::MAX_KEYS {
                return Err(KeyringError::TooManyKeys {
                    most: keyring::MAX_KEYS,
                }
                .into());
            }
            let (state, rest) = keyring::first_field(text);
            let (id, rest) = keyring::first_field(rest);
            let (wrapped, comment) = keyring::first_field(rest);
            let state = KeyState::parse(state).ok_or(KeyringError::State { line })?;
            let id = KeyId::parse(id).map_err(|source| KeyringError::Key { line, source })?;
            let key = wrap.unwrap(id, &WrappedKey::new(wrapped)?).await?;
            if key.id() != id {
                return Err(WrapError::OtherKey);
            }
            entries.push(KeyEntry::new(state, key).with_comment(comment));
        }
        Ok(Self::new(entries)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key, keyring};

    fn ring() -> Keyring {
        keyring(&[(KeyState::Retired, "a"), (KeyState::Primary, "b")])
    }

    #[tokio::test]
    async fn a_wrapped_keyring_is_read_back_and_holds_no_key_in_clear() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        Keyring::generate().unwrap().create_file(&path).unwrap();
        let wrap = FileKeyWrap::from_file(&path).unwrap();

        let ring = ring().add(key("c"), "third, in July").unwrap();
        let text = ring.to_wrapped_text(&wrap).await.unwrap();
        for entry in ring.entries() {
            assert!(!text.contains(entry.key().to_text().expose_secret()));
        }
        let read = Keyring::parse_wrapped(&text, &wrap).await.unwrap();
        assert_eq!(
            read.to_text().expose_secret(),
            ring.to_text().expose_secret()
        );

        let other = FileKeyWrap::new(&Keyring::generate().unwrap());
        let error = Keyring::parse_wrapped(&text, &other).await.unwrap_err();
        assert!(matches!(error, WrapError::Refused));
    }

    #[tokio::test]
    async fn a_wrapped_key_is_bound_to_its_id() {
        let wrap = FileKeyWrap::new(&Keyring::generate().unwrap());
        let text = ring().to_wrapped_text(&wrap).await.unwrap();
        let [a, b] = ["a", "b"].map(|word| key(word).id().to_string());
        let swapped = text.replace(&a, "-").replace(&b, &a).replace('-', &b);
        assert!(Keyring::parse_wrapped(&swapped, &wrap).await.is_err());

        /// Unwraps everything to one key.
        struct Careless;
        impl KeyWrap for Careless {
            fn wrap<'a>(&'a self, _: KeyId, _: &'a RootKey) -> WrapFuture<'a, WrappedKey> {
                Box::pin(async { WrappedKey::new("x") })
            }
            fn unwrap<'a>(&'a self, _: KeyId, _: &'a WrappedKey) -> WrapFuture<'a, RootKey> {
                Box::pin(async { Ok(key("a")) })
            }
        }
        let text = ring().to_wrapped_text(&Careless).await.unwrap();
        let error = Keyring::parse_wrapped(&text, &Careless).await.unwrap_err();
        assert!(matches!(error, WrapError::OtherKey));
    }

    #[tokio::test]
    async fn refuses_what_is_no_wrapped_keyring() {
        let wrap = FileKeyWrap::new(&Keyring::generate().unwrap());
        let parse = async |text: &str| Keyring::parse_wrapped(text, &wrap).await.unwrap_err();
        let header = "forge-wrapped-keyring v1";
        for (text, shown) in [
            ("forge-keyring v1", "\"forge-wrapped-keyring v1\""),
            (header, "no key of the keyring is primary"),
            (
                &format!("{header}\nold x y"),
                "line 2 of the keyring: a state",
            ),
            (
                &format!("{header}\nprimary x y"),
                "line 2 of the keyring: a key id",
            ),
            (
                &format!("{header}\nprimary V3d3AZZ3Wsg"),
                "cannot be unwrapped",
            ),
        ] {
            let error = parse(text).await.to_string();
            assert!(error.contains(shown), "{error}");
        }
        for text in ["", "a b", "é", "\n", &"x".repeat(4097)] {
            assert!(WrappedKey::new(text).is_err());
        }
    }
}
