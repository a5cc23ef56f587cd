//! Signed checkpoints: what shows that a log was neither cut nor computed anew, to whoever has kept
//! one of them elsewhere.
//!
//! A checkpoint is a signed note as C2SP has it (`c2sp.org/tlog-checkpoint`, `c2sp.org/signed-note`):
//! the origin of the log, the number of its records and the root of the [tree](crate::Tree) over
//! them, signed with Ed25519 (RFC 8032). Tools for transparency logs read it.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sha2::{Digest, Sha256};

use crate::chain::{Broken, Fault, Hash, Head};
use crate::error::{CheckpointError, VerifyError};
use crate::on_checkpoint::Sign;
use crate::store::{AuditStore, SignedNote};
use crate::verify::{Verified, verify_with};

/// The algorithm byte of Ed25519 in signed notes.
const ED25519: u8 = 1;

/// That a log had so many records, and what they were.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Checkpoint {
    /// Which log.
    pub origin: String,
    /// How many records it had.
    pub size: u64,
    /// The root of the tree over them.
    pub root: Hash,
}

/// The key that signs the checkpoints of a log.
pub struct CheckpointKey {
    origin: String,
    key: SigningKey,
}

/// The public key that checkpoints are verified with.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckpointVerifier {
    origin: String,
    key: VerifyingKey,
}

/// Whether this can be the origin of a log: signed notes name their key by it.
fn is_origin(origin: &str) -> bool {
    let fits = |c: char| !c.is_whitespace() && c != '+' && !crate::escape::deceives(c);
    (1..=255).contains(&origin.len()) && origin.chars().all(fits)
}

fn key_id(origin: &str, key: &VerifyingKey) -> [u8; 4] {
    let mut hasher = Sha256::new();
    hasher.update(origin);
    hasher.update([b'\n', ED25519]);
    hasher.update(key.as_bytes());
    let hash: [u8; 32] = hasher.finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

impl CheckpointKey {
    /// The key of the log `origin`, such as `forge.example/audit`, from the 32 bytes of an Ed25519
    /// private key.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Origin`] if the origin is empty, longer than 255 bytes, or has a space or
    /// a plus sign.
    pub fn new(origin: impl Into<String>, secret: &[u8; 32]) -> Result<Self, CheckpointError> {
        let (origin, key) = (origin.into(), SigningKey::from_bytes(secret));
        if is_origin(&origin) {
            Ok(Self { origin, key })
        } else {
            Err(CheckpointError::Origin)
        }
    }

    /// The public half.
    #[must_use]
    pub fn verifier(&self) -> CheckpointVerifier {
        CheckpointVerifier {
            origin: self.origin.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// Signs that the log has `size` records with the root `root`.
    #[must_use]
    pub fn sign(&self, size: u64, root: Hash) -> SignedNote {
        let body = format!("{}\n{size}\n{}\n", self.origin, STANDARD.encode(root.0));
        let mut signature = key_id(&self.origin, &self.key.verifying_key()).to_vec();
        signature.extend(self.key.sign(body.as_bytes()).to_bytes());
        let text = format!(
            "{body}\n\u{2014} {} {}\n",
            self.origin,
            STANDARD.encode(signature)
        );
        SignedNote { size, text }
    }
}

impl Sign for CheckpointKey {
    fn sign(&self, size: u64, root: Hash) -> SignedNote {
        self.sign(size, root)
    }
}

impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckpointKey")
            .field("origin", &self.origin)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for CheckpointVerifier {
    /// The key as signed notes write it: `<origin>+<key id>+<key>`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519];
        key.extend(self.key.as_bytes());
        let id = u32::from_be_bytes(key_id(&self.origin, &self.key));
        write!(f, "{}+{id:08x}+{}", self.origin, STANDARD.encode(key))
    }
}

impl fmt::Debug for CheckpointVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CheckpointVerifier({self})")
    }
}

impl std::str::FromStr for CheckpointVerifier {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let read = || {
            let mut parts = text.trim().splitn(3, '+');
            let (origin, id, key) = (parts.next()?, parts.next()?, parts.next()?);
            let key = STANDARD.decode(key).ok()?;
            let (algorithm, key) = key.split_first()?;
            let key = VerifyingKey::from_bytes(key.try_into().ok()?).ok()?;
            let fits = *algorithm == ED25519
                && is_origin(origin)
                // A key is written in one way: eight digits, none of them a capital.
                && id == format!("{:08x}", u32::from_be_bytes(key_id(origin, &key)))
                && !key.is_weak();
            fits.then(|| Self {
                origin: origin.to_owned(),
                key,
            })
        };
        read().ok_or(CheckpointError::Key)
    }
}

impl CheckpointVerifier {
    /// The log whose checkpoints it verifies.
    #[must_use]
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Reads a checkpoint, if this key has signed it. Signatures by other keys are passed over, as
    /// signed notes ask.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Malformed`] or [`CheckpointError::Signature`].
    pub fn open(&self, note: &str) -> Result<Checkpoint, CheckpointError> {
        const MARK: &str = "\n\n\u{2014} ";
        let at = note.find(MARK).ok_or(CheckpointError::Malformed)?;
        let (body, signatures) = (&note[..=at], &note[at + 2..]);
        let mut lines = body.lines();
        let read = || {
            let origin = lines.next()?;
            let digits = lines.next()?;
            let size = digits.parse::<u64>().ok()?;
            let root = STANDARD.decode(lines.next()?).ok()?.try_into().ok()?;
            // One way to write each number, no lines that this version does not know.
            let fits =
                origin == self.origin && digits == size.to_string() && lines.next().is_none();
            fits.then(|| Checkpoint {
                origin: origin.to_owned(),
                size,
                root: Hash(root),
            })
        };
        let checkpoint = { read }().ok_or(CheckpointError::Malformed)?;
        if !signatures.ends_with('\n') {
            return Err(CheckpointError::Malformed);
        }
        for line in signatures.lines() {
            let signature = line
                .strip_prefix("\u{2014} ")
                .and_then(|line| line.split_once(' '))
                .ok_or(CheckpointError::Malformed)?;
            if signature.0 != self.origin {
                continue;
            }
            let bytes = STANDARD
                .decode(signature.1)
                .map_err(|_| CheckpointError::Malformed)?;
            let Some((id, signature)) = bytes.split_first_chunk::<4>() else {
                return Err(CheckpointError::Malformed);
            };
            if *id != key_id(&self.origin, &self.key) {
                continue;
            }
            let signature =
                Signature::from_slice(signature).map_err(|_| CheckpointError::Malformed)?;
            return self
                .key
                .verify_strict(body.as_bytes(), &signature)
                .map(|()| checkpoint)
                .map_err(|_| CheckpointError::Signature);
        }
        Err(CheckpointError::Signature)
    }
}

/// Verifies all that `store` holds with the public key alone: the records, and every checkpoint
/// that is stored beside them or that comes in `more`, from elsewhere.
///
/// # Errors
///
/// [`VerifyError::Broken`] with the first position that is wrong, or the store's error. A checkpoint
/// that does not verify is named by the record it ends with.
pub async fn verify_signed(
    store: &dyn AuditStore,
    key: &CheckpointVerifier,
    more: &[String],
) -> Result<Verified, VerifyError> {
    let keys = std::slice::from_ref(key);
    let mut expected = stored_checkpoints(store, keys).await?;
    for note in more {
        let checkpoint = key.open(note).map_err(|_| Broken {
            seq: 0,
            fault: Fault::Checkpoint,
        })?;
        expected.push((checkpoint.size, checkpoint.root));
    }
    verify_with(store, Head::default(), expected).await
}

/// The checkpoints that `store` keeps, each signed by one of `keys`: of how many records, and their
/// root. A log whose key or origin changed has more than one.
///
/// # Errors
///
/// [`VerifyError::Broken`] with the record that a checkpoint ends with which does not verify, or the
/// store's error.
pub async fn stored_checkpoints(
    store: &dyn AuditStore,
    keys: &[CheckpointVerifier],
) -> Result<Vec<(u64, Hash)>, VerifyError> {
    let mut found = Vec::new();
    let mut after = 0;
    loop {
        let page = store.checkpoints(after, 1000).await?;
        let Some(last) = page.last() else {
            return Ok(found);
        };
        after = last.size;
        for note in page {
            let opened = keys.iter().find_map(|key| key.open(&note.text).ok());
            let checkpoint = opened.filter(|c| c.size == note.size).ok_or(Broken {
                seq: note.size,
                fault: Fault::Checkpoint,
            })?;
            found.push((checkpoint.size, checkpoint.root));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CheckpointKey {
        CheckpointKey::new("forge.example/audit", &[7; 32]).unwrap()
    }

    #[test]
    fn a_checkpoint_is_read_back_with_the_public_key_alone() {
        let note = key().sign(42, Hash([3; 32]));
        let public = key().verifier().to_string();
        let verifier: CheckpointVerifier = public.parse().unwrap();
        assert_eq!(verifier, key().verifier());
        let checkpoint = verifier.open(&note.text).unwrap();
        assert_eq!((checkpoint.size, checkpoint.root), (42, Hash([3; 32])));
        assert!(note.text.starts_with("forge.example/audit\n42\nAwMD"));
        let other = CheckpointKey::new("forge.example/audit", &[8; 32]).unwrap();
        assert!(other.verifier().open(&note.text).is_err());
    }

    /// The key and the note of the documentation of `golang.org/x/mod/sumdb/note`.
    #[test]
    fn the_format_is_that_of_signed_notes() {
        let verifier: Result<CheckpointVerifier, _> =
            "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse();
        assert_eq!(verifier.unwrap().origin(), "PeterNeumann");
        // A key is the same text wherever it is written.
        let other: Result<CheckpointVerifier, _> =
            "PeterNeumann+c74f20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW".parse();
        assert!(other.is_err());
    }

    #[test]
    fn every_flipped_byte_of_a_note_or_a_key_is_found() {
        let verifier = key().verifier();
        let note = key().sign(1_000_000, Hash([9; 32])).text.into_bytes();
        for i in 0..note.len() {
            for bit in 0..8 {
                let mut flipped = note.clone();
                flipped[i] ^= 1 << bit;
                if let Ok(text) = std::str::from_utf8(&flipped) {
                    assert!(verifier.open(text).is_err(), "{text}");
                }
            }
        }
        let text = verifier.to_string().into_bytes();
        for i in 0..text.len() {
            let mut flipped = text.clone();
            flipped[i] ^= 1;
            if let Ok(text) = std::str::from_utf8(&flipped) {
                let read = text.parse::<CheckpointVerifier>();
                assert!(read.is_err(), "{text}");
            }
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for origin in ["", "a b", "a+b", "a\nb", "\u{202e}x"] {
            assert!(CheckpointKey::new(origin, &[1; 32]).is_err());
        }
    }
}
