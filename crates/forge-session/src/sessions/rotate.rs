//! A new secret for an old one: each has one successor, and one that comes too late is theft.

use std::time::Duration;

use secrecy::SecretString;

use crate::clock::Timestamp;
use crate::error::{AuthenticateError, RandomError, Rejection, StoreError};
use crate::on_event::SessionEvent;
use crate::policy::{KindPolicy, OnReuse};
use crate::secret::{RotationSalt, Secret};
use crate::session::{Caller, RevokeCause, Session};
use crate::sessions::Sessions;
use crate::store::{Found, Matched, Rotation, Selector};
use crate::threat;

/// A secret that takes the place of the presented one.
pub(crate) struct Renewed {
    pub(crate) secret: SecretString,
    /// How long it is of use at most.
    pub(crate) max_age: Duration,
}

/// Why there is no successor.
pub(super) enum Refused {
    Rejected(Rejection),
    Random(RandomError),
    /// The successor could not be written: the presented secret is still the current one.
    NotWritten(StoreError),
    /// Whether there is one could not be decided.
    Store(StoreError),
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Sessions {
    pub(super) fn is_due(&self, session: &Session, policy: &KindPolicy) -> bool {
        let since = session.rotated.unwrap_or(session.created);
        self.now().duration_since(since) >= policy.rotate_after
    }

    /// The secret that follows a cookie's. If none can be written now, the presented one is good
    /// until it can.
    pub(super) async fn renew(
        &self,
        found: Found,
        policy: &KindPolicy,
        presented: &Secret,
        caller: &Caller,
    ) -> Result<(Session, Option<Renewed>), AuthenticateError> {
        let session = found.session.clone();
        match self.successor(found, policy, presented, caller).await {
            Ok((session, secret)) => {
                let renewed = Renewed {
                    secret: secret.reveal(),
                    max_age: session.absolute_expires.duration_since(self.now()),
                };
                Ok((session, Some(renewed)))
            }
            Err(Refused::Rejected(rejection)) => Err(rejection.into()),
            Err(Refused::Store(error)) => Err(error.into()),
            Err(Refused::Random(error)) => Ok(not_renewed(session, &error)),
            Err(Refused::NotWritten(error)) => Ok(not_renewed(session, &error)),
        }
    }

    /// The successor of a secret that was found: made now if it is the current one, derived again
    /// if it is the one before.
    pub(super) async fn successor(
        &self,
        mut found: Found,
        policy: &KindPolicy,
        presented: &Secret,
        caller: &Caller,
    ) -> Result<(Session, Secret), Refused> {
        if found.matched == Matched::Current {
            let salt = RotationSalt::generate().map_err(Refused::Random)?;
            let next = presented.successor(found.session.id, &salt);
            let now = self.now();
            let rotation = Rotation {
                id: found.session.id,
                expected_generation: found.session.generation,
                expected_secret: found.current,
                secret: next.hash(),
                salt,
                at: now,
                idle_expires: (now + policy.idle).min(found.session.absolute_expires),
                ip: caller.ip(),
                user_agent: caller.user_agent().map(str::to_owned),
            };
            let rotated = self.shared.store.rotate(&rotation).await;
            if let Some(session) = rotated.map_err(Refused::NotWritten)? {
                // Until it is looked up again, so that the old secret is recognised as one.
                self.shared.cache.forget(&Selector::Session(session.id));
                self.tell(&SessionEvent::Rotated {
                    session: session.clone(),
                });
                return Ok((session, next));
            }
            // Another request was first: its successor is this one's too.
            let (family, hash) = (presented.family(), presented.hash());
            let again = self.shared.store.find_by_secret(family, hash).await?;
            found = again.ok_or(Refused::Rejected(Rejection::Unknown))?;
            self.admit(&found.session, policy.carrier)
                .map_err(Refused::Rejected)?;
        }
        match (found.matched, found.salt) {
            (Matched::Previous, Some(salt)) => {
                let next = presented.successor(found.session.id, &salt);
                if next.hash() != found.current {
                    return Err(Refused::Rejected(Rejection::Unknown));
                }
                if self.is_overlapping(&found.session, policy) {
                    return Ok((found.session, next));
                }
                if tolerates(policy, &found.session, caller) {
                    self.tell(&SessionEvent::ReuseTolerated {
                        session: found.session.clone(),
                        caller: caller.clone(),
                    });
                    self.observe_reuse(&found.session, caller).await?;
                    return Ok((found.session, next));
                }
            }
            (Matched::Current, _) => return Err(Refused::Rejected(Rejection::Raced)),
            _ => {}
        }
        self.stolen(found.session, caller).await?;
        Err(Refused::Rejected(Rejection::Reused))
    }

    /// Whether a secret was presented that means theft, whoever presents it.
    pub(super) fn is_reuse(&self, found: &Found, policy: &KindPolicy) -> bool {
        match found.matched {
            Matched::Current => false,
            Matched::Previous => !self.is_overlapping(&found.session, policy),
            Matched::Older => true,
        }
    }

    fn is_overlapping(&self, session: &Session, policy: &KindPolicy) -> bool {
        let now: Timestamp = self.now();
        session
            .rotated
            .is_some_and(|rotated| now < rotated + policy.overlap)
    }

    pub(super) async fn stolen(&self, session: Session, caller: &Caller) -> Result<(), StoreError> {
        let selector = Selector::Session(session.id);
        self.tell(&SessionEvent::ReuseDetected {
            session,
            caller: caller.clone(),
        });
        self.revoke(selector, RevokeCause::Reuse).await.map(|_| ())
    }
}

fn tolerates(policy: &KindPolicy, session: &Session, caller: &Caller) -> bool {
    policy.on_reuse == OnReuse::TolerateSimilar && threat::is_similar(session, caller)
}

fn not_renewed(
    session: Session,
    error: &(dyn std::error::Error + 'static),
) -> (Session, Option<Renewed>) {
    tracing::warn!(error, session = %session.id, "the secret of a session was not replaced");
    (session, None)
}
