//! Tickets: for clients that can set no header, such as `EventSource` and `WebSocket`.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::clock::Timestamp;
use crate::error::RandomError;
use crate::session::SessionId;

/// How long a ticket is good.
pub(crate) const TTL: Duration = Duration::from_secs(30);

/// How many tickets are kept; the oldest give way.
const MAX: usize = 10_000;

/// The tickets that were issued and not presented yet, by the hash of each.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<HashMap<[u8; 32], Issued>>);

struct Issued {
    session: SessionId,
    path: String,
    expires: Timestamp,
}

impl Tickets {
    pub(crate) fn issue(
        &self,
        session: SessionId,
        path: &str,
        now: Timestamp,
    ) -> Result<SecretString, RandomError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(RandomError)?;
        let ticket = Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_slice()));
        let issued = Issued {
            session,
            path: path.to_owned(),
            expires: now + TTL,
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MAX {
            all.retain(|_, issued| now < issued.expires);
        }
        if all.len() >= MAX {
            let oldest = all.iter().min_by_key(|(_, issued)| issued.expires);
            if let Some(hash) = oldest.map(|(hash, _)| *hash) {
                all.remove(&hash);
            }
        }
        all.insert(hash(&ticket), issued);
        Ok(ticket.as_str().into())
    }

    /// The session of a ticket, which is then used up, whatever it was presented for.
    pub(crate) fn redeem(&self, ticket: &str, path: &str, now: Timestamp) -> Option<SessionId> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let issued = all.remove(&hash(ticket))?;
        let good = now < issued.expires && issued.path == path;
        good.then_some(issued.session)
    }
}

fn hash(ticket: &str) -> [u8; 32] {
    Sha256::digest(ticket).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);

    #[test]
    fn is_good_once_on_its_path_for_thirty_seconds() {
        let tickets = Tickets::default();
        let session = SessionId::new();
        let late = T0 + Duration::from_micros(29_999_999);
        for (path, at, expected) in [
            ("/events", late, Some(session)),
            ("/events", T0 + TTL, None),
            ("/other", T0, None),
            ("/events/", T0, None),
        ] {
            let ticket = tickets.issue(session, "/events", T0).unwrap();
            let ticket = ticket.expose_secret();
            assert_eq!(tickets.redeem(ticket, path, at), expected, "{path}");
            assert_eq!(tickets.redeem(ticket, "/events", T0), None, "used up");
        }
        assert_eq!(tickets.redeem("", "/events", T0), None);
    }

    #[test]
    fn keeps_a_bounded_number() {
        let tickets = Tickets::default();
        for _ in 0..MAX + 10 {
            tickets.issue(SessionId::new(), "/", T0).unwrap();
        }
        assert_eq!(tickets.0.lock().unwrap().len(), MAX);
    }
}
