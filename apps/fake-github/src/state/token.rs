//! Access tokens and refresh tokens: issued, refreshed, revoked.

use std::time::{Duration, SystemTime};

use super::{OAuthError, Scopes, State};
use crate::random;

/// How long a `ghu_` token lives.
pub(crate) const ACCESS_LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);
/// How long a `ghr_` token lives: 184 days.
pub(crate) const REFRESH_LIFETIME: Duration = Duration::from_secs(15_897_600);
/// Tokens alive for one account, application and set of scopes; an eleventh revokes the oldest
/// ("Creating multiple tokens for OAuth apps" in "Authorizing OAuth apps").
const TOKENS_PER_GRANT: usize = 10;

/// Whom a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) client_id: String,
    pub(crate) account_id: u64,
    pub(crate) scopes: Scopes,
    /// Got by the device flow, so that a refresh needs no client secret.
    pub(crate) by_device: bool,
}

#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) holder: Holder,
    expires_at: Option<SystemTime>,
    refresh_token: Option<String>,
}

#[derive(Debug)]
pub(super) struct Refresh {
    holder: Holder,
    expires_at: SystemTime,
    access_token: String,
}

/// What the token endpoint gives.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) access_token: String,
    pub(crate) scopes: Scopes,
    pub(crate) refresh_token: Option<String>,
}

impl State {
    pub(super) fn issue(&mut self, holder: Holder, now: SystemTime) -> Result<Issued, OAuthError> {
        match self.account(holder.account_id) {
            Some(account) if account.email_verified => {}
            _ => return Err(OAuthError::UnverifiedUserEmail),
        }
        self.forget_expired(now);
        self.make_room(&holder);
        let scopes = holder.scopes.clone();
        let prefix = if self.expiring_tokens { "ghu_" } else { "gho_" };
        let access_token = random::access_token(prefix);
        let refresh_token = self.expiring_tokens.then(random::refresh_token);
        if let Some(refresh_token) = &refresh_token {
            self.refresh.insert(
                refresh_token.clone(),
                Refresh {
                    holder: holder.clone(),
                    expires_at: now + REFRESH_LIFETIME,
                    access_token: access_token.clone(),
                },
            );
        }
        let dropped = self.access.insert(
            access_token.clone(),
            Access {
                holder,
                expires_at: self.expiring_tokens.then(|| now + ACCESS_LIFETIME),
                refresh_token: refresh_token.clone(),
            },
        );
        if let Some((
            _,
            Access {
                refresh_token: Some(refresh_token),
                ..
            },
        )) = dropped
        {
            self.refresh.remove(&refresh_token);
        }
        Ok(Issued {
            access_token,
            scopes,
            refresh_token,
        })
    }

    /// Spends a refresh token: it and its access token are gone, whether used up or not.
    pub(crate) fn refresh(
        &mut self,
        client_id: &str,
        refresh_token: &str,
        has_secret: bool,
        now: SystemTime,
    ) -> Result<Issued, OAuthError> {
        let refresh = self
            .refresh
            .get(refresh_token)
            .filter(|refresh| refresh.holder.client_id == client_id && refresh.expires_at > now)
            .ok_or(OAuthError::BadRefreshToken)?;
        if !has_secret && !refresh.holder.by_device {
            return Err(OAuthError::IncorrectClientCredentials);
        }
        let holder = refresh.holder.clone();
        let access_token = refresh.access_token.clone();
        self.refresh.remove(refresh_token);
        self.access.remove(&access_token);
        self.issue(holder, now)
    }

    /// The token's record while it is alive.
    pub(crate) fn access(&self, token: &str, now: SystemTime) -> Option<&Access> {
        self.access
            .get(token)
            .filter(|access| access.expires_at.is_none_or(|at| at > now))
    }

    /// Ends one token of this client. False when it has no such token.
    pub(crate) fn revoke_token(&mut self, client_id: &str, token: &str, now: SystemTime) -> bool {
        if self.holder_of(client_id, token, now).is_none() {
            return false;
        }
        self.drop_access(token);
        true
    }

    /// Ends the grant a token came from, and with it every token of that account for this client.
    /// False when the client has no such token.
    pub(crate) fn revoke_grant(&mut self, client_id: &str, token: &str, now: SystemTime) -> bool {
        let Some(account_id) = self.holder_of(client_id, token, now) else {
            return false;
        };
        let is_other =
            |holder: &Holder| holder.client_id != client_id || holder.account_id != account_id;
        self.access.retain(|access| is_other(&access.holder));
        self.refresh.retain(|refresh| is_other(&refresh.holder));
        self.grants.remove(&(client_id.to_owned(), account_id));
        true
    }

    /// Every access token and refresh token alive, oldest first of each.
    pub(crate) fn live_tokens(&self, now: SystemTime) -> Vec<String> {
        let access = self
            .access
            .iter()
            .filter(|(_, access)| access.expires_at.is_none_or(|at| at > now))
            .map(|(token, _)| token.to_owned());
        let refresh = self
            .refresh
            .iter()
            .filter(|(_, refresh)| refresh.expires_at > now)
            .map(|(token, _)| token.to_owned());
        access.chain(refresh).collect()
    }

    fn holder_of(&self, client_id: &str, token: &str, now: SystemTime) -> Option<u64> {
        self.access(token, now)
            .filter(|access| access.holder.client_id == client_id)
            .map(|access| access.holder.account_id)
    }

    fn drop_access(&mut self, token: &str) {
        if let Some(Access {
            refresh_token: Some(refresh_token),
            ..
        }) = self.access.remove(token)
        {
            self.refresh.remove(&refresh_token);
        }
    }

    fn forget_expired(&mut self, now: SystemTime) {
        self.refresh.retain(|refresh| refresh.expires_at > now);
        self.access
            .retain(|access| access.expires_at.is_none_or(|at| at > now));
    }

    fn make_room(&mut self, holder: &Holder) {
        let same: Vec<String> = self
            .access
            .iter()
            .filter(|(_, access)| {
                access.holder.client_id == holder.client_id
                    && access.holder.account_id == holder.account_id
                    && access.holder.scopes == holder.scopes
            })
            .map(|(token, _)| token.to_owned())
            .collect();
        let surplus = (same.len() + 1).saturating_sub(TOKENS_PER_GRANT);
        for token in &same[..surplus] {
            self.drop_access(token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Account, OCTO_ADMIN, OCTO_USER};

    fn holder(account_id: u64) -> Holder {
        Holder {
            client_id: "app".into(),
            account_id,
            scopes: Scopes::parse("read:user"),
            by_device: false,
        }
    }

    fn seconds(at: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(at)
    }

    #[test]
    fn a_plain_token_never_expires() {
        let mut state = State::new(Account::defaults(), false);
        let issued = state.issue(holder(OCTO_ADMIN), seconds(0)).unwrap();
        assert!(issued.access_token.starts_with("gho_"));
        assert_eq!(issued.refresh_token, None);
        assert!(
            state
                .access(&issued.access_token, seconds(u32::MAX.into()))
                .is_some()
        );
    }

    #[test]
    fn an_expiring_token_lives_eight_hours() {
        let mut state = State::new(Account::defaults(), true);
        let issued = state.issue(holder(OCTO_ADMIN), seconds(0)).unwrap();
        assert!(issued.access_token.starts_with("ghu_"));
        assert!(
            state
                .access(&issued.access_token, seconds(28_799))
                .is_some()
        );
        assert!(
            state
                .access(&issued.access_token, seconds(28_800))
                .is_none()
        );
        assert_eq!(
            state.live_tokens(seconds(28_800)),
            [issued.refresh_token.unwrap()]
        );
    }

    #[test]
    fn a_refresh_token_works_once_and_ends_the_old_access_token() {
        let mut state = State::new(Account::defaults(), true);
        let first = state.issue(holder(OCTO_ADMIN), seconds(0)).unwrap();
        let refresh_token = first.refresh_token.unwrap();
        assert_eq!(
            state
                .refresh("other", &refresh_token, true, seconds(1))
                .unwrap_err(),
            OAuthError::BadRefreshToken
        );
        assert_eq!(
            state
                .refresh("app", &refresh_token, false, seconds(1))
                .unwrap_err(),
            OAuthError::IncorrectClientCredentials
        );
        let second = state
            .refresh("app", &refresh_token, true, seconds(1))
            .unwrap();
        assert!(state.access(&first.access_token, seconds(1)).is_none());
        assert!(state.access(&second.access_token, seconds(1)).is_some());
        assert_eq!(
            state
                .refresh("app", &refresh_token, true, seconds(1))
                .unwrap_err(),
            OAuthError::BadRefreshToken
        );
        let late = seconds(2) + REFRESH_LIFETIME;
        assert_eq!(
            state
                .refresh("app", &second.refresh_token.unwrap(), true, late)
                .unwrap_err(),
            OAuthError::BadRefreshToken
        );
    }

    #[test]
    fn the_eleventh_token_of_a_grant_ends_the_first() {
        let mut state = State::new(Account::defaults(), true);
        let first = state.issue(holder(OCTO_ADMIN), seconds(0)).unwrap();
        let other = state.issue(holder(OCTO_USER), seconds(0)).unwrap();
        for _ in 0..9 {
            state.issue(holder(OCTO_ADMIN), seconds(0)).unwrap();
        }
        assert!(state.access(&first.access_token, seconds(0)).is_some());
        state.issue(holder(OCTO_ADMIN), seconds(0)).unwrap();
        assert!(state.access(&first.access_token, seconds(0)).is_none());
        assert!(state.access(&other.access_token, seconds(0)).is_some());
        assert!(
            !state
                .live_tokens(seconds(0))
                .contains(&first.refresh_token.unwrap())
        );
    }

    #[test]
    fn revoking_a_grant_ends_that_accounts_tokens_only() {
        let mut state = State::new(Account::defaults(), true);
        let one = state.issue(holder(OCTO_ADMIN), seconds(0)).unwrap();
        state.issue(holder(OCTO_ADMIN), seconds(0)).unwrap();
        let other = state.issue(holder(OCTO_USER), seconds(0)).unwrap();
        assert!(!state.revoke_grant("else", &one.access_token, seconds(0)));
        assert!(state.revoke_grant("app", &one.access_token, seconds(0)));
        assert!(!state.revoke_grant("app", &one.access_token, seconds(0)));
        assert_eq!(
            state.live_tokens(seconds(0)),
            [other.access_token, other.refresh_token.unwrap()]
        );
    }

    #[test]
    fn an_account_without_a_verified_address_gets_no_token() {
        let accounts = vec![Account::new(5, "new").email_verified(false)];
        let mut state = State::new(accounts, false);
        assert_eq!(
            state.issue(holder(5), seconds(0)).unwrap_err(),
            OAuthError::UnverifiedUserEmail
        );
    }
}
