//! A record that is not what it was.

use crate::support::*;

#[tokio::test]
async fn the_database_refuses_changes_by_mistake() {
    let log = Log::new().await;
    for sql in [
        "UPDATE audit_segment_1 SET records = x'' WHERE first = 1",
        "DELETE FROM audit_segment_1",
        "DELETE FROM audit_segment_1 WHERE first = 1",
        "UPDATE audit_words_1 SET word = 'x'",
        "DELETE FROM audit_words_1",
    ] {
        let error = log.attack(sql).unwrap_err().to_string();
        assert!(error.contains("append-only"), "{sql}: {error}");
    }
    assert_eq!(log.broken(log.head).await, None);
}

/// Where the parts of a record are in its bytes.
const TIME: usize = 4;
const HASH: usize = 12;
const SKEW: usize = 44;
const SALT: usize = 45;
const ACTION: usize = 61;
const ACTOR: usize = 62;
const LOGIN: usize = 63;
const SESSION: usize = 64;
const ADDRESS: usize = 65;
const AGENT: usize = 70;
const RESOURCE: usize = 71;
const REQUEST_ID: usize = 72;
const DETAILS: usize = 77;
/// What a cell begins with: nothing, a text, 4 bytes, 16 bytes, the first word.
const NOTHING: u8 = 0;
const TEXT: u8 = 1;
const FOUR: u8 = 2;
const SIXTEEN: u8 = 3;
const WORDS: u8 = 4;

/// A change of the bytes from one place to before another.
type Change = (&'static str, std::ops::Range<usize>, &'static [u8]);

#[tokio::test]
async fn every_part_of_a_record_is_proved() {
    let one = |at: usize| at..at + 1;
    let changes: [Change; 35] = [
        ("erased", one(0), &[2]),
        ("another form", one(0), &[3]),
        ("kind", one(1), &[14]),
        ("no kind", one(1), &[99]),
        ("outcome", one(2), &[3]),
        ("severity", one(3), &[4]),
        ("time", one(TIME), &[5]),
        ("hash", HASH..SKEW, &[0; 32]),
        ("skew", one(SKEW), &[1]),
        ("endless skew", one(SKEW), &[0xff; 11]),
        ("salt", SALT..ACTION, &[0; 16]),
        ("action", one(ACTION), &[TEXT, 4, b'u', b's', b'e', b'r']),
        ("action of another word", one(ACTION), &[WORDS + 2]),
        ("no action", one(ACTION), &[NOTHING]),
        ("actor", one(ACTOR), &[TEXT, 1, b'8']),
        ("actor of no word", one(ACTOR), &[WORDS + 99]),
        (
            "actor of a word beyond all",
            one(ACTOR),
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
        ),
        ("no actor", one(ACTOR), &[NOTHING]),
        ("actor of four bytes", one(ACTOR), &[FOUR, 0, 0, 0, 0]),
        ("actor that is no UTF-8", one(ACTOR), &[TEXT, 1, 0xff]),
        (
            "actor that is longer than all",
            one(ACTOR),
            &[TEXT, 0xff, 0xff, 0xff, 0xff, 0x0f],
        ),
        ("no login", one(LOGIN), &[NOTHING]),
        ("session of another word", one(SESSION), &[WORDS + 1]),
        ("address", ADDRESS + 1..AGENT, &[192, 0, 2, 8]),
        ("address of a word", ADDRESS..AGENT, &[WORDS + 1]),
        ("no agent", one(AGENT), &[NOTHING]),
        ("no resource", one(RESOURCE), &[NOTHING]),
        ("request id", REQUEST_ID + 4..DETAILS, b"2"),
        (
            "request id of 16 bytes",
            REQUEST_ID..DETAILS,
            &[SIXTEEN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ),
        ("details", DETAILS..usize::MAX, b"\x01\x02{}"),
        ("no details", DETAILS..usize::MAX, &[NOTHING]),
        ("details of a word", DETAILS..usize::MAX, &[WORDS]),
        (
            "details that are no JSON",
            DETAILS..usize::MAX,
            b"\x01\x02no",
        ),
        ("cut", SALT..usize::MAX, &[]),
        ("nothing at all", 0..usize::MAX, &[]),
    ];
    for (name, range, bytes) in changes {
        let log = Log::new().await;
        log.attack(TRIGGERS).unwrap();
        assert_eq!(log.broken(Head::default()).await, None);
        log.change(4, |records| {
            let range = range.start..range.end.min(records[3].len());
            records[3].splice(range, bytes.iter().copied());
        });
        assert_eq!(
            log.broken(Head::default()).await.map(|(seq, _)| seq),
            Some(4),
            "{name}"
        );
        let shown = Query::new().run(&log.store).await.unwrap().records;
        assert_eq!(shown.len(), 9, "{name}");
        let damaged = shown.iter().filter(|r| r.event.action() == "audit.damaged");
        let damaged: Vec<_> = damaged.map(|r| r.seq).collect();
        // With a hash that is wrong, the record after it is not what it was either.
        assert_eq!(damaged.last(), Some(&4), "{name}");
    }
}

#[tokio::test]
async fn a_text_in_place_of_its_word_is_found_since_a_query_would_not_find_it() {
    for (cell, bytes) in [
        (ACTION, &b"\x01\x0buser.delete"[..]),
        (ACTOR, b"\x01\x017"),
        (RESOURCE, b"\x01\x06user/8"),
    ] {
        let log = Log::new().await;
        log.attack(TRIGGERS).unwrap();
        log.change(4, |records| {
            records[3].splice(cell..=cell, bytes.iter().copied());
        });
        // Though it says what was recorded.
        let shown = Query::new().run(&log.store).await.unwrap().records;
        assert_eq!(shown[5].event.action(), "user.delete");
        assert_eq!(
            log.broken(Head::default()).await.map(|(seq, _)| seq),
            Some(4)
        );
    }
}

#[tokio::test]
async fn a_value_of_another_type_is_found_and_breaks_no_query() {
    for (change, place) in [
        ("records = NULL", 1),
        ("records = 7", 1),
        ("records = 'x'", 1),
        ("records = x'ffffffff'", 1),
        ("first = 'x'", 1),
        ("first = -7", 1),
        ("first = 3", 1),
        ("first = NULL", 1),
    ] {
        let log = Log::new().await;
        log.attack(
            "CREATE TABLE loose AS SELECT * FROM audit_segment_1;
             DROP TABLE audit_segment_1; ALTER TABLE loose RENAME TO audit_segment_1;",
        )
        .unwrap();
        log.attack(&format!("UPDATE audit_segment_1 SET {change}"))
            .unwrap();
        let broken = log.broken(log.head).await;
        assert_eq!(broken.map(|(seq, _)| seq), Some(place), "{change}");
        let shown = Query::new().run(&log.store).await.unwrap().records;
        let sound = shown.iter().filter(|r| r.event.action() != "audit.damaged");
        // None that stands where it does not belong.
        assert!(
            sound.clone().all(|r| r.event.action() == "user.delete"),
            "{change}"
        );
    }
}
