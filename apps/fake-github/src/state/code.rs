//! Authorization codes: tried once, ten minutes, bound to client, redirect URI and PKCE challenge.

use std::time::{Duration, SystemTime};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::{Issued, OAuthError, Scopes, State, token::Holder};
use crate::random;

/// How long a code may be exchanged.
const LIFETIME: Duration = Duration::from_secs(10 * 60);

/// What an account has authorized.
#[derive(Debug)]
pub(crate) struct CodeRequest {
    pub(crate) client_id: String,
    pub(crate) account_id: u64,
    pub(crate) redirect_uri: String,
    pub(crate) scopes: Scopes,
    /// The S256 challenge (RFC 7636), when one was sent.
    pub(crate) challenge: Option<String>,
}

#[derive(Debug)]
pub(super) struct Code {
    request: CodeRequest,
    expires_at: SystemTime,
}

impl State {
    pub(crate) fn issue_code(&mut self, mut request: CodeRequest, now: SystemTime) -> String {
        request.scopes = self.grant(&request.client_id, request.account_id, request.scopes);
        self.codes.retain(|code| code.expires_at > now);
        let code = random::code();
        self.codes.insert(
            code.clone(),
            Code {
                request,
                expires_at: now + LIFETIME,
            },
        );
        code
    }

    /// Exchanges a code. Its own client spends it with the first try, whatever comes of it.
    pub(crate) fn redeem_code(
        &mut self,
        client_id: &str,
        code: &str,
        redirect_uri: Option<&str>,
        verifier: Option<&str>,
        now: SystemTime,
    ) -> Result<Issued, OAuthError> {
        let is_own = self
            .codes
            .get(code)
            .is_some_and(|code| code.request.client_id == client_id);
        let request = is_own
            .then(|| self.codes.remove(code))
            .flatten()
            .filter(|code| code.expires_at > now)
            .map(|code| code.request)
            .ok_or(OAuthError::BadVerificationCode)?;
        if redirect_uri.is_some_and(|uri| uri != request.redirect_uri) {
            return Err(OAuthError::RedirectUriMismatch);
        }
        if let Some(challenge) = &request.challenge
            && !verifier.is_some_and(|verifier| matches(verifier, challenge))
        {
            return Err(OAuthError::BadVerificationCode);
        }
        self.issue(
            Holder {
                client_id: request.client_id,
                account_id: request.account_id,
                scopes: request.scopes,
                by_device: false,
            },
            now,
        )
    }
}

/// RFC 7636 section 4.6, method S256.
fn matches(verifier: &str, challenge: &str) -> bool {
    let computed = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    computed.as_bytes().ct_eq(challenge.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Account, OCTO_ADMIN};

    const CALLBACK: &str = "http://127.0.0.1/callback";
    // RFC 7636 appendix B.
    const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

    fn state_with_code(challenge: Option<&str>) -> (State, String) {
        let mut state = State::new(Account::defaults(), false);
        let code = state.issue_code(
            CodeRequest {
                client_id: "app".into(),
                account_id: OCTO_ADMIN,
                redirect_uri: CALLBACK.into(),
                scopes: Scopes::parse("read:user"),
                challenge: challenge.map(str::to_owned),
            },
            SystemTime::UNIX_EPOCH,
        );
        (state, code)
    }

    fn after(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn works_once() {
        let (mut state, code) = state_with_code(None);
        let issued = state.redeem_code("app", &code, Some(CALLBACK), None, after(599));
        assert_eq!(issued.unwrap().scopes.join(","), "read:user");
        assert_eq!(
            state
                .redeem_code("app", &code, Some(CALLBACK), None, after(599))
                .unwrap_err(),
            OAuthError::BadVerificationCode
        );
    }

    #[test]
    fn expires_after_ten_minutes() {
        let (mut state, code) = state_with_code(None);
        assert_eq!(
            state
                .redeem_code("app", &code, None, None, after(600))
                .unwrap_err(),
            OAuthError::BadVerificationCode
        );
    }

    #[test]
    fn another_client_neither_gets_nor_spends_it() {
        let (mut state, code) = state_with_code(None);
        assert_eq!(
            state
                .redeem_code("thief", &code, None, None, after(1))
                .unwrap_err(),
            OAuthError::BadVerificationCode
        );
        assert!(
            state
                .redeem_code("app", &code, None, None, after(1))
                .is_ok()
        );
    }

    #[test]
    fn is_bound_to_its_redirect_uri() {
        let (mut state, code) = state_with_code(None);
        let other = Some("http://127.0.0.1/callback/other");
        assert_eq!(
            state
                .redeem_code("app", &code, other, None, after(1))
                .unwrap_err(),
            OAuthError::RedirectUriMismatch
        );
    }

    #[test]
    fn checks_the_verifier_when_a_challenge_was_sent() {
        let (mut state, code) = state_with_code(Some(CHALLENGE));
        assert!(
            state
                .redeem_code("app", &code, None, Some(VERIFIER), after(1))
                .is_ok()
        );
        // The challenge itself is what the plain method would send.
        for verifier in [None, Some("wrong"), Some(CHALLENGE)] {
            let (mut state, code) = state_with_code(Some(CHALLENGE));
            assert_eq!(
                state
                    .redeem_code("app", &code, None, verifier, after(1))
                    .unwrap_err(),
                OAuthError::BadVerificationCode
            );
            assert!(
                state
                    .redeem_code("app", &code, None, Some(VERIFIER), after(1))
                    .is_err()
            );
        }
    }

    #[test]
    fn the_oldest_codes_go_when_there_are_too_many() {
        let (mut state, first) = state_with_code(None);
        for _ in 0..super::super::CODES {
            state.issue_code(
                CodeRequest {
                    client_id: "app".into(),
                    account_id: OCTO_ADMIN,
                    redirect_uri: CALLBACK.into(),
                    scopes: Scopes::default(),
                    challenge: None,
                },
                after(1),
            );
        }
        assert!(state.codes.get(&first).is_none());
        assert_eq!(state.codes.iter().count(), super::super::CODES);
    }
}
