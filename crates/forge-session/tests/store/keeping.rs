//! What is listed, counted and deleted.

use crate::support::*;

pub(crate) async fn lists_the_live_the_newest_first(store: Store) {
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

pub(crate) async fn sweeps_what_is_over_and_nothing_else(store: Store) {
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

pub(crate) async fn counts_the_live_by_kind(store: Store) {
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
