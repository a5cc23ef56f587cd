//! What can go wrong.

use std::fmt;

/// Any error, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A text that is no name of the wanted type: empty, too long, or with letters not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a valid name")]
pub struct InvalidName;

/// The operating system gave no random bytes.
#[derive(Debug, thiserror::Error)]
#[error("no random bytes from the operating system")]
pub struct RandomError(#[source] pub(crate) getrandom::Error);

/// Why a store could not answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The store could not be reached, or did not finish.
    #[error("session store unavailable")]
    Unavailable(#[source] BoxError),
    /// What is stored cannot be read.
    #[error("session store holds a row that cannot be read")]
    Corrupt(#[source] BoxError),
}

/// Why [`Sessions`](crate::Sessions) could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The idle limit is below a minute, or above the absolute limit.
    #[error("the idle limit must be at least a minute and at most the absolute limit")]
    Limits,
    /// The life of an access token is not from one second to
    /// [`MAX_ACCESS_TTL`](crate::MAX_ACCESS_TTL).
    #[error("an access token must live at least a second and at most an hour")]
    AccessTtl,
    /// The overlap is above an hour, or a cookie's secret is replaced before two overlaps are over.
    #[error("the overlap must be at most an hour, and half the time between rotations")]
    Overlap,
    /// What is cached lives longer than a minute: for so long another node may not know of a
    /// revocation.
    #[error("what is cached must be read again within a minute")]
    CacheTtl,
    /// The issuer or the audience of access tokens is empty.
    #[error("access tokens need an issuer and an audience")]
    AccessTokens,
}

/// Why a session could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// The kind has no policy.
    #[error("the kind of session has no policy")]
    UnknownKind,
    /// The kind bears access tokens, which name a client (RFC 9068), but none was given.
    #[error("a session that bears access tokens needs a client")]
    MissingClient,
    /// No secret could be made.
    #[error("no secret could be made")]
    Random(#[from] RandomError),
    /// The store failed.
    #[error("the session could not be stored")]
    Store(#[from] StoreError),
}

/// Why a credential was not accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthenticateError {
    /// The credential is no good.
    #[error("credential not accepted: {0}")]
    Rejected(#[from] Rejection),
    /// Whether it is good could not be decided: treat it as no good.
    #[error("the session could not be looked up")]
    Store(#[from] StoreError),
}

/// Why a refresh token was not exchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefreshError {
    /// The refresh token is no good.
    #[error("refresh token not accepted: {0}")]
    Rejected(#[from] Rejection),
    /// No access token could be issued; the refresh token is still the current one.
    #[error("no access token could be issued")]
    Issue(#[from] IssueError),
    /// No new refresh token could be made; the presented one is still the current one.
    #[error("no secret could be made")]
    Random(#[from] RandomError),
    /// The store failed.
    #[error("the session could not be looked up or rotated")]
    Store(#[from] StoreError),
}

/// Why no access token was issued.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// The [`Sessions`](crate::Sessions) were built without
    /// [`access_tokens`](crate::SessionsBuilder::access_tokens).
    #[error("no issuer of access tokens is configured")]
    NotConfigured,
    /// The session is of a kind that bears no access tokens, or is over, or has not the scopes
    /// that were asked for.
    #[error("the session bears no access tokens")]
    NotEntitled,
    /// The signature could not be made.
    #[error("the access token could not be signed")]
    Sign(#[source] BoxError),
}

/// Why a signing key could not be made or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The operating system gave no random bytes.
    #[error("no key could be made")]
    Random(#[from] RandomError),
    /// The bytes are no Ed25519 private key in PKCS #8.
    #[error("not an Ed25519 private key in PKCS #8")]
    Malformed,
    /// A shared secret has less than 32 bytes (RFC 7518, section 3.2).
    #[error("a shared secret must have at least 32 bytes")]
    TooShort,
}

/// Why a request, or a credential, was not accepted: for the audit and the metrics. The client is
/// told less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Rejection {
    /// There is no credential where one is required.
    Absent,
    /// The session is of a kind that is not admitted here.
    WrongKind,
    /// The access token has not the scope that is required here.
    Scope,
    /// The session's user may not do this.
    Forbidden,
    /// The user has to sign in again first: the last time is too long ago, or the session is used
    /// in an odd way.
    StepUp,
    /// The credential is not of the right shape.
    Malformed,
    /// There is more than one credential of the same sort.
    Ambiguous,
    /// An access token came in the query of the URL.
    InQuery,
    /// No session has this secret, or the access token's session is gone.
    Unknown,
    /// The session has expired.
    Expired,
    /// The session has been revoked.
    Revoked,
    /// The secret has been replaced by another, longer ago than the overlap.
    Reused,
    /// Another request replaced the refresh token in the same moment.
    Raced,
    /// A cookie's secret was presented as a refresh token, or the reverse.
    WrongCarrier,
    /// The refresh token was issued to another client.
    WrongClient,
    /// The access token did not pass.
    Token(TokenError),
    /// The ticket is unknown, used, too old, or for another path.
    Ticket,
    /// The session is revoked because of what was noticed with this request.
    Threat,
    /// The store failed, so nothing was accepted.
    StoreUnavailable,
}

impl Rejection {
    /// The reason as it is logged and counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::WrongKind => "wrong_kind",
            Self::Scope => "scope",
            Self::Forbidden => "forbidden",
            Self::StepUp => "step_up",
            Self::Malformed => "malformed",
            Self::Ambiguous => "ambiguous",
            Self::InQuery => "in_query",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::Reused => "reused",
            Self::Raced => "raced",
            Self::WrongCarrier => "wrong_carrier",
            Self::WrongClient => "wrong_client",
            Self::Token(error) => error.as_str(),
            Self::Ticket => "ticket",
            Self::Threat => "threat",
            Self::StoreUnavailable => "store_unavailable",
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Rejection {}

impl From<TokenError> for Rejection {
    fn from(error: TokenError) -> Self {
        Self::Token(error)
    }
}

/// What is wrong with an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TokenError {
    /// There is no issuer of access tokens configured, so none can be good.
    NotConfigured,
    /// It is longer than 4 KiB.
    TooLong,
    /// It is no JWT, or its header cannot be read; `alg` of `none` is one such.
    Malformed,
    /// The header has a member other than `alg`, `typ` and `kid`, such as `crit`, `jku` or `jwk`.
    Header,
    /// `typ` is not `at+jwt`.
    Type,
    /// `alg` is not the key's algorithm.
    Algorithm,
    /// `kid` is absent or names no key.
    Key,
    /// The signature is not the key's.
    Signature,
    /// A required claim is absent or of the wrong type.
    Claims,
    /// `iss` is not this issuer.
    Issuer,
    /// `aud` is not this audience.
    Audience,
    /// `exp` is past.
    Expired,
    /// `nbf` or `iat` is yet to come.
    NotYetValid,
}

impl TokenError {
    /// The reason as it is logged and counted.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "token_not_configured",
            Self::TooLong => "token_too_long",
            Self::Malformed => "token_malformed",
            Self::Header => "token_header",
            Self::Type => "token_type",
            Self::Algorithm => "token_algorithm",
            Self::Key => "token_key",
            Self::Signature => "token_signature",
            Self::Claims => "token_claims",
            Self::Issuer => "token_issuer",
            Self::Audience => "token_audience",
            Self::Expired => "token_expired",
            Self::NotYetValid => "token_not_yet_valid",
        }
    }
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for TokenError {}
