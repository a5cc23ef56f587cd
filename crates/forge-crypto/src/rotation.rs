//! The steps of a rotation: from one keyring to the next, without any I/O.
//!
//! ```text
//!             promote another        nothing remains
//!  pending ──► primary ──► retired ──────────────────► (gone)
//!     │   promote             │  ▲                        ▲
//!     └───────────────────────┴──┼── compromise ► compromised
//!                                └ promote again
//! ```

use crate::error::{KeyringError, RotationError};
use crate::key::{KeyId, RootKey};
use crate::keyring::{KeyEntry, KeyState, Keyring};
use crate::store::Remaining;

/// The steps of a rotation. Each takes a keyring and gives the next, or says why not; each is
/// meant to reach every process before the next one is taken.
///
/// ```
/// use forge_crypto::{Keyring, Remaining, RootKey};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ring = Keyring::generate()?;
/// let (old, key) = (ring.primary().id(), RootKey::generate()?);
/// let new = key.id();
///
/// let ring = ring.add(key, "made in July")?; // opens everywhere, seals nowhere
/// let ring = ring.promote(new)?; // seals; the old one opens what it sealed
/// # let remaining = Remaining::default();
/// // … a `Rewrap` ran, and this is what its `remaining()` counted …
/// let ring = ring.retire(old, &remaining)?; // the old key is gone
/// assert_eq!(ring.entries().len(), 1);
/// # Ok(())
/// # }
/// ```
impl Keyring {
    /// Adds a new key that opens and does not seal yet.
    ///
    /// # Errors
    /// When the key is there already, the keyring is full, or the comment is not one line.
    pub fn add(self, key: RootKey, comment: impl Into<String>) -> Result<Self, RotationError> {
        let entry = KeyEntry::new(KeyState::Pending, key).with_comment(comment);
        Ok(Self::new(self.into_entries().into_iter().chain([entry]))?)
    }

    /// Makes a pending or retired key the primary one, and the primary one retired.
    ///
    /// # Errors
    /// When there is no such key, it is primary already, or it is compromised.
    pub fn promote(self, id: KeyId) -> Result<Self, RotationError> {
        match self.state(id)? {
            KeyState::Primary => return Err(RotationError::Primary { id }),
            KeyState::Compromised => return Err(RotationError::Compromised { id }),
            KeyState::Pending | KeyState::Retired => {}
        }
        let mut entries = self.into_entries();
        for entry in &mut entries {
            if entry.id() == id {
                entry.set_state(KeyState::Primary);
            } else if entry.state() == KeyState::Primary {
                entry.set_state(KeyState::Retired);
            }
        }
        Ok(Self::new(entries)?)
    }

    /// Marks a key that somebody else has: it opens only what is
    /// [asked for by name](crate::Vault::dangerous_open_compromised). There is no way back.
    ///
    /// # Errors
    /// When there is no such key, or it is primary: promote another one first.
    pub fn compromise(self, id: KeyId) -> Result<Self, RotationError> {
        if self.state(id)? == KeyState::Primary {
            return Err(RotationError::Primary { id });
        }
        let mut entries = self.into_entries();
        for entry in &mut entries {
            if entry.id() == id {
                entry.set_state(KeyState::Compromised);
            }
        }
        Ok(Self::new(entries)?)
    }

    /// Takes a key out of the keyring, of which `remaining` says that nothing is sealed under it
    /// any more. What it sealed in backups can then be opened only with the key itself.
    ///
    /// # Errors
    /// When there is no such key, it is primary, or values remain under it.
    pub fn retire(self, id: KeyId, remaining: &Remaining) -> Result<Self, RotationError> {
        if self.state(id)? == KeyState::Primary {
            return Err(RotationError::Primary { id });
        }
        match remaining.under(id) {
            0 => {
                let mut entries = self.into_entries();
                entries.retain(|entry| entry.id() != id);
                Ok(Self::new(entries)?)
            }
            values => Err(RotationError::InUse { id, values }),
        }
    }

    /// Adds a key of another origin as one that only opens; a key that is there stays as it is.
    pub(crate) fn with_retired(
        self,
        key: RootKey,
        comment: &'static str,
    ) -> Result<Self, KeyringError> {
        let entry = KeyEntry::new(KeyState::Retired, key).with_comment(comment);
        if self.entries().iter().any(|other| other.id() == entry.id()) {
            return Ok(self);
        }
        Self::new(self.into_entries().into_iter().chain([entry]))
    }

    fn state(&self, id: KeyId) -> Result<KeyState, RotationError> {
        let entry = self.entries().iter().find(|entry| entry.id() == id);
        entry
            .map(KeyEntry::state)
            .ok_or(RotationError::Unknown { id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{key, keyring};

    fn states(ring: &Keyring) -> Vec<(KeyId, KeyState)> {
        let state = |entry: &KeyEntry| (entry.id(), entry.state());
        ring.entries().iter().map(state).collect()
    }

    fn ids<const N: usize>(words: [&str; N]) -> [KeyId; N] {
        words.map(|word| key(word).id())
    }

    #[test]
    fn a_rotation_is_add_promote_retire() {
        use KeyState::{Pending, Primary, Retired};
        let [a, b] = ids(["a", "b"]);
        let ring = keyring(&[(Primary, "a")]).add(key("b"), "second").unwrap();
        assert_eq!(states(&ring), [(a, Primary), (b, Pending)]);
        assert_eq!(ring.entries()[1].comment(), "second");
        let ring = ring.promote(b).unwrap();
        assert_eq!(states(&ring), [(a, Retired), (b, Primary)]);
        // Back again, if need be.
        let ring = ring.promote(a).unwrap();
        assert_eq!(states(&ring), [(a, Primary), (b, Retired)]);
        let ring = ring.retire(b, &Remaining::default()).unwrap();
        assert_eq!(states(&ring), [(a, Primary)]);
    }

    #[test]
    fn a_key_in_use_cannot_be_retired() {
        let [a, b] = ids(["a", "b"]);
        let ring = || keyring(&[(KeyState::Retired, "a"), (KeyState::Primary, "b")]);
        let mut remaining = Remaining::default();
        remaining.add(Some(b), 7);
        remaining.add(None, 7);
        assert!(ring().retire(a, &remaining).is_ok());
        assert!(matches!(
            ring().retire(b, &Remaining::default()),
            Err(RotationError::Primary { id }) if id == b
        ));
        remaining.add(Some(a), 1);
        assert!(matches!(
            ring().retire(a, &remaining),
            Err(RotationError::InUse { id, values: 1 }) if id == a
        ));
    }

    #[test]
    fn a_compromised_key_seals_never_again() {
        let [a, b, c] = ids(["a", "b", "c"]);
        let ring = || keyring(&[(KeyState::Retired, "a"), (KeyState::Primary, "b")]);
        let marked = ring().compromise(a).unwrap();
        assert_eq!(states(&marked)[0], (a, KeyState::Compromised));
        let marked = marked.compromise(a).unwrap();
        assert!(matches!(
            marked.promote(a),
            Err(RotationError::Compromised { id }) if id == a
        ));
        assert!(matches!(ring().compromise(b), Err(RotationError::Primary { id }) if id == b));
        for missing in [
            ring().promote(c),
            ring().compromise(c),
            ring().retire(c, &Remaining::default()),
        ] {
            assert!(matches!(missing, Err(RotationError::Unknown { id }) if id == c));
        }
        assert!(matches!(ring().promote(b), Err(RotationError::Primary { id }) if id == b));
        assert!(matches!(
            ring().add(key("a"), ""),
            Err(RotationError::Keyring(KeyringError::Duplicate { id })) if id == a
        ));
    }
}
