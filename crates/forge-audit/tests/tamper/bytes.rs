//! Every byte, one after the other.

use rusqlite::types::Value;

use crate::support::*;

/// Of hashes that a tile keeps a byte of each is flipped, of the rest all; with
/// `FORGE_AUDIT_EVERY_BYTE` set, all of those too.
fn step(length: usize) -> usize {
    if length == 257 * 32 && std::env::var_os("FORGE_AUDIT_EVERY_BYTE").is_none() {
        31 * 8
    } else {
        1
    }
}

/// Flips each byte of each value of `table`, one after the other.
async fn flip_every_byte(
    log: &Log,
    table: &str,
    key: &str,
    found: impl Fn(Option<(u64, Fault)>) -> bool,
) {
    let db = Connection::open(&log.path).unwrap();
    db.execute_batch("PRAGMA ignore_check_constraints = ON")
        .unwrap();
    let columns: Vec<String> = db
        .prepare(&format!(
            "SELECT name FROM pragma_table_info('{table}') WHERE name <> '{key}'"
        ))
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let keys: Vec<i64> = db
        .prepare(&format!("SELECT {key} FROM {table} ORDER BY {key}"))
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let mut flips = 0;
    for column in columns {
        for row in [keys[0], keys[keys.len() / 2]] {
            let select = format!("SELECT {column} FROM {table} WHERE {key} = ?1");
            let value: Value = db.query_row(&select, [row], |row| row.get(0)).unwrap();
            let variants: Vec<Value> = match &value {
                Value::Integer(n) => (0..63).map(|bit| Value::Integer(n ^ (1 << bit))).collect(),
                Value::Text(text) => (0..text.len())
                    .filter_map(|i| {
                        let mut bytes = text.clone().into_bytes();
                        bytes[i] ^= 1;
                        String::from_utf8(bytes).ok().map(Value::Text)
                    })
                    .collect(),
                Value::Blob(bytes) => (0..bytes.len())
                    .step_by(step(bytes.len()))
                    .map(|i| {
                        let mut bytes = bytes.clone();
                        bytes[i] ^= 0x80;
                        Value::Blob(bytes)
                    })
                    .collect(),
                _ => Vec::new(),
            };
            let update = format!("UPDATE {table} SET {column} = ?1 WHERE {key} = ?2");
            for variant in variants {
                flips += 1;
                db.execute(&update, (&variant, row)).unwrap();
                let broken = log.broken(Head::default()).await;
                assert!(
                    found(broken),
                    "{table}.{column} of {row}: {variant:?}: {broken:?}"
                );
            }
            db.execute(&update, (&value, row)).unwrap();
        }
    }
    assert!(flips > 10, "{table}: {flips}");
    assert_eq!(log.broken(log.head).await, None);
}

#[tokio::test]
async fn every_flipped_byte_of_every_field_is_found() {
    let log = Log::new().await;
    log.attack(TRIGGERS).unwrap();
    flip_every_byte(&log, "audit_segment_1", "first", |broken| broken.is_some()).await;
    flip_every_byte(&log, "audit_words_1", "id", |broken| broken.is_some()).await;
}

#[tokio::test]
async fn every_flipped_byte_of_a_kept_hash_is_found() {
    let log = Log::pruned().await;
    flip_every_byte(&log, "audit_tiles", "idx", |broken| broken.is_some()).await;
    let db = Connection::open(&log.path).unwrap();
    let nodes: Vec<(i64, Vec<u8>)> = db
        .prepare("SELECT idx, hash FROM audit_nodes WHERE level = 8")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (idx, hash) in nodes {
        for i in 0..hash.len() {
            let mut flipped = hash.clone();
            flipped[i] ^= 1;
            let update = "UPDATE audit_nodes SET hash = ?1 WHERE level = 8 AND idx = ?2";
            db.execute(update, (&flipped, idx)).unwrap();
            assert!(log.broken(Head::default()).await.is_some(), "{idx} {i}");
            db.execute(update, (&hash, idx)).unwrap();
        }
    }
    assert_eq!(log.broken(log.head).await, None);
}
