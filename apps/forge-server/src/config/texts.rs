//! The values of a configuration as they were written, to tell two of them apart.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use super::settings;

/// Of each key that is set, its value as it was written; of a secret a keyed hash, which means
/// nothing outside of this process.
#[derive(Clone, Default)]
pub struct Texts(BTreeMap<&'static str, String>);

impl Texts {
    pub(super) fn insert(&mut self, key: &'static str, text: &str) {
        static STATE: OnceLock<RandomState> = OnceLock::new();
        let secret = settings::find(key).is_some_and(|setting| setting.secret);
        let text = match secret {
            true => format!("{:x}", STATE.get_or_init(RandomState::new).hash_one(text)),
            false => text.to_owned(),
        };
        self.0.insert(key, text);
    }

    /// The keys whose values differ between the two.
    #[must_use]
    pub fn changed(&self, other: &Self) -> Vec<&'static str> {
        let keys = self.0.keys().chain(other.0.keys());
        let mut keys: Vec<_> = keys
            .copied()
            .filter(|key| self.0.get(key) != other.0.get(key))
            .collect();
        keys.sort_unstable();
        keys.dedup();
        keys
    }

    /// The value of a key that is no secret.
    #[must_use]
    pub fn plain(&self, key: &str) -> Option<&str> {
        let secret = settings::find(key).is_none_or(|setting| setting.secret);
        (!secret).then(|| self.0.get(key).map(String::as_str))?
    }

    /// Takes over the value that `other` has for the key.
    pub(crate) fn take_over(&mut self, key: &'static str, other: &Self) {
        match other.0.get(key) {
            Some(text) => self.0.insert(key, text.clone()),
            None => self.0.remove(key),
        };
    }
}

/// The keys alone.
impl fmt::Debug for Texts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_and_secrets_are_not() {
        let (mut one, mut other) = (Texts::default(), Texts::default());
        for texts in [&mut one, &mut other] {
            texts.insert("limits.web", "1/s burst 1");
            texts.insert("keyring", "hush");
        }
        assert_eq!(one.changed(&other), Vec::<&str>::new());
        other.insert("limits.web", "2/s burst 1");
        other.insert("keyring", "hush hush");
        other.insert("hosts", "a");
        assert_eq!(one.changed(&other), ["hosts", "keyring", "limits.web"]);
        assert_eq!(other.plain("limits.web"), Some("2/s burst 1"));
        assert_eq!(other.plain("keyring"), None);
        assert!(!format!("{:?} {:?}", other, other.0["keyring"]).contains("hush"));
        one.take_over("hosts", &other);
        one.take_over("keyring", &other);
        assert_eq!(one.changed(&other), ["limits.web"]);
    }
}
