//! Finding records, and reading them without believing them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;

use sqlx::postgres::PgRow;
use sqlx::{PgExecutor, Postgres, QueryBuilder, Row};

use super::PostgresAuditStore;
use super::append::{address_bytes, hash};
use crate::canonical::{Personal, encode_open};
use crate::chain::{Content, Hash};
use crate::clock::Timestamp;
use crate::error::StoreError;
use crate::kind::{Kind, Outcome, Severity};
use crate::query::{Filter, Order, Selection};
use crate::record::Stored;
use crate::store::Count;
use crate::tree::TILE;
use crate::verify::{PAGE, Verifier};

/// So many records a verifier is shown at once.
const FED: usize = 16_384;

pub(super) const COLUMNS: &str = "seq, time, occurred, prev, hash, salt, kind, outcome, severity, \
     action, actor, login, session, address, agent, resource, request_id, details";

impl PostgresAuditStore {
    pub(super) async fn find(&self, selection: &Selection) -> Result<Vec<Stored>, StoreError> {
        let id = self.id().await?;
        let Some(range) = self.range(id, &selection.filter).await? else {
            return Ok(Vec::new());
        };
        let mut query = select(id, &range, selection);
        let rows = query.build().fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok(stored(row)?)).collect()
    }

    /// Where in the log the time of a filter lies: time never decreases with the sequence, so that
    /// a range of time is one of sequences.
    async fn range(&self, id: i32, filter: &Filter) -> Result<Option<Range<i64>>, StoreError> {
        let first_from = async |time: Timestamp| {
            sqlx::query_scalar::<_, i64>(
                "SELECT seq FROM audit_records WHERE log = $1 AND time >= $2 \
                 ORDER BY time, seq LIMIT 1",
            )
            .bind(id)
            .bind(time.as_micros())
            .fetch_optional(&self.pool)
            .await
        };
        let start = match filter.from {
            None => 0,
            Some(time) => match first_from(time).await? {
                Some(seq) => seq,
                None => return Ok(None),
            },
        };
        let end = match filter.until {
            None => i64::MAX,
            Some(time) => first_from(time).await?.unwrap_or(i64::MAX),
        };
        Ok(Some(start..end).filter(|range| range.start < range.end))
    }

    /// What is stored after the sequence `after`. Where a stretch is missing and a tile says that
    /// it was pruned, its hashes stand for it.
    pub(super) async fn walk(&self, after: u64, limit: usize) -> Result<Vec<Stored>, StoreError> {
        let id = self.id().await?;
        // On one state of the database: retention may be at work.
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut transaction = self.pool.begin_with(begin).await?;
        let rows = rows(&mut *transaction, id, after, limit).await?;
        // As far as this page reaches, or to the end of the log.
        let until = match rows.last() {
            Some(last) if rows.len() == limit => last.seq,
            _ => sqlx::query_scalar::<_, i64>("SELECT seq FROM audit_logs WHERE id = $1")
                .bind(id)
                .fetch_one(&mut *transaction)
                .await?
                .cast_unsigned(),
        };
        let first_tile = after / TILE;
        let is_whole = rows.len() as u64 == until.saturating_sub(after);
        let partial = HashMap::new();
        let (tiles, gone) =
            match is_whole && !self.has_tiles(&mut *transaction, id, after, until).await? {
                true => (partial, HashMap::new()),
                false => {
                    let span = first_tile..until / TILE + 1;
                    (
                        tiles(&mut *transaction, id, &span).await?,
                        nodes_at(&mut *transaction, id, 8, &span).await?,
                    )
                }
            };
        transaction.commit().await?;
        let mut found = Vec::with_capacity(rows.len());
        let mut next = after + 1;
        for mut row in rows {
            next = fill(&mut found, next, row.seq, limit, &tiles, &gone);
            if found.len() >= limit {
                return Ok(found);
            }
            if let Some(hashes) = tiles.get(&((row.seq - 1) / TILE)) {
                let place = usize::try_from((row.seq - 1) % TILE).unwrap_or_default();
                row.is_readable &= hashes.get(place) == Some(&row.hash);
            }
            next = next.max(row.seq + 1);
            found.push(row);
        }
        fill(
            &mut found,
            next,
            until.saturating_add(1),
            limit,
            &tiles,
            &gone,
        );
        Ok(found)
    }

    /// Shows `verifier` what comes next: each record as it arrives, so that the database reads on
    /// meanwhile, up to where some are missing; from there what [`walk`](Self::walk) finds.
    pub(super) async fn show(&self, mut verifier: Verifier) -> Result<Verifier, StoreError> {
        let id = self.id().await?;
        let after = verifier.head().seq;
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        let mut transaction = self.pool.begin_with(begin).await?;
        self.show_again(&mut *transaction, &mut verifier).await?;
        let all = i64::MAX.cast_unsigned();
        if !self.has_tiles(&mut *transaction, id, after, all).await? {
            let show = |row: PgRow| {
                let stored = stored(&row)?;
                // Behind a gap others follow; one that is there twice is nothing of the log's.
                if stored.seq <= verifier.head().seq + 1 {
                    // It keeps in mind what it found.
                    let _ = verifier.push(&stored);
                }
                Ok(())
            };
            let mut query = after_in_order(id, after, FED);
            let rows = query.build().try_map(show);
            rows.fetch_all(&mut *transaction).await?;
        }
        transaction.commit().await?;
        if verifier.head().seq == after {
            let page = self.walk(after, PAGE).await?;
            let _ = page.iter().try_for_each(|stored| verifier.push(stored));
        }
        Ok(verifier)
    }

    /// Shows `verifier` what is stored a second time at its end, or before the first record: only
    /// who owns the table can have put it there.
    async fn show_again(
        &self,
        on: impl PgExecutor<'_>,
        verifier: &mut Verifier,
    ) -> Result<(), StoreError> {
        let end = i64::try_from(verifier.head().seq).unwrap_or(i64::MAX);
        let (from, known) = if end == 0 { (i64::MIN, 0) } else { (end, 1) };
        let mut query = QueryBuilder::<Postgres>::new("SELECT ");
        query.push(COLUMNS);
        query.push(" FROM audit_records WHERE log = ");
        query.push_bind(self.id().await?);
        query.push(" AND seq BETWEEN ").push_bind(from);
        query.push(" AND ").push_bind(end).push(" LIMIT 2");
        let rows = query.build().try_map(|row| stored(&row));
        if let Some(again) = rows.fetch_all(on).await?.get(known) {
            // It keeps in mind what it found.
            let _ = verifier.push(again);
        }
        Ok(())
    }

    async fn has_tiles(
        &self,
        on: impl PgExecutor<'_>,
        id: i32,
        after: u64,
        until: u64,
    ) -> Result<bool, StoreError> {
        let found = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM audit_tiles WHERE log = $1 AND idx BETWEEN $2 AND $3)",
        )
        .bind(id)
        .bind((after / TILE).cast_signed())
        .bind((until / TILE).cast_signed())
        .fetch_one(on)
        .await?;
        Ok(found)
    }

    pub(super) async fn read_nodes(
        &self,
        level: u8,
        first: u64,
        count: u64,
    ) -> Result<Vec<Hash>, StoreError> {
        let id = self.id().await?;
        let until = first.saturating_add(count);
        if level > 0 {
            let found = nodes_at(&self.pool, id, level, &(first..until)).await?;
            let in_order = (first..until).map_while(|index| found.get(&index).copied());
            return Ok(in_order.collect());
        }
        let found = sqlx::query(
            "SELECT seq, hash FROM audit_records WHERE log = $1 AND seq > $2 AND seq <= $3",
        )
        .bind(id)
        .bind(first.cast_signed())
        .bind(until.cast_signed())
        .fetch_all(&self.pool)
        .await?;
        let mut leaves = HashMap::with_capacity(found.len());
        for row in found {
            let seq: i64 = row.try_get(0)?;
            leaves.insert(seq.cast_unsigned(), hash(row.try_get(1)?));
        }
        if leaves.len() as u64 != count {
            for (tile, hashes) in tiles(&self.pool, id, &(first / TILE..until / TILE + 1)).await? {
                for (seq, hash) in (tile * TILE + 1..).zip(hashes) {
                    leaves.entry(seq).or_insert(hash);
                }
            }
        }
        let in_order = (first + 1..=until).map_while(|seq| leaves.get(&seq).copied());
        Ok(in_order.collect())
    }

    pub(super) async fn read_counts(
        &self,
        during: Range<Timestamp>,
    ) -> Result<Vec<Count>, StoreError> {
        let rows = sqlx::query(
            "SELECT minute, kind, outcome, severity, events FROM audit_counts \
             WHERE log = $1 AND minute >= $2 AND minute < $3 ORDER BY minute, kind, outcome, severity",
        )
        .bind(self.id().await?)
        .bind(during.start.as_micros())
        .bind(during.end.as_micros())
        .fetch_all(&self.pool)
        .await?;
        let mut counts = Vec::with_capacity(rows.len());
        for row in rows {
            let codes = [code(&row, 1)?, code(&row, 2)?, code(&row, 3)?];
            let [kind, outcome, severity] = codes;
            let read = || {
                Some(Count {
                    minute: Timestamp::from_micros(row.try_get(0).ok()?),
                    kind: Kind::from_code(kind)?,
                    outcome: Outcome::from_code(outcome)?,
                    severity: Severity::from_code(severity)?,
                    events: row.try_get::<i64, _>(4).ok()?.cast_unsigned(),
                })
            };
            // What cannot be read is nothing that was counted.
            counts.extend(read());
        }
        Ok(counts)
    }
}

/// What finds the records of a log that are asked for, between two sequences.
fn select(id: i32, range: &Range<i64>, selection: &Selection) -> QueryBuilder<Postgres> {
    let Selection {
        filter,
        order,
        beyond,
        limit,
    } = selection;
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS);
    query.push(" FROM audit_records WHERE log = ").push_bind(id);
    query.push(" AND seq >= ").push_bind(range.start);
    query.push(" AND seq < ").push_bind(range.end);
    if let Some(seq) = beyond {
        query.push(match order {
            Order::NewestFirst => " AND seq < ",
            Order::OldestFirst => " AND seq > ",
        });
        query.push_bind(i64::try_from(*seq).unwrap_or(i64::MAX));
    }
    push_filter(&mut query, filter);
    query.push(match order {
        Order::NewestFirst => " ORDER BY seq DESC LIMIT ",
        Order::OldestFirst => " ORDER BY seq LIMIT ",
    });
    query.push_bind(i64::try_from(*limit).unwrap_or(i64::MAX));
    query
}

/// Puts the pruned records from `next` to before `until` into `found`, as far as tiles tell of
/// them; where that ends.
fn fill(
    found: &mut Vec<Stored>,
    mut next: u64,
    until: u64,
    limit: usize,
    tiles: &HashMap<u64, Vec<Hash>>,
    gone: &HashMap<u64, Hash>,
) -> u64 {
    while next < until && found.len() < limit {
        let (tile, place) = ((next - 1) / TILE, (next - 1) % TILE);
        let (hash, count) = match (tiles.get(&tile), gone.get(&tile)) {
            (Some(hashes), _) => match hashes.get(usize::try_from(place).unwrap_or_default()) {
                Some(hash) => (*hash, 1),
                None => break,
            },
            (None, Some(node)) if place == 0 && until - next >= TILE => (*node, TILE),
            _ => break,
        };
        found.push(Stored {
            seq: next,
            time: Timestamp::default(),
            occurred: Timestamp::default(),
            prev: Hash::default(),
            hash,
            content: Content::Pruned { count },
            is_readable: true,
        });
        next += count;
    }
    next
}

/// The first `limit` records after the sequence `after`.
pub(super) async fn rows(
    on: impl PgExecutor<'_>,
    id: i32,
    after: u64,
    limit: usize,
) -> Result<Vec<Stored>, StoreError> {
    let mut query = after_in_order(id, after, limit);
    // Taken apart as they arrive, while the database reads on.
    let rows = query.build().try_map(|row| stored(&row));
    Ok(rows.fetch_all(on).await?)
}

fn after_in_order(id: i32, after: u64, limit: usize) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new("SELECT ");
    query.push(COLUMNS);
    query.push(" FROM audit_records WHERE log = ").push_bind(id);
    query
        .push(" AND seq > ")
        .push_bind(i64::try_from(after).unwrap_or(i64::MAX));
    query
        .push(" ORDER BY seq LIMIT ")
        .push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
    query
}

/// The hashes of the tiles that were pruned in part.
pub(super) async fn tiles(
    on: impl PgExecutor<'_>,
    id: i32,
    span: &Range<u64>,
) -> Result<HashMap<u64, Vec<Hash>>, StoreError> {
    let rows = sqlx::query(
        "SELECT idx, hashes FROM audit_tiles WHERE log = $1 AND idx >= $2 AND idx < $3",
    )
    .bind(id)
    .bind(span.start.cast_signed())
    .bind(span.end.cast_signed())
    .fetch_all(on)
    .await?;
    let mut tiles = HashMap::new();
    for row in rows {
        let bytes: &[u8] = row.try_get(1)?;
        let hashes = bytes.as_chunks().0.iter().copied().map(Hash).collect();
        tiles.insert(row.try_get::<i64, _>(0)?.cast_unsigned(), hashes);
    }
    Ok(tiles)
}

async fn nodes_at(
    on: impl PgExecutor<'_>,
    id: i32,
    level: u8,
    span: &Range<u64>,
) -> Result<HashMap<u64, Hash>, StoreError> {
    let rows = sqlx::query(
        "SELECT idx, hash FROM audit_nodes WHERE log = $1 AND level = $2 AND idx >= $3 AND idx < $4",
    )
    .bind(id)
    .bind(i16::from(level))
    .bind(span.start.cast_signed())
    .bind(span.end.cast_signed())
    .fetch_all(on)
    .await?;
    let mut nodes = HashMap::with_capacity(rows.len());
    for row in rows {
        let index: i64 = row.try_get(0)?;
        nodes.insert(index.cast_unsigned(), hash(row.try_get(1)?));
    }
    Ok(nodes)
}

/// The terms of a filter, but for its time. The texts are constants: values are bound.
pub(super) fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    let Filter {
        from: _,
        until: _,
        actor,
        kind,
        action,
        at_least,
        outcome,
        address,
        resource,
        request_id,
    } = filter;
    for (term, text) in [
        (" AND request_id = ", request_id),
        (" AND resource = ", resource),
        (" AND actor = ", actor),
        (" AND action = ", action),
    ] {
        if let Some(text) = text {
            query.push(term).push_bind(text.clone());
        }
    }
    if let Some(address) = address {
        query
            .push(" AND address = ")
            .push_bind(address_bytes(*address));
    }
    for (term, code) in [
        (" AND kind = ", kind.map(Kind::code)),
        (" AND severity >= ", at_least.map(Severity::code)),
        (" AND outcome = ", outcome.map(Outcome::code)),
    ] {
        if let Some(code) = code {
            query.push(term).push_bind(i16::from(code));
        }
    }
}

fn code(row: &PgRow, column: usize) -> Result<u8, sqlx::Error> {
    Ok(u8::try_from(row.try_get::<i16, _>(column)?).unwrap_or(0))
}

/// A row as it is found. A value that it should not have, which only somebody who owns the table
/// can write, makes it unreadable: then the record does not verify.
pub(super) fn stored(row: &PgRow) -> Result<Stored, sqlx::Error> {
    let (kind, outcome, severity) = (code(row, 6)?, code(row, 7)?, code(row, 8)?);
    let bytes = |column| row.try_get::<&[u8], _>(column);
    let text = |column| row.try_get::<Option<&str>, _>(column);
    let action: &str = row.try_get(9)?;
    let mut is_readable = Kind::from_code(kind).is_some()
        && Outcome::from_code(outcome).is_some()
        && Severity::from_code(severity).is_some();
    let stored_address = row.try_get::<Option<&[u8]>, _>(13)?;
    let address = stored_address.and_then(|bytes| {
        let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from).ok();
        v4.or_else(|| <[u8; 16]>::try_from(bytes).map(IpAddr::from).ok())
    });
    is_readable &= stored_address.is_some() == address.is_some();
    let personal = Personal {
        actor: text(10)?,
        login: text(11)?,
        session: text(12)?,
        address,
        agent: text(14)?,
        resource: text(15)?,
        request_id: text(16)?,
        details: text(17)?,
    };
    let open = encode_open(kind, outcome, severity, action);
    // An erased record has its commitment where another has its salt, and nothing personal.
    let salt = bytes(5)?;
    let content = match (<[u8; 16]>::try_from(salt), <[u8; 32]>::try_from(salt)) {
        (_, Ok(commitment)) => {
            is_readable &= personal == Personal::default();
            Content::Erased {
                open,
                commitment: Hash(commitment),
            }
        }
        (salt, _) => {
            is_readable &= salt.is_ok();
            Content::Whole {
                open,
                salt: salt.unwrap_or_default(),
                personal: personal.encode(),
            }
        }
    };
    Ok(Stored {
        seq: row.try_get::<i64, _>(0)?.cast_unsigned(),
        time: Timestamp::from_micros(row.try_get(1)?),
        occurred: Timestamp::from_micros(row.try_get(2)?),
        prev: hash(bytes(3)?),
        hash: hash(bytes(4)?),
        content,
        is_readable,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::merged::{self, Place};
    use super::*;
    use crate::store::AuditStore;
    use crate::{Actor, Chain, Event, Source};
    use sqlx::{Execute, PgPool};

    /// Two logs with four partitions each, as the planner knows them.
    async fn filled() -> Option<PostgresAuditStore> {
        let postgres = test_support::require(test_support::Postgres::shared())?;
        let pool = PgPool::connect(&postgres.create_database()).await.unwrap();
        for origin in ["one", "two"] {
            let store = PostgresAuditStore::new(pool.clone(), origin).segment(4096);
            store.migrate().await.unwrap();
            let mut chain = Chain::new();
            for _ in 0..4 {
                let event = |n: i64| {
                    Event::new(Kind::ALL[n as usize % 14], format!("act.{}", n % 50))
                        .actor(Actor::new((n % 500).to_string()))
                        .source(Source::new().address(IpAddr::from([10, 0, (n % 200) as u8, 1])))
                        .resource(format!("thing/{}", n % 300))
                        .request_id(format!("r-{n}"))
                };
                let from = chain.head().seq as i64;
                let records: Arc<[_]> = (from..from + 4096)
                    .map(|n| chain.append(event(n), Timestamp::from_micros(n * 1000)))
                    .collect();
                store.append(records).await.unwrap();
            }
        }
        sqlx::query("ANALYZE").execute(&pool).await.unwrap();
        Some(PostgresAuditStore::new(pool, "one"))
    }

    async fn explain(store: &PostgresAuditStore, mut query: QueryBuilder<Postgres>) -> String {
        let sql = format!("EXPLAIN {}", query.sql().as_str());
        let values = query.build().take_arguments().unwrap().unwrap();
        let explain = sqlx::query_scalar_with(sqlx::AssertSqlSafe(sql), values);
        let lines: Vec<String> = explain.fetch_all(&store.pool).await.unwrap();
        lines.join("\n")
    }

    fn asked(set: impl FnOnce(&mut Filter)) -> Selection {
        let mut filter = Filter::default();
        set(&mut filter);
        Selection {
            filter,
            order: Order::NewestFirst,
            beyond: None,
            limit: 101,
        }
    }

    #[tokio::test]
    async fn queries_are_planned_by_an_index_in_the_partitions_of_their_time_alone() {
        let Some(store) = filled().await else { return };
        let id = store.id().await.unwrap();
        let text = |text: &str| Some(text.to_owned());
        for (index, selection) in [
            ("_pkey", asked(|_| ())),
            ("_pkey", asked(|f| f.at_least = Some(Severity::Low))),
            ("_actor_seq_idx", asked(|f| f.actor = text("7"))),
            (
                "_address_seq_idx",
                asked(|f| f.address = "10.0.7.1".parse().ok()),
            ),
            ("_resource_seq_idx", asked(|f| f.resource = text("thing/7"))),
            ("_request_id_idx", asked(|f| f.request_id = text("r-7"))),
        ] {
            for (range, partitions) in [(0..i64::MAX, 4), (4097..8193, 1), (4000..8000, 2)] {
                let plan = explain(&store, select(id, &range, &selection)).await;
                assert!(plan.contains(index), "{index}: {plan}");
                assert!(!plan.contains("Seq Scan"), "{index}: {plan}");
                let scanned = plan.matches(" on audit_records_").count();
                assert_eq!(scanned, partitions, "{index} {range:?}: {plan}");
                assert!(!plan.contains("audit_records_2_"), "{plan}");
            }
        }
        // Of one log a page of all is found by time.
        let beyond = Place::new(5_000_000, id, 5000);
        let filter = &asked(|f| f.from = Some(Timestamp::from_micros(1))).filter;
        let order = Order::NewestFirst;
        let merged = merged::select(id, filter, order, Some(beyond), 101);
        let plan = explain(&store, merged).await;
        assert!(plan.contains("_log_time_seq_idx"), "{plan}");
        assert!(
            !plan.contains("Seq Scan") && !plan.contains("->  Sort"),
            "{plan}"
        );
    }
}
