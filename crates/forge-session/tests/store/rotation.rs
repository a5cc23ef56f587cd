//! Secrets that take the place of others.

use crate::support::*;

pub(crate) async fn rotates_once_for_each_expected_secret(store: Store) {
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

pub(crate) async fn one_of_many_rotations_at_once_wins(store: Store) {
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
