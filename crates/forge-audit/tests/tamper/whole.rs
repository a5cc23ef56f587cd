//! Records deleted, swapped or added, an end cut off, a log computed anew.

use crate::support::*;

#[tokio::test]
async fn a_record_deleted_swapped_or_added_is_found_where_it_was() {
    type Attack = fn(&mut Vec<Vec<u8>>);
    let attacks: [(Attack, u64); 5] = [
        (|records| drop(records.remove(0)), 1),
        (|records| drop(records.remove(4)), 5),
        (|records| records.swap(2, 3), 3),
        (|records| records.insert(4, records[4].clone()), 6),
        (|records| records.push(records[8].clone()), 10),
    ];
    for (attack, place) in attacks {
        let log = Log::new().await;
        log.attack(TRIGGERS).unwrap();
        log.change(1, attack);
        let broken = log.broken(Head::default()).await;
        assert_eq!(broken.map(|(seq, _)| seq), Some(place), "{place}");
    }
}

#[tokio::test]
async fn an_end_cut_off_is_found_with_the_end_known_from_elsewhere() {
    let log = Log::new().await;
    log.attack(TRIGGERS).unwrap();
    log.change(1, |records| records.truncate(7));
    // The chain alone cannot tell.
    assert_eq!(log.broken(Head::default()).await, None);
    assert_eq!(log.broken(log.head).await, Some((8, Fault::Missing)));
}

#[tokio::test]
async fn a_log_computed_anew_is_found_with_the_end_known_from_elsewhere() {
    let log = Log::new().await;
    let forged = Log::new().await;
    forged.attack(TRIGGERS).unwrap();
    forged
        .attack(
            "DROP TABLE audit_segment_1; DROP TABLE audit_words_1; DELETE FROM audit_segments;
             DELETE FROM audit_counts",
        )
        .unwrap();
    let mut chain = Chain::new();
    let records: Vec<_> = (1..=9)
        .map(|n| chain.append(Event::new(Kind::System, "x"), Timestamp::from_micros(n)))
        .collect();
    forged.store.append(records.into()).await.unwrap();
    assert_eq!(forged.broken(Head::default()).await, None);
    assert_eq!(forged.broken(log.head).await, Some((9, Fault::Replaced)));
}
