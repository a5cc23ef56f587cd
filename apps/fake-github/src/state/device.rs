//! The device flow (RFC 8628): a code for the device to poll with, a code for the person to enter.

use std::time::{Duration, SystemTime};

use super::{Issued, OAuthError, Scopes, State, token::Holder};
use crate::random;

/// How long both codes live.
pub(crate) const DEVICE_LIFETIME: Duration = Duration::from_secs(900);
/// Seconds between two polls, at first.
const INTERVAL: u64 = 5;
/// Seconds that a poll that came too soon adds.
const SLOW_DOWN: u64 = 5;

#[derive(Debug)]
pub(super) struct Device {
    client_id: String,
    user_code: String,
    scopes: Scopes,
    expires_at: SystemTime,
    interval: u64,
    polled_at: Option<SystemTime>,
    decision: Decision,
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Pending,
    Authorized { account_id: u64 },
    Denied,
}

/// What the device is told.
#[derive(Debug)]
pub(crate) struct DeviceStart {
    pub(crate) device_code: String,
    pub(crate) user_code: String,
    pub(crate) interval: u64,
}

/// The user code is wrong, expired or was entered before.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UserCodeError;

impl State {
    pub(crate) fn begin_device(
        &mut self,
        client_id: &str,
        scopes: Scopes,
        now: SystemTime,
    ) -> DeviceStart {
        let start = DeviceStart {
            device_code: random::device_code(),
            user_code: random::user_code(),
            interval: INTERVAL,
        };
        self.devices.insert(
            start.device_code.clone(),
            Device {
                client_id: client_id.to_owned(),
                user_code: start.user_code.clone(),
                scopes,
                expires_at: now + DEVICE_LIFETIME,
                interval: INTERVAL,
                polled_at: None,
                decision: Decision::Pending,
            },
        );
        start
    }

    /// The person's answer: an account that allows, or none who denies. A user code takes one
    /// answer.
    pub(crate) fn decide_device(
        &mut self,
        user_code: &str,
        account_id: Option<u64>,
        now: SystemTime,
    ) -> Result<(), UserCodeError> {
        let entered = normalised(user_code);
        let device_code = self
            .devices
            .iter()
            .find(|(_, device)| {
                device.decision == Decision::Pending
                    && device.expires_at > now
                    && normalised(&device.user_code) == entered
            })
            .map(|(device_code, _)| device_code.to_owned())
            .ok_or(UserCodeError)?;
        let device = self.devices.get_mut(&device_code).ok_or(UserCodeError)?;
        let Some(account_id) = account_id else {
            device.decision = Decision::Denied;
            return Ok(());
        };
        device.decision = Decision::Authorized { account_id };
        let client_id = device.client_id.clone();
        let asked = std::mem::take(&mut device.scopes);
        let granted = self.grant(&client_id, account_id, asked);
        if let Some(device) = self.devices.get_mut(&device_code) {
            device.scopes = granted;
        }
        Ok(())
    }

    pub(crate) fn poll_device(
        &mut self,
        client_id: &str,
        device_code: &str,
        now: SystemTime,
    ) -> Result<Issued, OAuthError> {
        let device = self
            .devices
            .get_mut(device_code)
            .filter(|device| device.client_id == client_id)
            .ok_or(OAuthError::IncorrectDeviceCode)?;
        if device.expires_at <= now {
            return Err(OAuthError::ExpiredToken);
        }
        let too_soon = device
            .polled_at
            .is_some_and(|at| now < at + Duration::from_secs(device.interval));
        device.polled_at = Some(now);
        if too_soon {
            device.interval += SLOW_DOWN;
            return Err(OAuthError::SlowDown(device.interval));
        }
        let account_id = match device.decision {
            Decision::Pending => return Err(OAuthError::AuthorizationPending),
            Decision::Denied => return Err(OAuthError::AccessDenied),
            Decision::Authorized { account_id } => account_id,
        };
        let holder = Holder {
            client_id: client_id.to_owned(),
            account_id,
            scopes: std::mem::take(&mut device.scopes),
            by_device: true,
        };
        self.devices.remove(device_code);
        self.issue(holder, now)
    }
}

fn normalised(user_code: &str) -> String {
    user_code
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_uppercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Account, OCTO_USER};

    fn after(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn begun() -> (State, DeviceStart) {
        let mut state = State::new(Account::defaults(), true);
        let start = state.begin_device("app", Scopes::parse("read:user"), after(0));
        (state, start)
    }

    #[test]
    fn gives_a_token_once_the_person_allowed_it() {
        let (mut state, start) = begun();
        let poll = |state: &mut State, at| state.poll_device("app", &start.device_code, after(at));
        assert_eq!(
            poll(&mut state, 0).unwrap_err(),
            OAuthError::AuthorizationPending
        );
        let typed = start.user_code.replace('-', "").to_lowercase();
        state
            .decide_device(&typed, Some(OCTO_USER), after(1))
            .unwrap();
        let issued = poll(&mut state, 5).unwrap();
        assert_eq!(issued.scopes.join(","), "read:user");
        let held = state.access(&issued.access_token, after(5)).unwrap();
        assert_eq!(held.holder.account_id, OCTO_USER);
        assert_eq!(
            poll(&mut state, 10).unwrap_err(),
            OAuthError::IncorrectDeviceCode
        );
        // A token of the device flow is refreshed without the secret.
        assert!(
            state
                .refresh("app", &issued.refresh_token.unwrap(), false, after(11))
                .is_ok()
        );
    }

    #[test]
    fn each_poll_that_comes_too_soon_adds_five_seconds() {
        let (mut state, start) = begun();
        let mut poll = |at| {
            state
                .poll_device("app", &start.device_code, after(at))
                .unwrap_err()
        };
        assert_eq!(poll(0), OAuthError::AuthorizationPending);
        assert_eq!(poll(4), OAuthError::SlowDown(10));
        assert_eq!(poll(13), OAuthError::SlowDown(15));
        assert_eq!(poll(28), OAuthError::AuthorizationPending);
    }

    #[test]
    fn is_denied_for_good() {
        let (mut state, start) = begun();
        state
            .decide_device(&start.user_code, None, after(1))
            .unwrap();
        assert_eq!(
            state.decide_device(&start.user_code, Some(OCTO_USER), after(2)),
            Err(UserCodeError)
        );
        assert_eq!(
            state
                .poll_device("app", &start.device_code, after(5))
                .unwrap_err(),
            OAuthError::AccessDenied
        );
    }

    #[test]
    fn expires_after_fifteen_minutes() {
        let (mut state, start) = begun();
        assert_eq!(
            state.decide_device(&start.user_code, Some(OCTO_USER), after(900)),
            Err(UserCodeError)
        );
        assert_eq!(
            state
                .poll_device("app", &start.device_code, after(900))
                .unwrap_err(),
            OAuthError::ExpiredToken
        );
    }

    #[test]
    fn is_bound_to_its_client() {
        let (mut state, start) = begun();
        assert_eq!(
            state
                .poll_device("other", &start.device_code, after(1))
                .unwrap_err(),
            OAuthError::IncorrectDeviceCode
        );
        assert_eq!(
            state.decide_device("", Some(OCTO_USER), after(1)),
            Err(UserCodeError)
        );
    }
}
