//! Appending: a compare-and-set of the end, and the records of a batch in one statement.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use sqlx::{Postgres, Row, Transaction};

use super::PostgresAuditStore;
use crate::canonical::Personal;
use crate::chain::{Content, Hash, Head};
use crate::error::StoreError;
use crate::record::Record;
use crate::store::{Count, tree_of};
use crate::tree::{Node, Tree};

/// The end of the log, as this process wrote it.
pub(super) struct End {
    head: Head,
    tree: Tree,
    /// The last sequence that has a partition.
    room: u64,
}

impl PostgresAuditStore {
    pub(super) async fn append_all(&self, records: Arc<[Record]>) -> Result<(), StoreError> {
        let (Some(first), Some(last)) = (records.first(), records.last()) else {
            return Ok(());
        };
        let columns = Columns::of(&records)?;
        let id = self.id().await?;
        let mut known = self.end.lock().await;
        // Taken out: whatever fails, it is read anew.
        let end = known.take();
        let mut end = match end.filter(|end| follows(first, &end.head)) {
            Some(end) => end,
            None => self.load().await?,
        };
        if !follows(first, &end.head) {
            *known = Some(end);
            return Err(StoreError::Conflict);
        }
        let mut transaction = self.pool.begin().await?;
        // The row is ours until the commit: another writer of this log waits here, and then finds
        // that the end has moved.
        let moved = sqlx::query(
            "UPDATE audit_logs SET seq = $2, hash = $3, time = $4 \
             WHERE id = $1 AND seq = $5 AND hash = $6 \
             RETURNING CASE WHEN current_setting('synchronous_commit') = 'off' \
             THEN set_config('synchronous_commit', 'on', true) END",
        )
        .bind(id)
        .bind(last.seq.cast_signed())
        .bind(&last.hash.0[..])
        .bind(last.time.as_micros())
        .bind(end.head.seq.cast_signed())
        .bind(&end.head.hash.0[..])
        .fetch_optional(&mut *transaction)
        .await?;
        if moved.is_none() {
            return Err(StoreError::Conflict);
        }
        while end.room < last.seq {
            end.room = self.make_room(&mut transaction, id, end.room + 1).await?;
        }
        columns.insert(&mut transaction, id).await?;
        let (mut nodes, mut counts) = (Vec::new(), BTreeMap::<_, Count>::new());
        for record in records.iter() {
            end.tree.push_and_tell(record.hash, |node| nodes.push(node));
            let count = Count::of(record);
            counts
                .entry(count.key())
                .and_modify(|c| c.events += 1)
                .or_insert(count);
        }
        insert_nodes(&mut transaction, id, &nodes).await?;
        add_counts(&mut transaction, id, counts.values()).await?;
        transaction.commit().await?;
        end.head = Head {
            seq: last.seq,
            hash: last.hash,
            time: last.time,
        };
        *known = Some(end);
        Ok(())
    }

    async fn load(&self) -> Result<End, StoreError> {
        let head = self.read_tail().await?;
        let room: Option<i64> =
            sqlx::query_scalar("SELECT max(last) FROM audit_segments WHERE log = $1")
                .bind(self.id().await?)
                .fetch_one(&self.pool)
                .await?;
        Ok(End {
            head,
            tree: tree_of(self, head.seq).await?,
            // After the last partition was dropped the next begins where the log ends.
            room: room.map_or(0, i64::cast_unsigned).max(head.seq / 256 * 256),
        })
    }

    /// Makes the partition that begins with `first`; its last sequence.
    async fn make_room(
        &self,
        transaction: &mut Transaction<'_, Postgres>,
        id: i32,
        first: u64,
    ) -> Result<u64, StoreError> {
        // Partitions end at multiples of their size, and with them tiles.
        let last = first.next_multiple_of(self.segment);
        sqlx::query("SELECT audit_make_segment($1, $2, $3)")
            .bind(id)
            .bind(first.cast_signed())
            .bind(last.cast_signed())
            .execute(&mut **transaction)
            .await?;
        Ok(last)
    }

    /// The end of the log: what is said of it is compared with its last record.
    pub(super) async fn read_tail(&self) -> Result<Head, StoreError> {
        let row = sqlx::query(
            "SELECT audit_logs.seq, audit_logs.hash, audit_logs.time, last.seq, last.hash \
             FROM audit_logs LEFT JOIN LATERAL (SELECT seq, hash FROM audit_records \
             WHERE log = $1 ORDER BY seq DESC LIMIT 1) AS last ON true WHERE id = $1",
        )
        .bind(self.id().await?)
        .fetch_one(&self.pool)
        .await?;
        let head = Head {
            seq: row.try_get::<i64, _>(0)?.cast_unsigned(),
            hash: hash(&row.try_get::<Vec<u8>, _>(1)?),
            time: crate::Timestamp::from_micros(row.try_get(2)?),
        };
        let last: Option<i64> = row.try_get(3)?;
        let found: Option<Vec<u8>> = row.try_get(4)?;
        let is_last = last.map_or(0, i64::cast_unsigned) == head.seq
            && found.is_none_or(|found| hash(&found) == head.hash);
        // A last tile that is full may have been pruned; then its node is there.
        if is_last
            || head.seq.is_multiple_of(256) && last.is_none_or(|l| l.cast_unsigned() < head.seq)
        {
            Ok(head)
        } else {
            Err(StoreError::Altered)
        }
    }
}

fn follows(first: &Record, head: &Head) -> bool {
    first.seq == head.seq + 1 && first.prev == head.hash
}

/// A hash as it is stored; zeros for what is none, which nothing verifies with.
pub(super) fn hash(bytes: &[u8]) -> Hash {
    Hash(bytes.try_into().unwrap_or_default())
}

pub(super) fn address_bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// The records of a batch, a column after the other.
#[derive(Default)]
struct Columns<'a> {
    seq: Vec<i64>,
    time: Vec<i64>,
    occurred: Vec<i64>,
    prev: Vec<&'a [u8]>,
    hash: Vec<&'a [u8]>,
    salt: Vec<&'a [u8]>,
    codes: [Vec<i16>; 3],
    action: Vec<&'a str>,
    actor: Vec<Option<&'a str>>,
    login: Vec<Option<&'a str>>,
    session: Vec<Option<&'a str>>,
    address: Vec<Option<Vec<u8>>>,
    agent: Vec<Option<&'a str>>,
    resource: Vec<Option<&'a str>>,
    request_id: Vec<Option<&'a str>>,
    details: Vec<Option<&'a str>>,
}

impl<'a> Columns<'a> {
    fn of(records: &'a [Record]) -> Result<Self, StoreError> {
        let mut columns = Self::default();
        for record in records {
            let (salt, personal) = match &record.content {
                Content::Whole { salt, personal, .. } => {
                    let personal = Personal::decode(personal).map_err(StoreError::unavailable)?;
                    (&salt[..], personal)
                }
                Content::Erased { commitment, .. } => (&commitment.0[..], Personal::default()),
                Content::Pruned { .. } => {
                    let what = "a pruned record cannot be appended";
                    return Err(StoreError::unavailable(what));
                }
            };
            let event = &record.event;
            columns.seq.push(record.seq.cast_signed());
            columns.time.push(record.time.as_micros());
            columns.occurred.push(record.occurred.as_micros());
            columns.prev.push(&record.prev.0);
            columns.hash.push(&record.hash.0);
            columns.salt.push(salt);
            let codes = [
                event.kind.code(),
                event.outcome.code(),
                event.severity.code(),
            ];
            for (column, code) in columns.codes.iter_mut().zip(codes) {
                column.push(code.into());
            }
            columns.action.push(&event.action);
            columns.actor.push(personal.actor);
            columns.login.push(personal.login);
            columns.session.push(personal.session);
            columns.address.push(personal.address.map(address_bytes));
            columns.agent.push(personal.agent);
            columns.resource.push(personal.resource);
            columns.request_id.push(personal.request_id);
            columns.details.push(personal.details);
        }
        Ok(columns)
    }

    async fn insert(
        self,
        transaction: &mut Transaction<'_, Postgres>,
        id: i32,
    ) -> Result<(), StoreError> {
        let [kind, outcome, severity] = self.codes;
        sqlx::query(
            "INSERT INTO audit_records (log, seq, time, occurred, prev, hash, salt, kind, outcome, \
             severity, action, actor, login, session, address, agent, resource, request_id, details) \
             SELECT $1, * FROM UNNEST($2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[], \
             $6::bytea[], $7::bytea[], $8::smallint[], $9::smallint[], $10::smallint[], $11::text[], \
             $12::text[], $13::text[], $14::text[], $15::bytea[], $16::text[], $17::text[], \
             $18::text[], $19::text[])",
        )
        .bind(id)
        .bind(self.seq)
        .bind(self.time)
        .bind(self.occurred)
        .bind(self.prev)
        .bind(self.hash)
        .bind(self.salt)
        .bind(kind)
        .bind(outcome)
        .bind(severity)
        .bind(self.action)
        .bind(self.actor)
        .bind(self.login)
        .bind(self.session)
        .bind(self.address)
        .bind(self.agent)
        .bind(self.resource)
        .bind(self.request_id)
        .bind(self.details)
        .execute(&mut **transaction)
        .await?;
        Ok(())
    }
}

async fn insert_nodes(
    transaction: &mut Transaction<'_, Postgres>,
    id: i32,
    nodes: &[Node],
) -> Result<(), StoreError> {
    if nodes.is_empty() {
        return Ok(());
    }
    let level: Vec<i16> = nodes.iter().map(|node| node.level.into()).collect();
    let index: Vec<i64> = nodes.iter().map(|node| node.index.cast_signed()).collect();
    let hash: Vec<&[u8]> = nodes.iter().map(|node| &node.hash.0[..]).collect();
    sqlx::query(
        "INSERT INTO audit_nodes (log, level, idx, hash) \
         SELECT $1, * FROM UNNEST($2::smallint[], $3::bigint[], $4::bytea[])",
    )
    .bind(id)
    .bind(level)
    .bind(index)
    .bind(hash)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

async fn add_counts(
    transaction: &mut Transaction<'_, Postgres>,
    id: i32,
    counts: impl Iterator<Item = &Count>,
) -> Result<(), StoreError> {
    let (mut minute, mut events) = (Vec::new(), Vec::new());
    let mut codes: [Vec<i16>; 3] = Default::default();
    for count in counts {
        let (at, kind, outcome, severity) = count.key();
        minute.push(at.as_micros());
        for (column, code) in codes.iter_mut().zip([kind, outcome, severity]) {
            column.push(code.into());
        }
        events.push(count.events.cast_signed());
    }
    let [kind, outcome, severity] = codes;
    sqlx::query(
        "INSERT INTO audit_counts AS c (log, minute, kind, outcome, severity, events) \
         SELECT $1, * FROM UNNEST($2::bigint[], $3::smallint[], $4::smallint[], $5::smallint[], \
         $6::bigint[]) ON CONFLICT (log, minute, kind, outcome, severity) \
         DO UPDATE SET events = c.events + excluded.events",
    )
    .bind(id)
    .bind(minute)
    .bind(kind)
    .bind(outcome)
    .bind(severity)
    .bind(events)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}
