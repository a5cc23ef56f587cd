//! Everything the stand-in remembers, decided in plain functions: state and time in, answer out.

mod code;
mod device;
mod oauth_error;
mod scopes;
mod token;

use std::collections::BTreeMap;

use self::{
    code::Code,
    device::Device,
    token::{Access, Refresh},
};
pub(crate) use self::{
    code::CodeRequest,
    device::DEVICE_LIFETIME,
    oauth_error::OAuthError,
    scopes::Scopes,
    token::{ACCESS_LIFETIME, Issued, REFRESH_LIFETIME},
};
use crate::{Account, ControlError, Organization, shelf::Shelf};

/// How many codes, and how many device codes, are kept alive.
const CODES: usize = 1_000;
/// How many access tokens, and how many refresh tokens, are kept alive.
const TOKENS: usize = 10_000;

#[derive(Debug)]
pub(crate) struct State {
    accounts: Vec<Account>,
    organizations: Vec<Organization>,
    expiring_tokens: bool,
    /// What an account has let a client do, by client id and account id.
    grants: BTreeMap<(String, u64), Scopes>,
    codes: Shelf<Code>,
    devices: Shelf<Device>,
    access: Shelf<Access>,
    refresh: Shelf<Refresh>,
}

impl State {
    pub(crate) fn new(accounts: Vec<Account>, expiring_tokens: bool) -> Self {
        Self {
            accounts,
            organizations: Vec::new(),
            expiring_tokens,
            grants: BTreeMap::new(),
            codes: Shelf::new(CODES),
            devices: Shelf::new(CODES),
            access: Shelf::new(TOKENS),
            refresh: Shelf::new(TOKENS),
        }
    }

    pub(crate) fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    pub(crate) fn account(&self, id: u64) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    pub(crate) fn account_called(&self, login: &str) -> Option<&Account> {
        self.accounts
            .iter()
            .find(|account| account.is_called(login))
    }

    pub(crate) fn organizations(&self) -> &[Organization] {
        &self.organizations
    }

    /// Puts an organization in the place of the one of the same id.
    pub(crate) fn set_organization(&mut self, organization: Organization) {
        self.remove_organization(organization.id);
        self.organizations.push(organization);
    }

    pub(crate) fn remove_organization(&mut self, id: u64) {
        self.organizations.retain(|known| known.id != id);
    }

    pub(crate) fn rename(&mut self, id: u64, login: &str) -> Result<(), ControlError> {
        let valid = (1..=39).contains(&login.len())
            && login
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !valid {
            return Err(ControlError::InvalidLogin);
        }
        if self
            .account_called(login)
            .is_some_and(|holder| holder.id != id)
        {
            return Err(ControlError::LoginTaken);
        }
        let account = self
            .accounts
            .iter_mut()
            .find(|account| account.id == id)
            .ok_or(ControlError::UnknownAccount)?;
        account.login = login.to_owned();
        Ok(())
    }

    /// What an authorization gives: the scopes asked for, or those given before when none are
    /// asked for.
    fn grant(&mut self, client_id: &str, account_id: u64, asked: Scopes) -> Scopes {
        let given = self
            .grants
            .entry((client_id.to_owned(), account_id))
            .or_default();
        if asked.is_empty() {
            return given.clone();
        }
        given.extend(&asked);
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OCTO_ADMIN, OCTO_STRANGER};

    #[test]
    fn renames_and_lets_a_login_be_reused() {
        let mut state = State::new(Account::defaults(), false);
        state.rename(OCTO_ADMIN, "octo-former").unwrap();
        state.rename(OCTO_STRANGER, "octo-admin").unwrap();
        assert_eq!(
            state.account_called("OCTO-ADMIN").unwrap().id,
            OCTO_STRANGER
        );
        assert_eq!(state.account(OCTO_ADMIN).unwrap().login, "octo-former");
    }

    #[test]
    fn refuses_a_rename_that_github_would_refuse() {
        let mut state = State::new(Account::defaults(), false);
        assert_eq!(
            state.rename(7, "someone"),
            Err(ControlError::UnknownAccount)
        );
        assert_eq!(
            state.rename(OCTO_ADMIN, "octo-USER"),
            Err(ControlError::LoginTaken)
        );
        for login in ["", "a b", &"x".repeat(40)] {
            assert_eq!(
                state.rename(OCTO_ADMIN, login),
                Err(ControlError::InvalidLogin)
            );
        }
        assert_eq!(state.rename(OCTO_ADMIN, "Octo-Admin"), Ok(()));
    }

    #[test]
    fn gives_the_scopes_of_before_when_none_are_asked_for() {
        let mut state = State::new(Account::defaults(), false);
        assert!(state.grant("app", 1001, Scopes::default()).is_empty());
        state.grant("app", 1001, Scopes::parse("read:user"));
        state.grant("app", 1001, Scopes::parse("gist"));
        let given = state.grant("app", 1001, Scopes::default());
        assert_eq!(given, Scopes::parse("gist read:user"));
        assert!(state.grant("app", 1002, Scopes::default()).is_empty());
    }
}
