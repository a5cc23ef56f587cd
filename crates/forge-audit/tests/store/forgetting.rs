//! What is taken away, and what is left.

use crate::support::*;

pub(crate) async fn what_is_left_after_pruning_verifies(store: Store) {
    let (log, _clock) = log(&store, 2000).await;
    let before = tree_of(&*store, 2000).await.unwrap();
    let hold = filter(|f| f.request_id = Some("r-100".to_owned()));
    let micros = std::time::Duration::from_micros;
    // Of 2000 records over a second, the first half is over; of the severe ones, an eighth.
    let retention = Retention::new()
        .keep_all(micros(500_000))
        .keep(Severity::Critical, micros(875_000))
        .hold(hold.clone());
    let pruned = log.prune(&retention).await.unwrap();
    assert!(pruned > 500, "{pruned}");
    let kept = log
        .query(&Query::new().order(Order::OldestFirst).limit(1000))
        .await
        .unwrap();
    for record in &kept.records {
        let is_held = record.event.request() == Some("r-100");
        let is_severe = record.event.level() == Severity::Critical && record.seq > 249;
        let segment = record.seq > 768;
        assert!(is_held || is_severe || segment, "{}", record.seq);
        assert_ne!(record.event.action(), "audit.damaged", "{}", record.seq);
    }
    assert!(
        kept.records
            .iter()
            .any(|r| r.event.request() == Some("r-100"))
    );
    let expected = [(2000, before.root())];
    let verified = verify_with(&*store, log.head(), expected).await.unwrap();
    assert_eq!((verified.pruned, verified.checkpoints), (pruned, 1));
    assert_eq!(verified.head, log.head());
    // What stands after it is proved as before, and so is what was held.
    let (held, root) = (hold_seq(&kept), before.root());
    for (seq, hash) in [held, (kept.records[900].seq, kept.records[900].hash)] {
        let proof = prove_inclusion(&*store, seq, 2000).await.unwrap().unwrap();
        assert!(proof.includes(seq, hash, 2000, root));
    }
    let told = log
        .query(&Query::new().action("audit.prune"))
        .await
        .unwrap();
    assert_eq!(told.records.len(), 1);
    // Once more: nothing is left to do; and later the rest goes, but for what is held.
    assert_eq!(log.prune(&retention).await.unwrap(), 0);
    let retention = Retention::new().keep_all(micros(1)).hold(hold);
    log.prune(&retention).await.unwrap();
    assert_eq!(log.prune(&retention).await.unwrap(), 0);
    let verified = verify_with(&*store, log.head(), expected).await.unwrap();
    assert!(verified.pruned > 1700, "{verified:?}");
    let held = log.query(&Query::new().request_id("r-100")).await.unwrap();
    assert_eq!(held.records.len(), 2);
}

fn hold_seq(page: &forge_audit::Page) -> (u64, forge_audit::Hash) {
    let held = page
        .records
        .iter()
        .find(|r| r.event.request() == Some("r-100"));
    held.map(|r| (r.seq, r.hash)).unwrap()
}

pub(crate) async fn what_is_left_of_an_erased_person_verifies(store: Store) {
    let (log, _clock) = log(&store, 600).await;
    let before = tree_of(&*store, 600).await.unwrap();
    let person = filter(|f| f.actor = Some("3".to_owned()));
    let hold = Retention::new().hold(filter(|f| f.from = Some(at(299_000))));
    let query = Query::new().actor("3").limit(1000);
    let own = log.query(&query).await.unwrap().records;
    let erased = log.erase(&person, &hold, "request 4711").await.unwrap();
    assert_eq!(erased, 100);
    assert!(log.query(&query).await.unwrap().records.is_empty());
    let verified = verify_with(&*store, log.head(), [(600, before.root())])
        .await
        .unwrap();
    assert_eq!(verified.erased, 100);
    let stored = store.scan(own[5].seq - 1, 1).await.unwrap().remove(0);
    assert_eq!(stored.hash, own[5].hash);
    let left = stored.into_record();
    assert!(left.is_erased());
    assert_eq!(left.event.action(), own[5].event.action());
    assert!(left.event.who().is_anonymous() && left.event.details_value().is_none());
    let told = log
        .query(&Query::new().action("audit.erase"))
        .await
        .unwrap();
    assert_eq!(told.records[0].event.target(), Some("request 4711"));
    assert_eq!(log.erase(&person, &hold, "again").await.unwrap(), 0);
}

pub(crate) async fn what_is_taken_away_without_a_word_is_found(store: Store) {
    let mut chain = filled(&store, 600).await;
    store.erase(&[7]).await.unwrap();
    let fault = |store: Store| async move {
        match verify_store(&*store, Head::default()).await {
            Err(VerifyError::Broken(Broken { seq, fault, .. })) => Some((seq, fault)),
            Ok(_) => None,
            Err(error) => panic!("{error:?}"),
        }
    };
    assert_eq!(
        fault(Arc::clone(&store)).await,
        Some((7, Fault::Unexplained))
    );
    let told = Event::new(Kind::System, "audit.erase")
        .details(&json!({ "first": 7, "last": 7, "records": 1 }));
    let record = chain.append(told, at(900_000_000));
    store.append([record].into()).await.unwrap();
    assert_eq!(fault(Arc::clone(&store)).await, None);
    let mut rules = Retention::new()
        .keep_all(std::time::Duration::ZERO)
        .rules(at(1_000_000));
    rules.hold.clear();
    let span = store.prunable(&rules).await.unwrap().unwrap();
    store.prune(&rules, span).await.unwrap();
    assert_eq!(fault(store).await, Some((1, Fault::Unexplained)));
}
