//! The fields whose value is one of a few words.

/// `X-Frame-Options` (RFC 7034).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameOptions {
    /// No page may frame the response.
    Deny,
    /// Pages of the same origin may.
    SameOrigin,
}

impl FrameOptions {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Deny => "DENY",
            Self::SameOrigin => "SAMEORIGIN",
        }
    }
}

/// `Referrer-Policy` (W3C Referrer Policy §3), without the values that give paths to other
/// origins or send anything from https to http.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReferrerPolicy {
    /// Never a referrer.
    NoReferrer,
    /// The full URL to the same origin, nothing to others.
    SameOrigin,
    /// The origin alone, nothing from https to http.
    StrictOrigin,
    /// The full URL to the same origin, the origin to others, nothing from https to http.
    StrictOriginWhenCrossOrigin,
}

impl ReferrerPolicy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NoReferrer => "no-referrer",
            Self::SameOrigin => "same-origin",
            Self::StrictOrigin => "strict-origin",
            Self::StrictOriginWhenCrossOrigin => "strict-origin-when-cross-origin",
        }
    }
}

/// `Cross-Origin-Opener-Policy` (HTML §7.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrossOriginOpenerPolicy {
    /// Shares its windows with pages of the same origin only.
    SameOrigin,
    /// As `SameOrigin`, but may open windows of other origins, as some sign-in pop-ups need.
    SameOriginAllowPopups,
    /// Shares with no page, not even of the same origin, that navigates to it.
    NoopenerAllowPopups,
    /// No isolation.
    UnsafeNone,
}

impl CrossOriginOpenerPolicy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SameOrigin => "same-origin",
            Self::SameOriginAllowPopups => "same-origin-allow-popups",
            Self::NoopenerAllowPopups => "noopener-allow-popups",
            Self::UnsafeNone => "unsafe-none",
        }
    }
}

/// `Cross-Origin-Embedder-Policy` (HTML §7.1.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrossOriginEmbedderPolicy {
    /// Embeds what other origins allow it to.
    RequireCorp,
    /// Embeds from other origins without credentials.
    Credentialless,
    /// No isolation.
    UnsafeNone,
}

impl CrossOriginEmbedderPolicy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::RequireCorp => "require-corp",
            Self::Credentialless => "credentialless",
            Self::UnsafeNone => "unsafe-none",
        }
    }
}

/// `Cross-Origin-Resource-Policy` (Fetch §3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CrossOriginResourcePolicy {
    /// Pages of the same origin may embed the response.
    SameOrigin,
    /// Pages of the same site may.
    SameSite,
    /// All pages may.
    CrossOrigin,
}

impl CrossOriginResourcePolicy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SameOrigin => "same-origin",
            Self::SameSite => "same-site",
            Self::CrossOrigin => "cross-origin",
        }
    }
}

/// `Document-Isolation-Policy` (W3C Document Isolation Policy): cross-origin isolation of one
/// document, whatever those around it do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DocumentIsolationPolicy {
    /// Isolated; embeds what other origins allow it to.
    IsolateAndRequireCorp,
    /// Isolated; embeds from other origins without credentials.
    IsolateAndCredentialless,
    /// No isolation.
    None,
}

impl DocumentIsolationPolicy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::IsolateAndRequireCorp => "isolate-and-require-corp",
            Self::IsolateAndCredentialless => "isolate-and-credentialless",
            Self::None => "none",
        }
    }
}

/// `Integrity-Policy` (W3C Subresource Integrity §3.7): what is not loaded without an `integrity`
/// attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IntegrityPolicy {
    /// Scripts.
    Scripts,
    /// Scripts and style sheets.
    ScriptsAndStyles,
}

impl IntegrityPolicy {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Scripts => "blocked-destinations=(script)",
            Self::ScriptsAndStyles => "blocked-destinations=(script style)",
        }
    }
}
