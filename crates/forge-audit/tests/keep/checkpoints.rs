//! Checkpoints, and what they find.

use crate::support::*;

#[tokio::test]
async fn checkpoints_are_signed_every_so_many_events_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    for round in 0..2 {
        let (log, _) = signed_log(store.clone(), 100).await;
        for n in 0..25 {
            log.record_all((0..10).map(|i| event(n * 10 + i)).collect())
                .await
                .unwrap();
        }
        log.shutdown().await.unwrap();
        let sizes: Vec<_> = store
            .checkpoints(0, 100)
            .await
            .unwrap()
            .iter()
            .map(|c| c.size)
            .collect();
        // On reopening the tree goes on from what is stored.
        let expected: &[u64] = &[100, 200, 250, 260, 360, 460, 500];
        let expected = if round == 0 { &expected[..3] } else { expected };
        assert_eq!(sizes, expected);
    }
    let verified = verify_signed(&*store, &key().verifier(), &[])
        .await
        .unwrap();
    assert_eq!((verified.head.seq, verified.checkpoints), (500, 7));
}

#[tokio::test]
async fn a_log_cut_or_computed_anew_is_found_with_a_checkpoint_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = folder.path().join("checkpoints");
    let store = sqlite(&folder).await;
    let log = AuditLog::builder(store.clone())
        .checkpoints(
            key(),
            50,
            Duration::from_secs(3600),
            CheckpointFile::new(&elsewhere),
        )
        .open()
        .await
        .unwrap();
    log.record_all((0..50).map(event).collect()).await.unwrap();
    log.shutdown().await.unwrap();
    // The file is written by a thread that the log does not wait for.
    while !elsewhere.exists()
        || split_notes(&std::fs::read_to_string(&elsewhere).unwrap()).is_empty()
    {
        tokio::task::yield_now().await;
    }
    let notes = split_notes(&std::fs::read_to_string(&elsewhere).unwrap());
    let verifier = key().verifier();
    assert_eq!(
        verify_signed(&*store, &verifier, &notes)
            .await
            .unwrap()
            .checkpoints,
        2
    );

    let place = |result: Result<_, VerifyError>| match result {
        Err(VerifyError::Broken(broken)) => (broken.seq, broken.fault),
        other => panic!("{other:?}"),
    };
    // Another log of the same length, and one that is shorter; both verify by themselves.
    for (events, expected) in [(50, (50, Fault::Root)), (30, (31, Fault::Missing))] {
        let forged: Arc<dyn AuditStore> = Arc::new(MemoryAuditStore::new());
        let log = AuditLog::open(Arc::clone(&forged)).await.unwrap();
        log.record_all((0..events).map(event).collect())
            .await
            .unwrap();
        verify_signed(&*forged, &verifier, &[]).await.unwrap();
        assert_eq!(
            place(verify_signed(&*forged, &verifier, &notes).await),
            expected
        );
    }
    // A stored checkpoint of another key, or changed by one byte.
    let db = Connection::open(folder.path().join("audit.db")).unwrap();
    let text: String = db
        .query_row("SELECT text FROM audit_checkpoints", [], |r| r.get(0))
        .unwrap();
    for i in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        bytes[i] ^= 1;
        let Ok(flipped) = String::from_utf8(bytes) else {
            continue;
        };
        db.execute("UPDATE audit_checkpoints SET text = ?1", [flipped])
            .unwrap();
        let found = place(verify_signed(&*store, &verifier, &[]).await);
        assert_eq!(found, (50, Fault::Checkpoint), "byte {i}");
    }
}
