//! Passwords, hashed with Argon2id (RFC 9106) away from the threads that serve.

use std::fmt;
use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

use crate::argon2id::{Cost, HASH_LEN, SALT_LEN, Text};
use crate::entropy::{self, Entropy};
use crate::error::PasswordError;

/// The longest password in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// Hashes and verifies passwords.
///
/// Defaults: Argon2id with 19 MiB, two passes and one lane, as OWASP's Password Storage Cheat
/// Sheet has it; a salt of 16 random bytes; as many hashes at once as the machine has cores, on
/// threads that may block, and 64 callers waiting. Passwords are taken as their UTF-8 bytes: bring
/// them into one normal form (RFC 8265) beforehand if people type them on different systems.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use forge_crypto::secrecy::SecretString;
/// use forge_crypto::{PasswordCheck, Passwords};
///
/// let passwords = Passwords::new();
/// let stored = passwords.hash(SecretString::from("correct horse")).await?;
/// let check = passwords.verify(SecretString::from("correct horse"), Some(&stored)).await?;
/// assert_eq!(check, PasswordCheck::Matches { rehash_needed: false });
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Passwords {
    cost: Cost,
    running: Arc<Semaphore>,
    admitted: Arc<Semaphore>,
    entropy: Entropy,
}

/// What is stored of a password: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// A hash that was read from where hashes are stored.
    pub fn from_stored(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text to store.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash([redacted])")
    }
}

/// Whether a password is the one whose hash is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a check that nobody looks at lets everybody in"]
pub enum PasswordCheck {
    /// It is.
    Matches {
        /// The hash was made with other parameters than those of today: hash the password anew.
        rehash_needed: bool,
    },
    /// It is not, or there is no hash.
    Differs,
}

impl Passwords {
    /// With the defaults.
    #[must_use]
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            cost: Cost {
                memory_kib: 19 * 1024,
                passes: 2,
                lanes: 1,
            },
            running: Arc::new(Semaphore::new(cores)),
            admitted: Arc::new(Semaphore::new(cores + 64)),
            entropy: entropy::from_os,
        }
    }

    /// Memory in KiB, passes over it, and lanes. Default: 19456, 2, 1.
    ///
    /// # Errors
    /// [`PasswordError::Cost`] above 256 MiB, above 1 GiB in all passes, above 16 lanes, or below
    /// what Argon2 takes: such hashes would not be verified either.
    pub fn cost(mut self, memory_kib: u32, passes: u32, lanes: u32) -> Result<Self, PasswordError> {
        let cost = Cost {
            memory_kib,
            passes,
            lanes,
        };
        if !cost.is_bearable() {
            return Err(PasswordError::Cost);
        }
        self.cost = cost;
        Ok(self)
    }

    /// How many hashes are computed at once, and how many callers may wait; more are refused.
    /// Default: the number of cores, and 64.
    #[must_use]
    pub fn concurrency(mut self, running: usize, waiting: usize) -> Self {
        let running = running.clamp(1, 1 << 16);
        self.running = Arc::new(Semaphore::new(running));
        self.admitted = Arc::new(Semaphore::new(running + waiting.min(1 << 20)));
        self
    }

    /// The hash of a new password, to be stored.
    ///
    /// # Errors
    /// See [`PasswordError`].
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn hash(&self, password: SecretString) -> Result<PasswordHash, PasswordError> {
        check_length(&password)?;
        let this = self.clone();
        self.run(move || this.hash_now(&password)).await
    }

    /// Compares a password with what is stored; with `None`, for somebody who is not known, it
    /// takes as long and gives [`PasswordCheck::Differs`].
    ///
    /// # Errors
    /// See [`PasswordError`]. A stored hash whose parameters would take the machine down is
    /// refused before anything is computed.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub async fn verify(
        &self,
        password: SecretString,
        stored: Option<&PasswordHash>,
    ) -> Result<PasswordCheck, PasswordError> {
        check_length(&password)?;
        let stored = stored.map(parse).transpose()?;
        let this = self.clone();
        self.run(move || this.verify_now(&password, stored.as_ref()))
            .await
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordError> + Send + 'static,
    ) -> Result<T, PasswordError> {
        let admitted = Arc::clone(&self.admitted).try_acquire_owned();
        let admitted = admitted.map_err(|_| PasswordError::Busy)?;
        let running = Arc::clone(&self.running).acquire_owned().await;
        let running = running.map_err(|_| PasswordError::Ended)?;
        // The permits go along: when the caller stops waiting, the work still takes its place.
        let held = |_: (OwnedSemaphorePermit, OwnedSemaphorePermit)| work();
        tokio::task::spawn_blocking(move || held((admitted, running)))
            .await
            .unwrap_or(Err(PasswordError::Ended))
    }

    fn hash_now(&self, password: &SecretString) -> Result<PasswordHash, PasswordError> {
        let mut salt = vec![0; SALT_LEN];
        (self.entropy)(&mut salt).map_err(PasswordError::Random)?;
        let mut hash = vec![0; HASH_LEN];
        self.cost
            .hash(password.expose_secret().as_bytes(), &salt, &mut hash)
            .ok_or(PasswordError::Memory)?;
        let text = Text {
            cost: self.cost,
            salt,
            hash,
        };
        Ok(PasswordHash(text.write()))
    }

    fn verify_now(
        &self,
        password: &SecretString,
        stored: Option<&Text>,
    ) -> Result<PasswordCheck, PasswordError> {
        let nobody = Text {
            cost: self.cost,
            salt: vec![0; SALT_LEN],
            hash: vec![0; HASH_LEN],
        };
        let text = stored.unwrap_or(&nobody);
        let mut hash = Zeroizing::new(vec![0; text.hash.len()]);
        text.cost
            .hash(password.expose_secret().as_bytes(), &text.salt, &mut hash)
            .ok_or(PasswordError::Memory)?;
        let matches = bool::from(hash.ct_eq(&text.hash)) && stored.is_some();
        let as_today =
            text.cost == self.cost && text.salt.len() >= SALT_LEN && text.hash.len() == HASH_LEN;
        Ok(match matches {
            true => PasswordCheck::Matches {
                rehash_needed: !as_today,
            },
            false => PasswordCheck::Differs,
        })
    }
}

impl Default for Passwords {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Passwords")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

fn check_length(password: &SecretString) -> Result<(), PasswordError> {
    match password.expose_secret().len() {
        0..=MAX_PASSWORD => Ok(()),
        _ => Err(PasswordError::TooLong { most: MAX_PASSWORD }),
    }
}

fn parse(stored: &PasswordHash) -> Result<Text, PasswordError> {
    let text = Text::parse(&stored.0).ok_or(PasswordError::Malformed)?;
    if !(16..=64).contains(&text.hash.len()) {
        return Err(PasswordError::Malformed);
    }
    if !text.cost.is_bearable() {
        return Err(PasswordError::Cost);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::no_entropy;

    fn fast() -> Passwords {
        Passwords::new().cost(64, 1, 1).unwrap()
    }

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    #[tokio::test]
    async fn a_password_is_verified_and_another_is_not() {
        let passwords = fast();
        let stored = passwords.hash(secret("right")).await.unwrap();
        assert!(stored.as_str().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
        assert_ne!(passwords.hash(secret("right")).await.unwrap(), stored);
        let check = |password, stored| {
            let passwords = passwords.clone();
            async move { passwords.verify(secret(password), stored).await.unwrap() }
        };
        assert_eq!(
            check("right", Some(&stored)).await,
            PasswordCheck::Matches {
                rehash_needed: false
            }
        );
        assert_eq!(check("wrong", Some(&stored)).await, PasswordCheck::Differs);
        assert_eq!(check("", Some(&stored)).await, PasswordCheck::Differs);
        assert_eq!(check("right", None).await, PasswordCheck::Differs);
        assert_eq!(format!("{stored:?}"), "PasswordHash([redacted])");
    }

    #[tokio::test]
    async fn the_defaults_are_owasps_and_older_hashes_are_made_anew() {
        let passwords = Passwords::new();
        let stored = passwords.hash(secret("right")).await.unwrap();
        assert!(
            stored
                .as_str()
                .starts_with("$argon2id$v=19$m=19456,t=2,p=1$")
        );
        let old = fast().hash(secret("right")).await.unwrap();
        assert_eq!(
            passwords.verify(secret("right"), Some(&old)).await.unwrap(),
            PasswordCheck::Matches {
                rehash_needed: true
            }
        );
    }

    #[tokio::test]
    async fn refuses_what_would_take_the_machine_down() {
        let stored = fast().hash(secret("right")).await.unwrap();
        for cost in [
            "m=4194304,t=1,p=1",
            "m=64,t=4294967295,p=1",
            "m=1024,t=1,p=99",
        ] {
            let text = stored.as_str().replacen("m=64,t=1,p=1", cost, 1);
            let stored = PasswordHash::from_stored(text);
            let error = fast()
                .verify(secret("right"), Some(&stored))
                .await
                .unwrap_err();
            assert!(matches!(error, PasswordError::Cost), "{cost}");
        }
        let long = secret(&"x".repeat(MAX_PASSWORD + 1));
        assert!(matches!(
            fast().hash(long.clone()).await,
            Err(PasswordError::TooLong { most: MAX_PASSWORD })
        ));
        assert!(fast().verify(long, None).await.is_err());
        for text in [
            "",
            "right",
            "$2b$12$abc",
            "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ",
        ] {
            let stored = PasswordHash::from_stored(text);
            let error = fast()
                .verify(secret("right"), Some(&stored))
                .await
                .unwrap_err();
            assert!(matches!(error, PasswordError::Malformed), "{text}");
        }
        assert!(matches!(
            Passwords::new().cost(1 << 20, 1, 1),
            Err(PasswordError::Cost)
        ));
    }

    #[tokio::test]
    async fn more_callers_than_may_wait_are_refused() {
        let passwords = fast().concurrency(1, 1);
        let held = passwords.running.clone().acquire_owned().await.unwrap();
        let mut waiting: Vec<_> = (0..2)
            .map(|_| Box::pin(passwords.hash(secret("x"))))
            .collect();
        for waiting in &mut waiting {
            assert!(futures_are_pending(waiting.as_mut()).await);
        }
        assert!(matches!(
            passwords.hash(secret("x")).await,
            Err(PasswordError::Busy)
        ));
        drop(held);
        for waiting in waiting {
            waiting.await.unwrap();
        }
        assert!(passwords.hash(secret("x")).await.is_ok());
    }

    async fn futures_are_pending<F: Future>(mut future: std::pin::Pin<&mut F>) -> bool {
        std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending()))
            .await
    }

    #[tokio::test]
    async fn hashes_nothing_without_random_bytes() {
        let mut passwords = fast();
        passwords.entropy = no_entropy;
        let error = passwords.hash(secret("x")).await.unwrap_err();
        assert!(matches!(error, PasswordError::Random(_)));
    }
}
