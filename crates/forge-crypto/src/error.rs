//! What can go wrong, without a key, a secret or a caller's input in any message.

use std::path::PathBuf;

use crate::key::KeyId;

/// Any error, as the sources of this crate's errors and Tower's services have it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a text or some bytes are not accepted as a key, in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is not as long as a key.
    #[error(
        "the key has {found} characters; a 256-bit key has 43 in base64 (44 with padding) or 64 in hex"
    )]
    TextLength {
        /// How many bytes of text there are.
        found: usize,
    },
    /// The text is as long as a key, but neither base64 nor hex.
    #[error("the key is neither base64 of 32 bytes nor hex")]
    Encoding,
    /// The bytes are not 32.
    #[error("the key has {found} bytes; 32 are needed")]
    Length {
        /// How many bytes there are.
        found: usize,
    },
    /// All bytes are alike.
    #[error("the key is one byte repeated; generate a random key")]
    EqualBytes,
    /// Each byte is the one before plus the same step.
    #[error("the key is a sequence of numbers; generate a random key")]
    Sequence,
    /// The second half is the first half.
    #[error("the key is its first half twice; generate a random key")]
    Repetition,
    /// The key uses fewer different bytes than any random key does.
    #[error("the key has only {distinct} different bytes; generate a random key")]
    FewDistinctBytes {
        /// How many different bytes there are.
        distinct: usize,
    },
    /// All bytes are printable ASCII: a passphrase, or text that was encoded twice.
    #[error(
        "the key is readable text, perhaps a passphrase or encoded twice; generate a random key"
    )]
    ReadableText,
    /// The key is published, or the hash of a word.
    #[error("the key is a known default; generate a random key")]
    KnownDefault,
    /// A passphrase is too short.
    #[error("the passphrase has {found} bytes; at least 16 are needed, six random words are good")]
    ShortPassphrase {
        /// How many bytes there are.
        found: usize,
    },
    /// The text is not what is kept beside a passphrase.
    #[error("the salt of a passphrase is not one that was generated")]
    Salt,
    /// There is no memory to derive a key from a passphrase.
    #[error("there is not enough memory to derive the key")]
    Memory,
    /// The text is not the id of a key.
    #[error("a key id has 11 base64url characters")]
    Id,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] BoxError),
}

/// Why a keyring cannot be read, made or written, with what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The text does not start with the line that names its format.
    #[error("the first line of a keyring is \"forge-keyring v1\"")]
    Header,
    /// The text does not start with the line that names the format with wrapped keys.
    #[error("the first line of a keyring with wrapped keys is \"forge-wrapped-keyring v1\"")]
    WrappedHeader,
    /// A line is not `state key [comment]`.
    #[error("line {line} of the keyring: write \"<state> <key> [comment]\"")]
    Line {
        /// Counted from 1.
        line: usize,
    },
    /// A line starts with a word that is no state.
    #[error("line {line} of the keyring: a state is pending, primary, retired or compromised")]
    State {
        /// Counted from 1.
        line: usize,
    },
    /// A line holds something that is no key.
    #[error("line {line} of the keyring: {source}")]
    Key {
        /// Counted from 1.
        line: usize,
        /// What is wrong with the key.
        source: KeyError,
    },
    /// A comment has more than one line, or a control character.
    #[error("a comment in a keyring is one line without control characters")]
    Comment,
    /// A key stands in the keyring twice.
    #[error("key {id} stands in the keyring twice; remove one of the two")]
    Duplicate {
        /// The key.
        id: KeyId,
    },
    /// No key is primary.
    #[error("no key of the keyring is primary; mark the one that is to seal")]
    NoPrimary,
    /// Several keys are primary.
    #[error("keys {first} and {second} are both primary; mark one of them retired or pending")]
    SeveralPrimaries {
        /// The first.
        first: KeyId,
        /// The second.
        second: KeyId,
    },
    /// There are more keys than a keyring holds.
    #[error("a keyring holds at most {most} keys; remove retired keys that seal nothing any more")]
    TooManyKeys {
        /// The limit.
        most: usize,
    },
    /// A new key could not be made.
    #[error("no key was made")]
    Generate(#[source] KeyError),
    /// Others may read the file.
    #[error("keyring {path} may be read by others (mode {mode:04o}); run: chmod 600 {path}", path = path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The path is a folder, a device or a pipe.
    #[error("keyring {path} is not a regular file", path = path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is larger than any keyring.
    #[error("keyring {path} has more than {most} bytes; is it the right file?", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        most: u64,
    },
    /// The file is not text.
    #[error("keyring {path} is not UTF-8 text; is it the right file?", path = path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The file is there already, and a keyring is never overwritten.
    #[error("{path} exists already and is left as it is; choose another path or move it away", path = path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The environment has no such variable.
    #[error("the environment variable {name} is not set, or is not text")]
    NoVariable {
        /// Its name.
        name: String,
    },
    /// The service manager passed no credentials.
    #[error(
        "CREDENTIALS_DIRECTORY is not set; pass the keyring with LoadCredential=forge-keyring:<file>"
    )]
    NoCredentialsDirectory,
    /// Reading or writing failed.
    #[error("keyring {path} cannot be {action}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// `read`, `locked` or `written`.
        action: &'static str,
        /// What the operating system says.
        source: std::io::Error,
    },
}

/// Why a step of a rotation was not taken. The keyring is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RotationError {
    /// There is no such key.
    #[error("the keyring has no key {id}")]
    Unknown {
        /// The id that was asked for.
        id: KeyId,
    },
    /// The key is the one that seals.
    #[error("key {id} is primary; promote another key first")]
    Primary {
        /// The key.
        id: KeyId,
    },
    /// Somebody else has the key.
    #[error("key {id} is compromised and cannot become primary")]
    Compromised {
        /// The key.
        id: KeyId,
    },
    /// Values are sealed under the key.
    #[error("key {id} still protects {values} stored {}; rewrap first", noun(*values))]
    InUse {
        /// The key.
        id: KeyId,
        /// How many.
        values: u64,
    },
    /// The keyring cannot be read, or the next one cannot be made or written.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

fn noun(values: u64) -> &'static str {
    match values {
        1 => "value",
        _ => "values",
    }
}

/// Why the sources of keys give no keyring.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeySourceError {
    /// There is no source.
    #[error("there are no keys; make a keyring")]
    None,
    /// Production has no keyring.
    #[error(
        "there is no keyring, and production does not seal under a key derived from the JWT secret unless told to"
    )]
    Production,
    /// The JWT secret is too short to derive a key from.
    #[error("the JWT secret has {found} bytes; at least 32 are needed")]
    ShortJwtSecret {
        /// How many bytes there are.
        found: usize,
    },
    /// A key is the JWT secret itself.
    #[error("key {id} is the JWT secret; generate a key of its own")]
    JwtSecret {
        /// The key.
        id: KeyId,
    },
    /// The keys make no keyring.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

/// Why an API key was not issued or not recognised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeyError {
    /// The prefix is not one.
    #[error(
        "the prefix of an API key has 1 to 16 lower-case letters, digits and underscores and starts with a letter"
    )]
    Prefix,
    /// The text is no API key of this prefix, or mistyped.
    #[error("not an API key")]
    Malformed,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] BoxError),
}

/// Why a password was not hashed, or not compared.
#[cfg(feature = "argon2")]
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The password is longer than any that is typed.
    #[error("a password has at most {most} bytes")]
    TooLong {
        /// The limit in bytes.
        most: usize,
    },
    /// The stored text is no hash of this format.
    #[error("the stored text is not an argon2id hash")]
    Malformed,
    /// The parameters ask for more than a machine should be asked for, or less than there is.
    #[error("the parameters of argon2id are out of bounds")]
    Cost,
    /// Too many callers are waiting.
    #[error("too many passwords are being hashed")]
    Busy,
    /// There is no memory to compute a hash.
    #[error("there is not enough memory to hash")]
    Memory,
    /// The runtime is shutting down.
    #[error("the process is ending")]
    Ended,
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes")]
    Random(#[source] BoxError),
}

/// Why a request that was to bear a credential has no response.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// The client below failed.
    #[error("the request failed")]
    Upstream(#[source] BoxError),
    /// The credential could not be looked for.
    #[error("the stored credential could not be read")]
    Source(#[source] BoxError),
    /// There is no credential for the request.
    #[error("there is no stored credential for this request")]
    Missing,
    /// The credential could not be opened.
    #[error(transparent)]
    Open(OpenError),
    /// The credential has bytes that a header cannot bear.
    #[error("the stored credential does not fit into a header")]
    NotAHeader,
    /// The request goes to another host than the one that may get credentials.
    #[error("credentials are not sent to this host")]
    Destination,
    /// The request goes in clear to another machine.
    #[error("credentials are not sent over plain http")]
    PlainHttp,
}

/// Why a key was not wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WrapError {
    /// The service that wraps cannot be reached, or refuses.
    #[error("the service that wraps keys failed")]
    Unavailable(#[source] BoxError),
    /// The wrapped key is not one, or was wrapped by another.
    #[error("the wrapped key cannot be unwrapped")]
    Refused,
    /// What was unwrapped is another key than the text says, or none.
    #[error("the unwrapped key is not the one it is said to be")]
    OtherKey,
    /// The keys make no keyring, or the text is not one of wrapped keys.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
}

/// Why something was not sealed. Nothing was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The table, the column or the row of the context is empty, or the tenant was left out of a
    /// table that has tenants: it would not bind the value to its place.
    #[error("a context names a table, a column and a row, and the tenant where there are tenants")]
    EmptyContext,
    /// The plaintext is longer than [`MAX_PLAINTEXT`](crate::MAX_PLAINTEXT).
    #[error("a plaintext has at most {most} bytes")]
    TooLong {
        /// The limit in bytes.
        most: usize,
    },
    /// The operating system gave no random bytes for the nonce.
    #[error("the operating system gave no random bytes")]
    Random(#[source] BoxError),
    /// The cipher refused. No input within the limits is known to lead here.
    #[error("the cipher refused to seal")]
    Cipher,
}

/// A sealed value could not be opened.
///
/// It says no more to anyone, so that it is no oracle; the reason goes to the
/// [observer](crate::OnVault) as an [`OpenFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not open sealed value")]
#[non_exhaustive]
pub struct OpenError;

/// Why a value was not sealed anew. The old one is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResealError {
    /// The value does not open.
    #[error(transparent)]
    Open(OpenError),
    /// Nothing can be sealed.
    #[error(transparent)]
    Seal(SealError),
}

/// Why a store of sealed columns did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Unavailable(#[source] BoxError),
    /// The ids of the table's rows are not of the kind that its description names.
    #[error("the row ids of a table are not of the kind it is described with")]
    RowKind,
}

/// Why a sealed value could not be opened; for logs and audit, not for whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum OpenFailure {
    /// The text is longer than any sealed value.
    #[error("the text is longer than any sealed value")]
    TooLong,
    /// The text is not of the format `fv1`.
    #[error("the text is not a sealed value")]
    Malformed,
    /// The keyring has no key of that id.
    #[error("the key is not in the keyring")]
    UnknownKey,
    /// The key is marked compromised.
    #[error("the key is marked compromised")]
    CompromisedKey,
    /// The value was not sealed under the key whose id it bears, or its nonce was changed.
    #[error("the key commitment does not match")]
    Commitment,
    /// The value was changed, or was sealed for another place.
    #[error("the value was changed or belongs to another place")]
    Authentication,
    /// The value is sound, but is not the UTF-8 text that was asked for.
    #[error("the value is not text")]
    NotText,
}

impl OpenFailure {
    /// One lower-case word with underscores, for labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::Malformed => "malformed",
            Self::UnknownKey => "unknown_key",
            Self::CompromisedKey => "compromised_key",
            Self::Commitment => "commitment",
            Self::Authentication => "authentication",
            Self::NotText => "not_text",
        }
    }
}

/// A request that should bear a vault bears none: no [`VaultLayer`](crate::VaultLayer) is mounted
/// around the handler.
///
/// With the feature `axum` it is a response, with `tonic` a status: 500, and `INTERNAL`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no vault is at hand for this request")]
pub struct MissingVault {
    /// The request's id, for the response.
    pub(crate) request_id: Option<Box<str>>,
}

impl MissingVault {
    pub(crate) fn new() -> Self {
        Self { request_id: None }
    }
}
