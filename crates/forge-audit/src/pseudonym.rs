//! Other names for what tells of a person: the same for the same, and back only with the key.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const DOMAIN: &[u8] = b"forge-audit/pseudonym/1\0";

/// Makes pseudonyms: HMAC-SHA256 with a secret key, of which 128 bits are shown.
///
/// The same text always gets the same one, so that events can be correlated; without the key nobody
/// can try out which text it stands for.
#[derive(Clone)]
pub struct Pseudonyms {
    hmac: Hmac<Sha256>,
}

impl Pseudonyms {
    /// Pseudonyms by this key, of 32 random bytes.
    ///
    /// # Panics
    ///
    /// Never: a key of HMAC may have any length.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let mut hmac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        hmac.update(DOMAIN);
        Self { hmac }
    }

    /// The pseudonym of `text`: `p-` and 32 hexadecimal digits.
    #[must_use]
    pub fn of(&self, text: &str) -> String {
        use fmt::Write;
        let mut hmac = self.hmac.clone();
        hmac.update(text.as_bytes());
        let tag: [u8; 32] = hmac.finalize().into_bytes().into();
        let mut pseudonym = "p-".to_owned();
        for byte in &tag[..16] {
            // Writing to a String cannot fail.
            let _ = write!(pseudonym, "{byte:02x}");
        }
        pseudonym
    }
}

impl fmt::Debug for Pseudonyms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pseudonyms").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_text_has_the_same_one_and_another_key_another() {
        let names = Pseudonyms::new(&[1; 32]);
        let name = names.of("octo@example.com");
        assert_eq!(name, Pseudonyms::new(&[1; 32]).of("octo@example.com"));
        assert_ne!(name, names.of("octo@example.org"));
        assert_ne!(name, Pseudonyms::new(&[2; 32]).of("octo@example.com"));
        assert!(name.len() == 34 && !name.contains("octo"));
        assert!(!format!("{names:?}").contains('1'));
    }
}
