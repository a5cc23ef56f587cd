//! One suite for every store: what [`SessionStore`] promises.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use forge_session::{
    ClientId, FamilyHash, Kind, Matched, MemorySessionStore, RevokeCause, Rotation, RotationSalt,
    SecretHash, Selector, Session, SessionId, SessionStore, Timestamp, Touch, UserId,
};

type Store = Arc<dyn SessionStore>;

const T0: Timestamp = Timestamp::from_micros(1_800_000_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

fn max(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn hash(n: u8) -> SecretHash {
    SecretHash::from_bytes([n; 32])
}

fn user(name: &str) -> UserId {
    UserId::new(name).unwrap()
}

fn session(owner: &str, created: Timestamp) -> Session {
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
        user_agent: Some("Firefox".to_owned()),
        generation: 0,
        rotated: None,
        revoked: None,
    }
}

fn touch(session: &Session, at: Timestamp) -> Touch {
    Touch {
        id: session.id,
        at,
        idle_expires: at + HOUR,
        ip: None,
        user_agent: None,
    }
}

/// Writes uses at the moment of the last of them.
async fn write(store: &Store, touches: &[Touch]) -> u64 {
    let now = touches.iter().map(|touch| touch.at).max().unwrap();
    store.touch(touches, now).await.unwrap()
}

fn rotation(session: &Session, from: SecretHash, to: SecretHash, at: Timestamp) -> Rotation {
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
fn family(first: u8) -> FamilyHash {
    FamilyHash::from_bytes([first; 32])
}

async fn create(store: &Store, session: &Session, secret: SecretHash) -> Vec<SessionId> {
    let family = FamilyHash::from_bytes(*secret.as_bytes());
    store
        .create(session, family, secret, max(100))
        .await
        .unwrap()
}

async fn find(store: &Store, session: &Session) -> Session {
    store.find(session.id).await.unwrap().unwrap()
}

async fn live(store: &Store, owner: &str, now: Timestamp) -> Vec<SessionId> {
    let live = store.list(&user(owner), now).await.unwrap();
    live.iter().map(|session| session.id).collect()
}

async fn finds_exactly_what_was_stored(store: Store) {
    let mut one = session("a", T0);
    one.kind = Kind::MCP;
    one.client = Some(ClientId::new("inspector").unwrap());
    one.scopes = Some("read write".parse().unwrap());
    one.created_ip = Some("2001:db8::1".parse().unwrap());
    one.last_ip = None;
    one.user_agent = None;
    create(&store, &one, hash(1)).await;
    let two = session("b", T0);
    create(&store, &two, hash(2)).await;

    assert_eq!(find(&store, &one).await, one);
    let found = store.find_by_secret(family(2), hash(2)).await;
    let found = found.unwrap().unwrap();
    assert_eq!((found.session, found.matched), (two, Matched::Current));
    assert_eq!((found.current, found.salt), (hash(2), None));
    let unknown = store.find_by_secret(family(3), hash(3)).await;
    assert_eq!(unknown.unwrap(), None);
    assert_eq!(store.find(SessionId::new()).await.unwrap(), None);
}

async fn evicts_the_oldest_of_the_same_user_and_kind(store: Store) {
    let mut all = Vec::new();
    for n in 0..4 {
        let one = session("a", T0 + MINUTE * n);
        let evicted = store
            .create(&one, family(n as u8), hash(n as u8), max(3))
            .await
            .unwrap();
        all.push(one);
        assert_eq!(evicted.is_empty(), n < 3);
    }
    let mut other_kind = session("a", T0 + MINUTE * 4);
    other_kind.kind = Kind::MCP;
    let other_user = session("b", T0 + MINUTE * 4);
    for (n, other) in [(10, &other_kind), (11, &other_user)] {
        let evicted = store
            .create(other, family(n), hash(n), max(3))
            .await
            .unwrap();
        assert!(evicted.is_empty());
    }
    let oldest = find(&store, &all[0]).await;
    assert_eq!(
        oldest.revoked,
        Some((T0 + MINUTE * 3, RevokeCause::Evicted))
    );
    let left = [other_kind.id, all[3].id, all[2].id, all[1].id];
    assert_eq!(live(&store, "a", T0 + MINUTE * 5).await, left);
}

async fn evicts_the_same_client_first(store: Store) {
    let mut all = Vec::new();
    for (n, client) in ["x", "y", "y", "y"].into_iter().enumerate() {
        let mut one = session("a", T0 + MINUTE * n as u32);
        one.client = Some(ClientId::new(client).unwrap());
        let evicted = store
            .create(&one, family(n as u8), hash(n as u8), max(3))
            .await
            .unwrap();
        all.push(one.id);
        if n == 3 {
            assert_eq!(evicted, [all[1]]);
        }
    }
}

async fn does_not_count_what_is_over(store: Store) {
    let expired = session("a", T0);
    create(&store, &expired, hash(1)).await;
    let revoked = session("a", T0 + HOUR);
    create(&store, &revoked, hash(2)).await;
    let selector = Selector::Session(revoked.id);
    let cause = RevokeCause::SignOut;
    store.revoke(&selector, cause, T0 + HOUR).await.unwrap();
    let new = session("a", T0 + HOUR);
    let evicted = store
        .create(&new, family(3), hash(3), max(1))
        .await
        .unwrap();
    assert!(evicted.is_empty());
    assert_eq!(live(&store, "a", T0 + HOUR).await, [new.id]);
    assert_eq!(find(&store, &expired).await.revoked, None);
}

async fn leaves_three_of_fifty_made_at_once(store: Store) {
    let made: Vec<_> = (0..50)
        .map(|n| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let one = session("a", T0);
                store
                    .create(&one, family(n), hash(n), max(3))
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut evicted = 0;
    for one in made {
        evicted += one.await.unwrap().len();
    }
    assert_eq!(evicted, 47);
    assert_eq!(live(&store, "a", T0).await.len(), 3);
}

async fn an_evicted_session_is_not_the_new_one(store: Store) {
    // Made at the same instant as one that is already there: the new one still stays.
    for n in 0..5 {
        let one = session("a", T0);
        let evicted = store
            .create(&one, family(n), hash(n), max(1))
            .await
            .unwrap();
        assert!(!evicted.contains(&one.id));
        assert_eq!(live(&store, "a", T0).await, [one.id]);
    }
}

async fn rotates_once_for_each_expected_secret(store: Store) {
    let mut one = session("a", T0);
    create(&store, &one, hash(1)).await;
    let at = T0 + MINUTE;
    let mut first = rotation(&one, hash(1), hash(2), at);
    first.ip = Some("192.0.2.7".parse().unwrap());
    let rotated = store.rotate(&first).await.unwrap().unwrap();
    one.generation = 1;
    one.rotated = Some(at);
    one.last_used = at;
    one.idle_expires = at + HOUR;
    one.last_ip = first.ip;
    assert_eq!(rotated, one);
    assert_eq!(find(&store, &one).await, one);

    let second = rotation(&session_at(&one, 0), hash(1), hash(3), at);
    assert_eq!(store.rotate(&second).await.unwrap(), None);
    let right_generation_only = rotation(&one, hash(1), hash(3), at);
    assert_eq!(store.rotate(&right_generation_only).await.unwrap(), None);
    let right_secret_only = rotation(&session_at(&one, 0), hash(2), hash(3), at);
    assert_eq!(store.rotate(&right_secret_only).await.unwrap(), None);

    let of = async |n| {
        let found = store.find_by_secret(family(1), hash(n)).await;
        let found = found.unwrap().unwrap();
        assert!(
            found
                .salt
                .is_some_and(|salt| salt.as_bytes() == found.current.as_bytes())
        );
        found.matched
    };
    assert_eq!(of(1).await, Matched::Previous);
    assert_eq!(of(2).await, Matched::Current);
    assert_eq!(of(3).await, Matched::Older);
    let again = rotation(&one, hash(2), hash(3), at);
    assert!(store.rotate(&again).await.unwrap().is_some());
    assert_eq!(of(1).await, Matched::Older);
    assert_eq!(of(2).await, Matched::Previous);
    assert_eq!(of(3).await, Matched::Current);
}

fn session_at(session: &Session, generation: u32) -> Session {
    let mut session = session.clone();
    session.generation = generation;
    session
}

async fn one_of_many_rotations_at_once_wins(store: Store) {
    let one = session("a", T0);
    create(&store, &one, hash(0)).await;
    let rotations: Vec<_> = (1..=20)
        .map(|n| {
            let store = Arc::clone(&store);
            let rotation = rotation(&one, hash(0), hash(n), T0 + MINUTE);
            tokio::spawn(async move { store.rotate(&rotation).await.unwrap().is_some() })
        })
        .collect();
    let mut won = 0;
    for rotation in rotations {
        won += u32::from(rotation.await.unwrap());
    }
    assert_eq!(won, 1);
    assert_eq!(find(&store, &one).await.generation, 1);
}

async fn touches_forward_only_and_within_the_absolute_limit(store: Store) {
    let one = session("a", T0);
    create(&store, &one, hash(1)).await;
    let seen = Touch {
        ip: Some("192.0.2.7".parse().unwrap()),
        user_agent: Some("Chromium".to_owned()),
        ..touch(&one, T0 + MINUTE * 50)
    };
    let early = touch(&one, T0 + MINUTE);
    assert_eq!(write(&store, &[seen.clone(), early]).await, 1);
    let now = find(&store, &one).await;
    assert_eq!(now.last_used, seen.at);
    assert_eq!(now.idle_expires, seen.idle_expires);
    assert_eq!((now.last_ip, &now.user_agent), (seen.ip, &seen.user_agent));
    assert_eq!(now.created_ip, one.created_ip);

    // A shorter idle limit than before does not shorten what was promised.
    let mut short = touch(&one, T0 + MINUTE * 51);
    short.idle_expires = T0 + MINUTE * 52;
    assert_eq!(write(&store, &[short]).await, 1);
    assert_eq!(find(&store, &one).await.idle_expires, seen.idle_expires);

    // A use that is written after the end was no use.
    let lately = touch(&one, T0 + MINUTE * 52);
    let ended = find(&store, &one).await.idle_expires;
    assert_eq!(store.touch(&[lately], ended).await.unwrap(), 0);

    let mut beyond = touch(&one, T0 + MINUTE * 100);
    beyond.idle_expires = T0 + HOUR * 100;
    assert_eq!(write(&store, &[beyond]).await, 1);
    let now = find(&store, &one).await;
    assert_eq!(now.idle_expires, one.absolute_expires);
    assert_eq!(now.last_ip, seen.ip);
}

async fn nothing_brings_back_what_is_over(store: Store) {
    let revoked = session("a", T0);
    let expired = session("a", T0);
    create(&store, &revoked, hash(1)).await;
    create(&store, &expired, hash(2)).await;
    let selector = Selector::Session(revoked.id);
    let ids = store
        .revoke(&selector, RevokeCause::Admin, T0 + MINUTE)
        .await
        .unwrap();
    assert_eq!(ids, [revoked.id]);
    let tombstone = find(&store, &revoked).await;
    assert_eq!(tombstone.revoked, Some((T0 + MINUTE, RevokeCause::Admin)));

    let late = T0 + HOUR;
    let touches = [
        touch(&revoked, T0 + MINUTE * 2),
        touch(&expired, late),
        touch(&session("a", T0), late),
    ];
    assert_eq!(write(&store, &touches).await, 0);
    for (one, from, at) in [(&revoked, 1, T0 + MINUTE * 2), (&expired, 2, late)] {
        let rotation = rotation(one, hash(from), hash(9), at);
        assert_eq!(store.rotate(&rotation).await.unwrap(), None);
    }
    let again = store
        .revoke(&selector, RevokeCause::SignOut, late)
        .await
        .unwrap();
    assert!(again.is_empty());
    assert_eq!(find(&store, &revoked).await, tombstone);
    assert_eq!(find(&store, &expired).await, expired);
    assert!(live(&store, "a", late).await.is_empty());
}

async fn revokes_exactly_what_is_selected(store: Store) {
    let mut all = Vec::new();
    for (n, (owner, kind, client)) in [
        ("a", Kind::WEB, None),
        ("a", Kind::WEB, None),
        ("a", Kind::MCP, Some("x")),
        ("a", Kind::MCP, Some("y")),
        ("b", Kind::MCP, Some("x")),
        ("b", Kind::WEB, None),
    ]
    .into_iter()
    .enumerate()
    {
        let mut one = session(owner, T0);
        one.kind = kind;
        one.client = client.map(|client| ClientId::new(client).unwrap());
        create(&store, &one, hash(n as u8)).await;
        all.push(one);
    }
    let (a, b) = (user("a"), user("b"));
    for (selector, expected) in [
        (
            Selector::SessionOf {
                user: a.clone(),
                session: all[5].id,
            },
            vec![],
        ),
        (
            Selector::SessionOf {
                user: b.clone(),
                session: all[5].id,
            },
            vec![5],
        ),
        (
            Selector::Client {
                user: a.clone(),
                client: ClientId::new("x").unwrap(),
            },
            vec![2],
        ),
        (
            Selector::Kind {
                user: a.clone(),
                kind: Kind::MCP,
            },
            vec![3],
        ),
        (
            Selector::AllBut {
                user: a.clone(),
                keep: all[0].id,
            },
            vec![1],
        ),
        (Selector::Session(all[1].id), vec![]),
        (Selector::User(a), vec![0]),
        (Selector::Everybody, vec![4]),
    ] {
        for (n, one) in all.iter().enumerate() {
            if expected.contains(&n) {
                assert!(selector.selects(one), "{selector:?}");
            }
        }
        let revoked = store
            .revoke(&selector, RevokeCause::Admin, T0)
            .await
            .unwrap();
        let expected: Vec<_> = expected.into_iter().map(|n: usize| all[n].id).collect();
        assert_eq!(revoked, expected, "{selector:?}");
    }
}

async fn lists_the_live_the_newest_first(store: Store) {
    let mut ids = Vec::new();
    for n in 0..3 {
        let one = session("a", T0 + MINUTE * n);
        create(&store, &one, hash(n as u8)).await;
        ids.push(one.id);
    }
    assert_eq!(
        live(&store, "a", T0 + MINUTE * 3).await,
        [ids[2], ids[1], ids[0]]
    );
    // The first expires at this very instant.
    assert_eq!(live(&store, "a", T0 + HOUR).await, [ids[2], ids[1]]);
    assert!(live(&store, "nobody", T0).await.is_empty());
}

async fn sweeps_what_is_over_and_nothing_else(store: Store) {
    let expired = session("a", T0);
    let live_one = session("a", T0 + HOUR * 2);
    let revoked = session("a", T0 + HOUR * 2);
    let lately = session("a", T0 + HOUR * 2);
    for (n, one) in [&expired, &live_one, &revoked, &lately]
        .into_iter()
        .enumerate()
    {
        create(&store, one, hash(n as u8)).await;
    }
    for (one, at) in [(&revoked, T0 + MINUTE), (&lately, T0 + HOUR * 2)] {
        let selector = Selector::Session(one.id);
        store
            .revoke(&selector, RevokeCause::Admin, at)
            .await
            .unwrap();
    }
    let before = T0 + HOUR * 2;
    assert_eq!(store.sweep(before, max(1)).await.unwrap(), 1);
    assert_eq!(store.sweep(before, max(9)).await.unwrap(), 1);
    assert_eq!(store.sweep(before, max(9)).await.unwrap(), 0);
    for gone in [&expired, &revoked] {
        assert_eq!(store.find(gone.id).await.unwrap(), None);
    }
    assert_eq!(
        store.find_by_secret(family(0), hash(0)).await.unwrap(),
        None
    );
    assert_eq!(live(&store, "a", before).await, [live_one.id]);
    assert!(find(&store, &lately).await.revoked.is_some());
}

async fn everybody_ends_with_one_step_and_who_comes_after_stays(store: Store) {
    let (before, revoked) = (session("a", T0), session("b", T0));
    create(&store, &before, hash(1)).await;
    create(&store, &revoked, hash(2)).await;
    let one = Selector::Session(revoked.id);
    store.revoke(&one, RevokeCause::User, T0).await.unwrap();
    let at = T0 + MINUTE;
    let everybody = Selector::Everybody;
    let ended = store.revoke(&everybody, RevokeCause::Admin, at).await;
    assert_eq!(ended.unwrap(), [before.id]);
    assert_eq!(
        find(&store, &before).await.revoked,
        Some((at, RevokeCause::Admin))
    );
    assert_eq!(
        find(&store, &revoked).await.revoked,
        Some((T0, RevokeCause::User))
    );
    // Nothing brings them back, and none of them counts any more.
    let late = T0 + MINUTE * 2;
    assert_eq!(write(&store, &[touch(&before, late)]).await, 0);
    let rotation = rotation(&before, hash(1), hash(9), late);
    assert_eq!(store.rotate(&rotation).await.unwrap(), None);
    for selector in [
        Selector::Session(before.id),
        Selector::User(user("a")),
        everybody.clone(),
    ] {
        let again = store.revoke(&selector, RevokeCause::Admin, late).await;
        assert!(again.unwrap().is_empty());
    }
    assert!(live(&store, "a", late).await.is_empty());
    let after = session("a", late);
    let evicted = store.create(&after, family(3), hash(3), max(1)).await;
    assert!(evicted.unwrap().is_empty());
    assert_eq!(live(&store, "a", late).await, [after.id]);
    assert_eq!(store.count(late).await.unwrap(), [(Kind::WEB, 1)]);
    assert_eq!(
        store.sweep(at, max(9)).await.unwrap(),
        1,
        "the one revoked before"
    );
    assert_eq!(store.sweep(at + MINUTE, max(9)).await.unwrap(), 1);
    assert_eq!(find(&store, &after).await, after);
}

async fn counts_the_live_by_kind(store: Store) {
    assert_eq!(store.count(T0).await.unwrap(), []);
    for n in 0..3 {
        let mut one = session("a", T0 + MINUTE * u32::from(n));
        if n == 2 {
            one.kind = Kind::MCP;
        }
        create(&store, &one, hash(n)).await;
    }
    let counted = store.count(T0 + MINUTE).await.unwrap();
    assert_eq!(counted, [(Kind::MCP, 1), (Kind::WEB, 2)]);
    let counted = store.count(T0 + HOUR).await.unwrap();
    assert_eq!(counted, [(Kind::MCP, 1), (Kind::WEB, 1)]);
}

async fn two_sessions_cannot_share_a_family(store: Store) {
    create(&store, &session("a", T0), hash(1)).await;
    let other = session("b", T0);
    // In memory the later one wins the look-up, which 128 random bits never show.
    let made = store.create(&other, family(1), hash(2), max(9)).await;
    if made.is_err() {
        assert_eq!(store.find(other.id).await.unwrap(), None);
    }
}

async fn batches_from_two_sides_do_not_wait_for_each_other(store: Store) {
    let mut all = Vec::new();
    for n in 0..20 {
        let one = session("a", T0);
        create(&store, &one, hash(n)).await;
        all.push(one);
    }
    let sides: Vec<_> = (1..=8)
        .map(|n| {
            let store = Arc::clone(&store);
            let mut touches: Vec<_> = all.iter().map(|s| touch(s, T0 + MINUTE * n)).collect();
            if n % 2 == 0 {
                touches.reverse();
            }
            tokio::spawn(async move {
                write(&store, &touches).await;
                if n == 4 {
                    let selector = Selector::User(user("a"));
                    store
                        .revoke(&selector, RevokeCause::User, T0)
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for side in sides {
        side.await.unwrap();
    }
    assert!(live(&store, "a", T0).await.is_empty());
}

macro_rules! suite {
    ($($name:ident)*) => {
        mod memory {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(Arc::new(MemorySessionStore::new())).await;
            })*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                if let Some(store) = super::postgres_database::store().await {
                    super::$name(Arc::new(store)).await;
                }
            })*
        }

        #[cfg(feature = "sqlite")]
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                let database = super::database::Database::new().await;
                super::$name(Arc::new(database.store.clone())).await;
            })*
        }
    };
}

suite! {
    finds_exactly_what_was_stored
    evicts_the_oldest_of_the_same_user_and_kind
    evicts_the_same_client_first
    does_not_count_what_is_over
    leaves_three_of_fifty_made_at_once
    an_evicted_session_is_not_the_new_one
    rotates_once_for_each_expected_secret
    one_of_many_rotations_at_once_wins
    touches_forward_only_and_within_the_absolute_limit
    nothing_brings_back_what_is_over
    revokes_exactly_what_is_selected
    lists_the_live_the_newest_first
    sweeps_what_is_over_and_nothing_else
    everybody_ends_with_one_step_and_who_comes_after_stays
    counts_the_live_by_kind
    two_sessions_cannot_share_a_family
    batches_from_two_sides_do_not_wait_for_each_other
}

#[cfg(feature = "postgres")]
mod postgres_database {
    use super::*;
    use forge_session::{PostgresSessionStore, StoreError};
    use sqlx::PgPool;
    use sqlx::postgres::PgPoolOptions;

    pub(super) async fn pool() -> Option<PgPool> {
        let postgres = test_support::require(test_support::Postgres::shared())?;
        let url = postgres.create_database();
        let pool = PgPoolOptions::new().max_connections(8);
        Some(pool.connect(&url).await.unwrap())
    }

    /// A store in a database of its own; nothing where PostgreSQL is not installed.
    pub(super) async fn store() -> Option<PostgresSessionStore> {
        let store = PostgresSessionStore::new(pool().await?);
        store.migrate().await.unwrap();
        Some(store)
    }

    #[tokio::test]
    async fn migrates_twice_and_refuses_to_change_a_revoked_session() {
        let Some(pool) = pool().await else { return };
        let postgres = PostgresSessionStore::new(pool.clone());
        postgres.migrate().await.unwrap();
        postgres.migrate().await.unwrap();
        let store: Store = Arc::new(postgres);
        let one = session("a", T0);
        create(&store, &one, hash(1)).await;
        let selector = Selector::Session(one.id);
        store
            .revoke(&selector, RevokeCause::Admin, T0)
            .await
            .unwrap();
        let statement = "UPDATE sessions SET revoked_at = NULL, revoked_cause = NULL";
        let error = sqlx::query(statement).execute(&pool).await.unwrap_err();
        assert!(error.to_string().contains("a revoked session"), "{error}");
        pool.close().await;
        let error = store.find(one.id).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
}

#[cfg(feature = "sqlite")]
mod database {
    use super::*;
    use forge_session::{SqliteSessionStore, StoreError};
    use sqlx::SqlitePool;
    use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};

    pub(super) struct Database {
        pub(super) store: SqliteSessionStore,
        pool: SqlitePool,
        folder: tempfile::TempDir,
    }

    impl Database {
        pub(super) async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let options = SqliteConnectOptions::new()
                .filename(folder.path().join("forge.db"))
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .busy_timeout(Duration::from_secs(30));
            let pool = SqlitePoolOptions::new().max_connections(8);
            let pool = pool.connect_with(options).await.unwrap();
            let store = SqliteSessionStore::new(pool.clone());
            store.migrate().await.unwrap();
            Self {
                store,
                pool,
                folder,
            }
        }
    }

    #[tokio::test]
    async fn migrates_twice_and_beside_other_migrations() {
        let database = Database::new().await;
        sqlx::query("CREATE TABLE _sqlx_migrations (version INTEGER)")
            .execute(&database.pool)
            .await
            .unwrap();
        database.store.migrate().await.unwrap();
    }

    #[tokio::test]
    async fn the_database_itself_refuses_to_change_a_revoked_session() {
        let database = Database::new().await;
        let store: Store = Arc::new(database.store.clone());
        let one = session("a", T0);
        create(&store, &one, hash(1)).await;
        let selector = Selector::Session(one.id);
        store
            .revoke(&selector, RevokeCause::Admin, T0)
            .await
            .unwrap();
        for statement in [
            "UPDATE sessions SET revoked_at = NULL, revoked_cause = NULL",
            "UPDATE sessions SET last_used_at = last_used_at + 1",
        ] {
            let error = sqlx::query(statement).execute(&database.pool).await;
            let error = error.unwrap_err().to_string();
            assert!(error.contains("a revoked session"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_an_error_not_a_session() {
        let database = Database::new().await;
        let store: Store = Arc::new(database.store.clone());
        create(&store, &session("a", T0), hash(1)).await;
        sqlx::query("UPDATE sessions SET kind = 'Not A Kind'")
            .execute(&database.pool)
            .await
            .unwrap();
        let error = store.find_by_secret(family(1), hash(1)).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt(_)), "{error:?}");
    }

    #[tokio::test]
    async fn a_closed_database_is_unavailable() {
        let database = Database::new().await;
        database.pool.close().await;
        let error = database
            .store
            .find_by_secret(family(1), hash(1))
            .await
            .unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }

    #[tokio::test]
    async fn sessions_outlive_the_process() {
        let database = Database::new().await;
        let one = session("a", T0);
        let store: Store = Arc::new(database.store.clone());
        create(&store, &one, hash(1)).await;
        database.pool.close().await;
        let file = database.folder.path().join("forge.db");
        let options = SqliteConnectOptions::new().filename(file);
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let store: Store = Arc::new(SqliteSessionStore::new(pool));
        assert_eq!(find(&store, &one).await, one);
    }
}
