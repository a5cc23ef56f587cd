//! What can be wrong with a request's host and with a configuration.

/// Why a host is not usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The request names no host.
    #[error("no host")]
    Missing,
    /// More than one `Host` field.
    #[error("more than one host")]
    Duplicated,
    /// Not a name or address with an optional port.
    #[error("malformed host")]
    Malformed,
    /// `Host` and `:authority` (or the absolute request target) differ.
    #[error("host and authority differ")]
    Mismatch,
}

/// Why a text is not an origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OriginError {
    /// The opaque origin `null`, which any sandboxed page can claim.
    #[error("`null` is not an origin that can be trusted")]
    Null,
    /// A wildcard. Only the lists of [`Cors`](crate::Cors) take one, as the whole leftmost label.
    #[error("only the leftmost label can be a wildcard, as in https://*.example.com")]
    Wildcard,
    /// A scheme other than `http` and `https`.
    #[error("the scheme of an origin is http or https")]
    Scheme,
    /// A path, a query or a fragment, even a lone slash.
    #[error("an origin ends with the host or port, without a slash")]
    Path,
    /// Not `scheme://host[:port]`.
    #[error("an origin is written scheme://host or scheme://host:port")]
    Malformed,
}

/// Why the networks of [`TrustedProxies`](crate::TrustedProxies) cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TrustedProxiesError {
    /// The entry is something else.
    #[error(
        "`{}` is neither an address nor a network, such as `::1` or `10.0.0.0/8`",
        entry.escape_debug()
    )]
    Malformed {
        /// The entry as it was given.
        entry: String,
    },
}

/// Why a [`HostAllowList`](crate::HostAllowList) cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostAllowListError {
    /// No host is listed, so that every request would be refused.
    #[error("the list of allowed hosts is empty")]
    Empty,
    /// The entry is not a host, `*.` and a host, with an optional port or `:*`.
    #[error(
        "`{entry}` is not a host, such as `app.example.com`, `*.example.com` or `localhost:3001`"
    )]
    Malformed {
        /// The entry as it was given.
        entry: String,
    },
    /// The wildcard stands before a single label and would match a whole top-level domain.
    #[error("`{entry}` would allow every host of a top-level domain")]
    TooWide {
        /// The entry as it was given.
        entry: String,
    },
}

/// Why a [`Cors`](crate::Cors) policy cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CorsError {
    /// An entry of the allowed origins is not an origin.
    #[error("`{origin}` cannot be an allowed origin")]
    Origin {
        /// The entry as it was given.
        origin: String,
        /// What is wrong with it.
        #[source]
        source: OriginError,
    },
    /// Credentials with any origin: every site could act as the signed-in user.
    #[error("credentials cannot be combined with any origin; list the origins")]
    CredentialsWithAnyOrigin,
    /// Any origin and a list of origins: one of both is a mistake.
    #[error("any origin and a list of origins exclude each other")]
    AnyOriginWithList,
    /// Credentials for an origin in clear, which anyone on the network can speak as.
    #[error("credentials cannot be allowed to `{origin}`, which is not https or this machine")]
    InsecureOriginWithCredentials {
        /// The origin.
        origin: String,
    },
    /// A wildcard below which everyone can register a name.
    #[error("`{origin}` would allow sites of different owners")]
    PublicSuffix {
        /// The entry as it was given.
        origin: String,
    },
    /// An origin for development that other machines can be, or whose port is left open.
    #[error("`{origin}` is not this machine with a port, such as `http://localhost:5173`")]
    NotLocal {
        /// The entry as it was given.
        origin: String,
    },
    /// A method that browsers never send, or that is no method.
    #[error("`{method}` cannot be allowed to other origins")]
    Method {
        /// The entry as it was given.
        method: String,
    },
    /// Not the name of a header field, or `*`.
    #[error("`{name}` is not the name of a header field")]
    Header {
        /// The entry as it was given.
        name: String,
    },
    /// A preflight kept for longer than a day would outlive a change of policy.
    #[error("max_age is at most a day (86400 seconds)")]
    MaxAge,
}

/// Why a [`Csp`](crate::Csp) cannot be built; names the directive and the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CspError {
    /// `;`, `,`, white space, a control or a character outside of ASCII: the value would end the
    /// directive, the policy or the header field.
    #[error("{directive}: `{}` contains a character that ends the value", value.escape_default())]
    Character {
        /// The directive.
        directive: &'static str,
        /// The value as it was given.
        value: String,
    },
    /// A keyword, nonce or hash without its single quotes would be read as a host.
    #[error("{directive}: `{value}` needs single quotes")]
    UnquotedKeyword {
        /// The directive.
        directive: &'static str,
        /// The value as it was given.
        value: String,
    },
    /// In single quotes, but not a keyword or a hash.
    #[error("{directive}: `{value}` is not a keyword or hash")]
    UnknownKeyword {
        /// The directive.
        directive: &'static str,
        /// The value as it was given.
        value: String,
    },
    /// A nonce written into the configuration is the same for everyone.
    #[error("{directive}: a fixed nonce protects nothing; use `Source::NONCE`")]
    FixedNonce {
        /// The directive.
        directive: &'static str,
    },
    /// Not a host, an origin, a scheme or a keyword.
    #[error("{directive}: `{value}` is not a source")]
    Malformed {
        /// The directive.
        directive: &'static str,
        /// The value as it was given.
        value: String,
    },
    /// `'none'` beside other sources is ignored by browsers.
    #[error("{directive}: 'none' stands alone")]
    NoneWithOthers {
        /// The directive.
        directive: &'static str,
    },
    /// A directive without a source; say `'none'`.
    #[error("{directive}: no source")]
    NoSource {
        /// The directive.
        directive: &'static str,
    },
    /// The directive is given twice; browsers ignore the second.
    #[error("{directive}: given twice")]
    Duplicated {
        /// The directive.
        directive: &'static str,
    },
    /// A source that means nothing in the directive, such as a nonce in `form-action`.
    #[error("{directive}: `{value}` has no meaning here")]
    NotApplicable {
        /// The directive.
        directive: &'static str,
        /// The value as it was given.
        value: String,
    },
    /// Sources for one environment only, of a directive that is not given for all.
    #[error("{directive}: not given, so that nothing can be added to it")]
    NotGiven {
        /// The directive.
        directive: &'static str,
    },
    /// No directive at all.
    #[error("the policy is empty")]
    Empty,
}

/// Why a [`ReportingEndpoint`](crate::ReportingEndpoint) cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportingEndpointError {
    /// Not a key of lower-case letters, digits, `_`, `-` and `.`.
    #[error("the name is made of lower-case letters, digits, `_`, `-` and `.`")]
    Name,
    /// Neither a path nor an address that browsers report to.
    #[error("the address is a path that begins with one slash, or begins with https://")]
    Url,
}

/// Why the body of a request is not a [`Report`](crate::Report).
#[cfg(feature = "reports")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// Neither `application/csp-report` nor `application/reports+json`.
    #[error("the media type is not one of reports")]
    MediaType,
    /// More than 16 KiB.
    #[error("the report is too long")]
    TooLong,
    /// Not a report.
    #[error("the report is malformed")]
    Malformed,
}

/// Why an [`Hsts`](crate::Hsts) cannot ask for preloading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HstsError {
    /// The preload list asks for at least a year.
    #[error("preload needs a max-age of at least a year (31536000 seconds)")]
    MaxAge,
    /// The preload list asks for `includeSubDomains`.
    #[error("preload needs include_sub_domains")]
    SubDomains,
}

/// Why a [`PermissionsPolicy`](crate::PermissionsPolicy) cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PermissionsPolicyError {
    /// The name is not a token of lower-case letters, digits and `-`.
    #[error("`{feature}` is not the name of a feature")]
    Feature {
        /// The entry as it was given.
        feature: String,
    },
    /// The feature is given twice.
    #[error("`{feature}` is given twice")]
    Duplicated {
        /// The feature.
        feature: String,
    },
    /// No feature at all.
    #[error("the policy is empty")]
    Empty,
}
