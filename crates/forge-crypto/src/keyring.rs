//! The keys a vault works with, and the text they are kept in.
//!
//! ```text
//! forge-keyring v1
//! # A line a key: its state, the key in base64url, and a comment if you like.
//! primary     3q2-7wAB…  made in July
//! retired     yv66vgAB…
//! ```
//!
//! Lines end with a line feed, with a carriage return before it or not; fields are separated by
//! spaces or tabs; empty lines and lines that start with `#` mean nothing. The states are
//! `pending`, `primary`, `retired` and `compromised`, in lower case. Exactly one key is primary,
//! and no key stands there twice. A key may also be given in hex, see [`RootKey::parse`].

use std::fmt;
use std::fmt::Write as _;
use std::str::FromStr;

use secrecy::{ExposeSecret, SecretString};

use crate::error::KeyringError;
use crate::key::{KeyId, RootKey};

/// How many keys a keyring holds.
pub(crate) const MAX_KEYS: usize = 256;

const HEADER: &str = "forge-keyring v1";

/// What a key is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyState {
    /// Opens, and does not seal yet: for the time in which a new key reaches every node.
    Pending,
    /// Seals and opens. Exactly one key of a keyring is primary.
    Primary,
    /// Opens what it sealed when it was primary.
    Retired,
    /// Somebody else has the key: opens only what is
    /// [asked for by name](crate::Vault::dangerous_open_compromised).
    Compromised,
}

impl KeyState {
    /// The word that stands for the state in a keyring.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Primary => "primary",
            Self::Retired => "retired",
            Self::Compromised => "compromised",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Primary,
            Self::Retired,
            Self::Compromised,
        ]
        .into_iter()
        .find(|state| state.as_str() == word)
    }
}

impl fmt::Display for KeyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A key of a keyring, with its state and a comment.
pub struct KeyEntry {
    id: KeyId,
    state: KeyState,
    key: RootKey,
    comment: String,
}

impl KeyEntry {
    /// An entry without a comment.
    pub fn new(state: KeyState, key: RootKey) -> Self {
        Self {
            id: key.id(),
            state,
            key,
            comment: String::new(),
        }
    }

    /// A note for people, without white space around it: one line, which [`Keyring::new`] checks.
    /// Default: none.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = comment.into().trim_ascii().to_owned();
        self
    }

    /// The id of the key.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the key is used for.
    pub fn state(&self) -> KeyState {
        self.state
    }

    /// The key.
    pub fn key(&self) -> &RootKey {
        &self.key
    }

    /// The note for people, which may be empty.
    pub fn comment(&self) -> &str {
        &self.comment
    }

    pub(crate) fn set_state(&mut self, state: KeyState) {
        self.state = state;
    }
}

impl fmt::Debug for KeyEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyEntry")
            .field("id", &self.id)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

/// Keys of which exactly one is primary and none stands there twice.
///
/// The keys are wiped from memory when it is dropped; a [`Vault`](crate::Vault) keeps only what it
/// derived from them.
pub struct Keyring {
    entries: Vec<KeyEntry>,
    primary: usize,
}

impl Keyring {
    /// A keyring of these keys.
    ///
    /// # Errors
    /// When not exactly one is primary, one stands there twice, there are more than 256, or a
    /// comment is not one line.
    pub fn new(entries: impl IntoIterator<Item = KeyEntry>) -> Result<Self, KeyringError> {
        let mut ring = Self {
            entries: Vec::new(),
            primary: 0,
        };
        let mut primary: Option<KeyId> = None;
        for entry in entries {
            if ring.entries.len() == MAX_KEYS {
                return Err(KeyringError::TooManyKeys { most: MAX_KEYS });
            }
            if entry.comment.chars().any(|c| c.is_control() && c != '\t') {
                return Err(KeyringError::Comment);
            }
            if ring.entries.iter().any(|other| other.id == entry.id) {
                return Err(KeyringError::Duplicate { id: entry.id });
            }
            if entry.state == KeyState::Primary {
                if let Some(first) = primary {
                    return Err(KeyringError::SeveralPrimaries {
                        first,
                        second: entry.id,
                    });
                }
                primary = Some(entry.id);
                ring.primary = ring.entries.len();
            }
            ring.entries.push(entry);
        }
        primary.map(|_| ring).ok_or(KeyringError::NoPrimary)
    }

    /// A keyring with one new random key.
    ///
    /// # Errors
    /// [`KeyringError::Generate`] when the operating system gives no random bytes.
    pub fn generate() -> Result<Self, KeyringError> {
        let key = RootKey::generate().map_err(KeyringError::Generate)?;
        Self::new([KeyEntry::new(KeyState::Primary, key)])
    }

    /// Reads the [text form](Self::to_text):
    ///
    /// ```text
    /// forge-keyring v1
    /// primary  <43 characters of base64url>  a comment
    /// retired  <43 characters of base64url>
    /// ```
    ///
    /// # Errors
    /// What is wrong with the text, and on which line; never a part of it.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let mut lines = text.lines().zip(1..).filter(|(line, _)| {
            let line = line.trim_ascii();
            !line.is_empty() && !line.starts_with('#')
        });
        match lines.next() {
            Some((header, _)) if header.trim_ascii() == HEADER => {}
            _ => return Err(KeyringError::Header),
        }
        // Made beforehand, so that an early return drops, and thereby wipes, the keys read so far.
        let entries: Vec<_> = lines
            .map(|(text, line)| parse_line(text, line))
            .collect::<Result<_, _>>()?;
        Self::new(entries)
    }

    /// Reads keys as they fit into an environment variable, separated by commas, semicolons or
    /// white space: the first is primary and the others are retired, unless a state and a colon
    /// stand before a key. A whole keyring in its [text form](Self::parse) is read too.
    ///
    /// ```
    /// # use forge_crypto::{Keyring, KeyState};
    /// # let new = forge_crypto::RootKey::generate().unwrap().to_text();
    /// # let old = forge_crypto::RootKey::generate().unwrap().to_text();
    /// # use forge_crypto::secrecy::ExposeSecret;
    /// # let (new, old) = (new.expose_secret(), old.expose_secret());
    /// // The new key reaches every process before it seals, then seals.
    /// Keyring::parse_list(&format!("{old},pending:{new}"))?;
    /// Keyring::parse_list(&format!("{new},{old}"))?;
    /// # Ok::<_, forge_crypto::KeyringError>(())
    /// ```
    ///
    /// # Errors
    /// What is wrong; keys are counted from 1 as lines. Never a part of the text.
    pub fn parse_list(text: &str) -> Result<Self, KeyringError> {
        if text.trim_ascii_start().starts_with(HEADER) {
            return Self::parse(text);
        }
        let separates = |c: char| c == ',' || c == ';' || c.is_ascii_whitespace();
        let keys = text.split(separates).filter(|key| !key.is_empty());
        let entry = |(key, line): (&str, usize)| {
            let (state, key) = match key.split_once(':') {
                Some((state, key)) => (
                    KeyState::parse(state).ok_or(KeyringError::State { line })?,
                    key,
                ),
                None if line == 1 => (KeyState::Primary, key),
                None => (KeyState::Retired, key),
            };
            let key = RootKey::parse(key).map_err(|source| KeyringError::Key { line, source })?;
            Ok(KeyEntry::new(state, key))
        };
        let entries: Vec<_> = keys.zip(1..).map(entry).collect::<Result<_, _>>()?;
        Self::new(entries)
    }

    /// The text form that [`parse`](Self::parse) reads, with the keys in it.
    pub fn to_text(&self) -> SecretString {
        // Enough for every line, so that no grown buffer leaves keys behind in freed memory.
        let comments: usize = self.entries.iter().map(|entry| entry.comment.len()).sum();
        let mut text = String::with_capacity(HEADER.len() + 1 + comments + self.entries.len() * 64);
        text.push_str(HEADER);
        text.push('\n');
        for entry in &self.entries {
            let key = entry.key.to_text();
            let line = write!(text, "{:<11} {}", entry.state, key.expose_secret());
            line.expect("writing to a string");
            if !entry.comment.is_empty() {
                text.push(' ');
                text.push_str(&entry.comment);
            }
            text.push('\n');
        }
        // Exactly sized: a string with room to spare is copied when it is boxed, and the first
        // copy would be freed with the keys in it.
        let mut exact = String::with_capacity(text.len());
        exact.push_str(&text);
        zeroize::Zeroize::zeroize(&mut text);
        SecretString::from(exact)
    }

    /// The keys, in the order of the text.
    pub fn entries(&self) -> &[KeyEntry] {
        &self.entries
    }

    /// The key that seals.
    pub fn primary(&self) -> &KeyEntry {
        &self.entries[self.primary]
    }

    pub(crate) fn into_entries(self) -> Vec<KeyEntry> {
        self.entries
    }

    pub(crate) fn primary_index(&self) -> usize {
        self.primary
    }
}

impl FromStr for Keyring {
    type Err = KeyringError;

    fn from_str(text: &str) -> Result<Self, KeyringError> {
        Self::parse(text)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.entries).finish()
    }
}

fn parse_line(text: &str, line: usize) -> Result<KeyEntry, KeyringError> {
    let (state, rest) = first_field(text);
    let (key, comment) = first_field(rest);
    if key.is_empty() {
        return Err(KeyringError::Line { line });
    }
    let state = KeyState::parse(state).ok_or(KeyringError::State { line })?;
    let key = RootKey::parse(key).map_err(|source| KeyringError::Key { line, source })?;
    Ok(KeyEntry::new(state, key).with_comment(comment))
}

/// The text up to the first white space, and what follows it.
pub(crate) fn first_field(text: &str) -> (&str, &str) {
    let text = text.trim_ascii_start();
    text.split_once([' ', '\t']).unwrap_or((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::KeyError;

    const A: &str = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0";
    const B: &str = "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa4";

    fn refusal(text: &str) -> KeyringError {
        let error = Keyring::parse(text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("ungWv48"), "{shown}");
        assert!(!error.to_string().contains('\n'));
        error
    }

    #[test]
    fn reads_states_keys_and_comments() {
        let text = format!(
            "# made by hand\r\n\n forge-keyring v1 \n\n  # two keys\nretired\t{A}\r\n  primary  {B}   in use, since \u{2764} July  \n"
        );
        let ring = Keyring::parse(&text).unwrap();
        let [first, second] = ring.entries() else {
            panic!("{ring:?}");
        };
        assert_eq!((first.state(), first.comment()), (KeyState::Retired, ""));
        assert_eq!(second.state(), KeyState::Primary);
        assert_eq!(second.comment(), "in use, since \u{2764} July");
        assert_eq!(ring.primary().id(), second.id());
        assert_eq!(first.key(), &RootKey::parse(A).unwrap());
    }

    #[test]
    fn writes_what_it_reads() {
        let text = format!(
            "forge-keyring v1\npending     {A}\nprimary     {B} a # comment\ncompromised {} x\n",
            RootKey::generate().unwrap().to_text().expose_secret()
        );
        let ring = text.parse::<Keyring>().unwrap();
        assert_eq!(ring.to_text().expose_secret(), text);
    }

    #[test]
    fn generates_one_primary_key() {
        let ring = Keyring::generate().unwrap();
        assert_eq!(ring.entries().len(), 1);
        assert_eq!(ring.primary().state(), KeyState::Primary);
    }

    #[test]
    fn refuses_a_text_that_is_no_keyring() {
        for text in [
            String::new(),
            "\n# only comments\n".into(),
            format!("primary {A}"),
            format!("forge-keyring v2\nprimary {A}"),
            format!("forge-keyring v1 primary {A}"),
        ] {
            assert!(matches!(refusal(&text), KeyringError::Header), "{text}");
        }
    }

    #[test]
    fn names_the_line_that_is_wrong() {
        let with = |line: &str| refusal(&format!("forge-keyring v1\nprimary {B}\n\n{line}\n"));
        assert!(matches!(with("retired"), KeyringError::Line { line: 4 }));
        assert!(matches!(with(A), KeyringError::Line { line: 4 }));
        assert!(matches!(
            with(&format!("Retired {A}")),
            KeyringError::State { line: 4 }
        ));
        assert!(matches!(
            with("retired AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            KeyringError::Key {
                line: 4,
                source: KeyError::EqualBytes
            }
        ));
        assert!(matches!(
            with(&format!("retired {A}=A")),
            KeyringError::Key {
                line: 4,
                source: KeyError::TextLength { found: 45 }
            }
        ));
    }

    #[test]
    fn has_exactly_one_primary_and_no_key_twice() {
        let with = |lines: &str| refusal(&format!("forge-keyring v1\n{lines}"));
        assert!(matches!(with(""), KeyringError::NoPrimary));
        assert!(matches!(
            with(&format!("retired {A}\npending {B}")),
            KeyringError::NoPrimary
        ));
        assert!(matches!(
            with(&format!("primary {A}\nprimary {B}")),
            KeyringError::SeveralPrimaries { first, second } if first != second
        ));
        // The same key in another spelling.
        let hex = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(matches!(
            with(&format!("primary {A}\nretired {hex}")),
            KeyringError::Duplicate { .. }
        ));
    }

    #[test]
    fn reads_one_key_or_several_from_a_line() {
        let states = |text: &str| -> Vec<_> {
            let ring = Keyring::parse_list(text).unwrap();
            ring.entries().iter().map(KeyEntry::state).collect()
        };
        use KeyState::{Compromised, Pending, Primary, Retired};
        assert_eq!(states(&format!(" {A}\n")), [Primary]);
        assert_eq!(states(&format!("{A},{B}")), [Primary, Retired]);
        assert_eq!(states(&format!("{A}; pending:{B} ")), [Primary, Pending]);
        assert_eq!(
            states(&format!("compromised:{A} primary:{B}")),
            [Compromised, Primary]
        );
        assert_eq!(
            states(&format!("forge-keyring v1\nprimary {A}\n")),
            [Primary]
        );

        let refusal = |text: &str| Keyring::parse_list(text).unwrap_err();
        assert!(matches!(refusal(""), KeyringError::NoPrimary));
        assert!(matches!(
            refusal(&format!("{A},{A}")),
            KeyringError::Duplicate { .. }
        ));
        assert!(matches!(
            refusal(&format!("old:{A}")),
            KeyringError::State { line: 1 }
        ));
        assert!(matches!(
            refusal(&format!("{A},short")),
            KeyringError::Key { line: 2, .. }
        ));
    }

    #[test]
    fn is_bounded() {
        let entry = |n: usize| {
            let state = match n {
                0 => KeyState::Primary,
                _ => KeyState::Retired,
            };
            KeyEntry::new(state, RootKey::generate().unwrap())
        };
        assert!(Keyring::new((0..MAX_KEYS).map(entry)).is_ok());
        assert!(matches!(
            Keyring::new((0..).map(entry)),
            Err(KeyringError::TooManyKeys { most: MAX_KEYS })
        ));
    }

    #[test]
    fn a_comment_cannot_smuggle_a_line() {
        let key = RootKey::parse(A).unwrap();
        let entry = KeyEntry::new(KeyState::Primary, key).with_comment(format!("x\nretired {B}"));
        assert!(matches!(Keyring::new([entry]), Err(KeyringError::Comment)));
    }

    #[test]
    fn debug_shows_ids_and_states_alone() {
        let ring = Keyring::parse(&format!("forge-keyring v1\nprimary {A} comment")).unwrap();
        let id = RootKey::parse(A).unwrap().id();
        assert_eq!(
            format!("{ring:?}"),
            format!("[KeyEntry {{ id: KeyId({id}), state: Primary, .. }}]")
        );
    }
}
