//! What is made, and who gives way to it.

use crate::support::*;

pub(crate) async fn finds_exactly_what_was_stored(store: Store) {
    let mut one = session("a", T0);
    one.kind = Kind::MCP;
    one.client = Some(ClientId::new("inspector").unwrap());
    one.scopes = Some("read write".parse().unwrap());
    one.created_ip = Some("2001:db8::1".parse().unwrap());
    one.last_ip = None;
    one.created_user_agent = None;
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

pub(crate) async fn evicts_the_oldest_of_the_same_user_and_kind(store: Store) {
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

pub(crate) async fn evicts_the_same_client_first(store: Store) {
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

pub(crate) async fn does_not_count_what_is_over(store: Store) {
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

pub(crate) async fn leaves_three_of_fifty_made_at_once(store: Store) {
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

pub(crate) async fn an_evicted_session_is_not_the_new_one(store: Store) {
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

pub(crate) async fn two_sessions_cannot_share_a_family(store: Store) {
    create(&store, &session("a", T0), hash(1)).await;
    let other = session("b", T0);
    // In memory the later one wins the look-up, which 128 random bits never show.
    let made = store.create(&other, family(1), hash(2), max(9)).await;
    if made.is_err() {
        assert_eq!(store.find(other.id).await.unwrap(), None);
    }
}
