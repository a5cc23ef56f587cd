//! Sign-ins from a terminal that are under way (RFC 8628).
//!
//! They are kept in memory: they live for minutes, and a restart only makes people begin again.
//! The device code that the terminal polls with is Forge's own; GitHub's never leaves the server.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use forge_session::ClientId;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::github::DeviceStart;

/// How many may be under way.
const MAX: usize = 1000;

/// What GitHub wants between two polls, and a little more, so that the limit of this server for
/// such requests is never in the way of who keeps to it.
const MIN_INTERVAL: Duration = Duration::from_secs(7);

/// What polling too early adds (RFC 8628, section 3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// The sign-ins under way, by the hash of Forge's device code.
#[derive(Clone)]
pub struct DeviceLogins {
    pending: Arc<Mutex<HashMap<[u8; 32], Pending>>>,
    clock: Clock,
}

struct Pending {
    github: SecretString,
    client: ClientId,
    interval: Duration,
    /// When it may be polled again, and when it is over, since the start of the server.
    next_poll: Duration,
    ends: Duration,
}

/// What the terminal is told.
pub(crate) struct Begun {
    pub(crate) device_code: Zeroizing<String>,
    pub(crate) interval: Duration,
}

/// What a poll may do.
pub(crate) enum Poll {
    /// Ask GitHub.
    Ask {
        github: SecretString,
        client: ClientId,
    },
    /// It came too early.
    SlowDown,
    /// The code is over.
    Expired,
    /// Nobody was given this code, or it is used up.
    Unknown,
}

impl DeviceLogins {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            pending: Arc::default(),
            clock,
        }
    }

    /// Keeps a device flow that has begun at GitHub. None where too many are under way.
    pub(crate) fn begin(
        &self,
        start: &DeviceStart,
        client: ClientId,
    ) -> Result<Option<Begun>, getrandom::Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice())?;
        let device_code = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let now = self.clock.since_start();
        let mut pending = self.pending();
        pending.retain(|_, login| now < login.ends);
        if pending.len() >= MAX {
            return Ok(None);
        }
        let interval = start.interval.max(MIN_INTERVAL);
        let login = Pending {
            github: start.device_code.clone(),
            client,
            interval,
            next_poll: now,
            ends: now + start.expires_in,
        };
        pending.insert(hash(&device_code), login);
        Ok(Some(Begun {
            device_code,
            interval,
        }))
    }

    /// A poll: GitHub is asked for one code by one request at a time, and not too often.
    pub(crate) fn poll(&self, device_code: &str, client: &ClientId) -> Poll {
        let now = self.clock.since_start();
        let mut pending = self.pending();
        let hash = hash(device_code);
        let Some(login) = pending.get_mut(&hash).filter(|l| l.client == *client) else {
            return Poll::Unknown;
        };
        if now >= login.ends {
            pending.remove(&hash);
            return Poll::Expired;
        }
        if now < login.next_poll {
            login.interval += SLOW_DOWN;
            login.next_poll = now + login.interval;
            return Poll::SlowDown;
        }
        login.next_poll = now + login.interval;
        Poll::Ask {
            github: login.github.clone(),
            client: login.client.clone(),
        }
    }

    /// GitHub itself was asked too often.
    pub(crate) fn slow_down(&self, device_code: &str) {
        let now = self.clock.since_start();
        if let Some(login) = self.pending().get_mut(&hash(device_code)) {
            login.interval += SLOW_DOWN;
            login.next_poll = now + login.interval;
        }
    }

    /// The code is used up, whatever came of it.
    pub(crate) fn end(&self, device_code: &str) {
        self.pending().remove(&hash(device_code));
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<[u8; 32], Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for DeviceLogins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceLogins").finish_non_exhaustive()
    }
}

fn hash(device_code: &str) -> [u8; 32] {
    Sha256::digest(device_code).into()
}
