//! What the tests of stores share.

pub(crate) use std::net::{IpAddr, Ipv4Addr};
pub(crate) use std::num::NonZeroU32;
pub(crate) use std::sync::Arc;
pub(crate) use std::time::Duration;

pub(crate) use forge_session::{
    ClientId, FamilyHash, Kind, Matched, MemorySessionStore, RevokeCause, Rotation, RotationSalt,
    SecretHash, Selector, Session, SessionId, SessionStore, Timestamp, Touch, UserId,
};

pub(crate) type Store = Arc<dyn SessionStore>;

pub(crate) const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) fn max(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

pub(crate) fn hash(n: u8) -> SecretHash {
    SecretHash::from_bytes([n; 32])
}

pub(crate) fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

pub(crate) fn session(owner: &str, created: Timestamp) -> Session {
    Session {
        id: SessionId::new(),
        user: user(owner),
        kind: Kind::WEB,
        client: None,
        scopes: None,
        created,
        last_used: created,
        idle_expires: created + HOUR,
        absolute_expires: created + HOUR * 3,
        created_ip: Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        last_ip: Some(IpAddr::from(Ipv4Addr::LOCALHOST)),
        created_user_agent: Some("Firefox".to_owned()),
        user_agent: Some("Firefox".to_owned()),
        generation: 0,
        rotated: None,
        revoked: None,
    }
}

pub(crate) fn touch(session: &Session, at: Timestamp) -> Touch {
    Touch {
        id: session.id,
        at,
        idle_expires: at + HOUR,
        ip: None,
        user_agent: None,
    }
}

/// Writes uses at the moment of the last of them.
pub(crate) async fn write(store: &Store, touches: &[Touch]) -> u64 {
    let now = touches.iter().map(|touch| touch.at).max().unwrap();
    store.touch(touches, now).await.unwrap()
}

pub(crate) fn rotation(
    session: &Session,
    from: SecretHash,
    to: SecretHash,
    at: Timestamp,
) -> Rotation {
    Rotation {
        id: session.id,
        expected_generation: session.generation,
        expected_secret: from,
        secret: to,
        salt: RotationSalt::from_bytes(*to.as_bytes()),
        at,
        idle_expires: at + HOUR,
        ip: None,
        user_agent: None,
    }
}

/// The family of a session of these tests: that of its first secret.
pub(crate) fn family(first: u8) -> FamilyHash {
    FamilyHash::from_bytes([first; 32])
}

pub(crate) async fn create(store: &Store, session: &Session, secret: SecretHash) -> Vec<SessionId> {
    let family = FamilyHash::from_bytes(*secret.as_bytes());
    store
        .create(session, family, secret, max(100))
        .await
        .unwrap()
}

pub(crate) async fn find(store: &Store, session: &Session) -> Session {
    store.find(session.id).await.unwrap().unwrap()
}

pub(crate) async fn live(store: &Store, owner: &str, now: Timestamp) -> Vec<SessionId> {
    let live = store.list(&user(owner), now).await.unwrap();
    live.iter().map(|session| session.id).collect()
}

pub(crate) fn session_at(session: &Session, generation: u32) -> Session {
    let mut session = session.clone();
    session.generation = generation;
    session
}
