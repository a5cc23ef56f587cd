//! Use, expiry and revocation: what is over stays over.

use crate::support::*;

pub(crate) async fn touches_forward_only_and_within_the_absolute_limit(store: Store) {
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
    assert_eq!(now.created_user_agent.as_deref(), Some("Firefox"));
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

pub(crate) async fn nothing_brings_back_what_is_over(store: Store) {
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

pub(crate) async fn revokes_exactly_what_is_selected(store: Store) {
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

pub(crate) async fn everybody_ends_with_one_step_and_who_comes_after_stays(store: Store) {
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

pub(crate) async fn batches_from_two_sides_do_not_wait_for_each_other(store: Store) {
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
