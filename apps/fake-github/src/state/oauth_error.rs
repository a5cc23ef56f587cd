//! The errors of the token endpoint, in GitHub's words.

/// What the token endpoint refuses with, always with status 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OAuthError {
    IncorrectClientCredentials,
    RedirectUriMismatch,
    BadVerificationCode,
    UnverifiedUserEmail,
    UnsupportedGrantType,
    BadRefreshToken,
    AuthorizationPending,
    /// With the new interval in seconds.
    SlowDown(u64),
    ExpiredToken,
    IncorrectDeviceCode,
    AccessDenied,
}

impl OAuthError {
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::IncorrectClientCredentials => "incorrect_client_credentials",
            Self::RedirectUriMismatch => "redirect_uri_mismatch",
            Self::BadVerificationCode => "bad_verification_code",
            Self::UnverifiedUserEmail => "unverified_user_email",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::BadRefreshToken => "bad_refresh_token",
            Self::AuthorizationPending => "authorization_pending",
            Self::SlowDown(_) => "slow_down",
            Self::ExpiredToken => "expired_token",
            Self::IncorrectDeviceCode => "incorrect_device_code",
            Self::AccessDenied => "access_denied",
        }
    }

    pub(crate) fn description(self) -> &'static str {
        match self {
            Self::IncorrectClientCredentials => {
                "The client_id and/or client_secret passed are incorrect."
            }
            Self::RedirectUriMismatch => {
                "The redirect_uri MUST match the registered callback URL for this application."
            }
            Self::BadVerificationCode => "The code passed is incorrect or expired.",
            Self::UnverifiedUserEmail => "The user must have a verified primary email.",
            Self::UnsupportedGrantType => "The grant_type passed is not supported.",
            Self::BadRefreshToken => "The refresh token passed is incorrect or expired.",
            Self::AuthorizationPending => "The authorization request is still pending.",
            Self::SlowDown(_) => "Too many requests have been made in the same timeframe.",
            Self::ExpiredToken => "The device code has expired.",
            Self::IncorrectDeviceCode => "The device_code provided is not valid.",
            Self::AccessDenied => "The authorization request was denied.",
        }
    }

    pub(crate) fn uri(self) -> &'static str {
        match self {
            Self::IncorrectClientCredentials => {
                "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#incorrect-client-credentials"
            }
            Self::RedirectUriMismatch => {
                "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-authorization-request-errors/#redirect-uri-mismatch2"
            }
            Self::BadVerificationCode | Self::BadRefreshToken => {
                "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#bad-verification-code"
            }
            Self::UnverifiedUserEmail => {
                "https://docs.github.com/apps/managing-oauth-apps/troubleshooting-oauth-app-access-token-request-errors/#unverified_user_email"
            }
            Self::UnsupportedGrantType
            | Self::AuthorizationPending
            | Self::SlowDown(_)
            | Self::ExpiredToken
            | Self::IncorrectDeviceCode
            | Self::AccessDenied => {
                "https://docs.github.com/developers/apps/authorizing-oauth-apps#error-codes-for-the-device-flow"
            }
        }
    }
}
