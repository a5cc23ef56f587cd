//! What is appended, and where.

use crate::support::*;

pub(crate) async fn keeps_what_it_is_given(store: Store) {
    assert_eq!(store.tail().await.unwrap(), Head::default());
    assert!(store.scan(0, 10).await.unwrap().is_empty());
    let mut chain = Chain::new();
    let all = records(&mut chain, 25);
    store.append(all[..10].into()).await.unwrap();
    store.append(all[10..].into()).await.unwrap();
    store.append([].into()).await.unwrap();
    assert_eq!(store.tail().await.unwrap(), chain.head());
    let stored: Vec<_> = all.iter().map(Stored::from).collect();
    assert_eq!(store.scan(0, 100).await.unwrap(), stored);
    assert_eq!(store.scan(7, 3).await.unwrap(), stored[7..10]);
    assert!(store.scan(25, 3).await.unwrap().is_empty());
    let page = Query::new()
        .order(Order::OldestFirst)
        .run(&*store)
        .await
        .unwrap();
    assert_eq!(page.records, all);
}

pub(crate) async fn appends_only_where_the_log_ends(store: Store) {
    let mut chain = filled(&store, 3).await;
    let head = chain.head();
    let next = records(&mut chain, 2);
    let elsewhere = Head {
        hash: [7; 32].into(),
        ..head
    };
    for wrong in [
        // Skips one, repeats one, follows another log.
        next[1..].to_vec(),
        records(&mut Chain::new(), 3)[2..].to_vec(),
        records(&mut Chain::resume(elsewhere), 1),
    ] {
        let refused = store.append(wrong.into()).await;
        assert!(matches!(refused, Err(StoreError::Conflict)), "{refused:?}");
        assert_eq!(store.tail().await.unwrap(), head);
    }
    store.append(next.into()).await.unwrap();
    assert_eq!(store.tail().await.unwrap(), chain.head());
}

pub(crate) async fn of_two_that_append_at_once_one_wins(store: Store) {
    let chain = filled(&store, 1).await;
    let contend = |n| {
        let mut chain = chain.clone();
        store.append(records(&mut chain, n).into())
    };
    let (a, b) = tokio::join!(contend(2), contend(3));
    assert!(a.is_ok() != b.is_ok(), "{a:?} {b:?}");
    verify_store(&*store, chain.head()).await.unwrap();
}

pub(crate) async fn what_is_given_without_waiting_is_written_in_order(store: Store) {
    let mut chain = Chain::new();
    let batches: Vec<_> = (1..=store.depth().min(8))
        .map(|n| records(&mut chain, 100 * n as u64))
        .collect();
    let end = chain.head();
    let given: Vec<_> = batches
        .iter()
        .map(|batch| store.append(batch.clone().into()))
        .collect();
    for done in given {
        done.await.unwrap();
    }
    assert_eq!(store.tail().await.unwrap(), end);
    assert_eq!(verify_store(&*store, end).await.unwrap(), end);
    // Of one that does not fit, and of what comes after it, nothing is written.
    let fits = records(&mut chain, 10);
    let end = chain.head();
    let other = records(&mut Chain::new(), 10);
    let mut later = Chain::resume(Head {
        seq: other[9].seq,
        hash: other[9].hash,
        time: other[9].time,
    });
    let after = records(&mut later, 10);
    let given = [&fits, &other, &after].map(|batch| store.append(batch.clone().into()));
    let mut answers = Vec::new();
    for done in given {
        answers.push(done.await);
    }
    assert!(answers[0].is_ok());
    for answer in &answers[1..] {
        assert!(matches!(answer, Err(StoreError::Conflict)));
    }
    assert_eq!(store.tail().await.unwrap(), end);
    assert_eq!(verify_store(&*store, end).await.unwrap(), end);
}
