//! What browsers report about the policies they enforce.

use std::fmt;

pub(crate) mod collector;
pub(crate) mod future;
pub(crate) mod on_report;
pub(crate) mod parse;

/// One report of a browser.
///
/// Whoever can reach the endpoint can make one up: it is a hint, never proof. Texts are cut to
/// 1 KiB, control characters are taken out, and addresses come without user information, query
/// and fragment, which may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// A content security policy was violated.
    CspViolation(CspViolation),
    /// Something else was reported: another policy's violation, a crash, a deprecation.
    Other(OtherReport),
}

/// A violation of a content security policy (CSP Level 3 §5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CspViolation {
    /// The page.
    pub document_url: String,
    /// Where the user came from.
    pub referrer: String,
    /// What was blocked: an address, or a word such as `inline` or `eval`.
    pub blocked_url: String,
    /// The directive that blocked it.
    pub effective_directive: String,
    /// The policy, as the browser read it.
    pub original_policy: String,
    /// Whether it was blocked or only reported.
    pub disposition: Disposition,
    /// The script that caused it.
    pub source_file: String,
    /// The line in that script; 0 where it is unknown.
    pub line_number: u32,
    /// The column in that line; 0 where it is unknown.
    pub column_number: u32,
    /// The status of the page; 0 where it is unknown.
    pub status_code: u16,
    /// The start of what was blocked, where the policy says `'report-sample'`.
    pub sample: String,
}

/// What a browser did about a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disposition {
    /// Blocked.
    #[default]
    Enforce,
    /// Only reported.
    Report,
}

impl Disposition {
    /// `enforce` or `report`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for Disposition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A report that is not about a content security policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct OtherReport {
    /// Its type, such as `coop`, `coep`, `integrity-violation` or `crash`.
    pub kind: String,
    /// The page.
    pub url: String,
}
