//! Exports, and following the log.

use crate::support::*;

#[tokio::test]
async fn an_export_is_taken_up_again_where_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(&folder).await;
    let log = AuditLog::open(store.clone()).await.unwrap();
    log.record_all((0..1500).map(event).collect())
        .await
        .unwrap();
    log.record_all((1500..2600).map(event).collect())
        .await
        .unwrap();
    for format in Format::ALL {
        let (mut whole, mut export) = (String::new(), Export::new(store.clone(), *format));
        while let Some(piece) = export.next().await.unwrap() {
            whole.push_str(&piece.text);
        }
        let header = usize::from(!format.header().is_empty());
        assert_eq!(whole.lines().count(), 2600 + header);
        // Anew after each piece.
        let (mut again, mut after) = (String::new(), 0);
        while let Some(piece) = Export::new(store.clone(), *format)
            .after(after)
            .next()
            .await
            .unwrap()
        {
            again.push_str(&piece.text);
            after = piece.last;
        }
        assert_eq!(again, whole);
        assert_eq!(format.as_str().parse(), Ok(*format));
    }
    let mut filter = Filter::default();
    filter.actor = Some("3".to_owned());
    let mut export = Export::new(store, Format::JsonLines).filter(filter);
    let piece = export.next().await.unwrap().unwrap();
    assert!(
        piece
            .text
            .lines()
            .all(|line| line.contains(r#""actor":{"id":"3""#))
    );
}

#[tokio::test]
async fn a_follower_gets_every_record_once_and_gaps_by_name() {
    let store = Arc::new(MemoryAuditStore::new());
    let clock = ManualClock::new(Timestamp::from_micros(1));
    let log = AuditLog::builder(store.clone())
        .clock(clock.clone())
        .open()
        .await
        .unwrap();
    log.record_all((0..300).map(event).collect()).await.unwrap();
    clock.advance(Duration::from_secs(100));
    log.prune(&Retention::new().keep_all(Duration::from_secs(1)))
        .await
        .unwrap();
    let mut tail = log.tail(10);
    let mut after = 10;
    let told = loop {
        match tail.next().await.unwrap().unwrap() {
            Next::Gap(span) => {
                assert_eq!(span.first, after + 1);
                after = span.last;
            }
            Next::Record(record) => break record,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((after, told.event.action()), (300, "audit.prune"));
    // It waits, and gets what comes, while others write.
    let writer = {
        let log = log.clone();
        tokio::spawn(async move {
            for n in 0..50 {
                log.record_all(vec![event(n), event(n)]).await.unwrap();
            }
        })
    };
    for seq in 302..402 {
        let next = tail.next().await.unwrap().unwrap();
        assert!(
            matches!(&next, Next::Record(_)) && next.last() == seq,
            "{next:?}"
        );
    }
    writer.await.unwrap();
    // One that has seen more than there is gets told.
    let mut ahead = log.tail(500);
    assert!(
        matches!(ahead.next().await.unwrap(), Some(Next::Gap(span)) if (span.first, span.last) == (402, 500))
    );
    log.record(event(1)).await.unwrap();
    assert_eq!(ahead.next().await.unwrap().unwrap().last(), 402);
}
