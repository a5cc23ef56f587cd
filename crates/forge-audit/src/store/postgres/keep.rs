//! Forgetting, with proof: pruning takes records away and keeps their hashes, erasing takes away
//! what tells of a person and keeps the commitment to it.

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, PgExecutor, Postgres, Row, Transaction};

use super::PostgresAuditStore;
use super::read::{self, rows};
use crate::chain::Hash;
use crate::error::StoreError;
use crate::record::Stored;
use crate::retention::{ERASE, PRUNE};
use crate::store::{Rules, Span};
use crate::tree::TILE;

/// Records looked through at once: a few tiles.
const PAGE: u64 = 16 * TILE;

/// A stretch of the log that has a partition.
#[derive(Clone, Copy, Debug)]
struct Segment {
    first: u64,
    last: u64,
    /// The times of the first and the last record that is left in it.
    since: i64,
    until: i64,
    /// Whether it holds records that tell why others are gone.
    explains: bool,
}

impl Segment {
    /// Whether all of it may go, without a look at its records.
    fn is_over(&self, rules: &Rules, end: u64) -> bool {
        let is_past = rules
            .all_before()
            .is_some_and(|b| self.until < b.as_micros());
        rules.before.iter().all(Option::is_some)
            && is_past
            && rules.hold.is_empty()
            && !self.explains
            && self.last <= end
    }

    fn may_be_due(&self, rules: &Rules) -> bool {
        rules
            .some_before()
            .is_some_and(|b| self.since < b.as_micros())
    }
}

impl PostgresAuditStore {
    pub(super) async fn find_prunable(&self, rules: &Rules) -> Result<Option<Span>, StoreError> {
        let (id, end) = (self.id().await?, self.read_tail().await?.seq);
        let mut span: Option<Span> = None;
        let mut grow = |first: u64, last: u64| {
            span = Some(Span::new(span.map_or(first, |s| s.first), last));
        };
        for segment in self.segments(id).await? {
            if !segment.may_be_due(rules) {
                continue;
            }
            if segment.is_over(rules, end) {
                grow(segment.first, segment.last);
                continue;
            }
            let mut after = segment.first - 1;
            // A tile that is not full yet is not touched.
            let last = segment.last.min(end / TILE * TILE);
            while after < last {
                let page = rows(&self.pool, id, after, PAGE as usize).await?;
                let Some(reached) = page.last().map(|s| s.seq) else {
                    break;
                };
                let own = page.iter().take_while(|s| s.seq <= last);
                for stored in own.filter(|s| rules.allow(s)) {
                    grow(stored.seq, stored.seq);
                }
                after = reached;
            }
        }
        Ok(span)
    }

    pub(super) async fn prune_span(&self, rules: &Rules, span: Span) -> Result<u64, StoreError> {
        let (id, end) = (self.id().await?, self.read_tail().await?.seq);
        let mut pruned = 0;
        for segment in self.segments(id).await? {
            let touches = segment.first <= span.last && segment.last >= span.first;
            if !touches || !segment.may_be_due(rules) {
                continue;
            }
            let covers = span.first <= segment.first && span.last >= segment.last;
            if covers && segment.is_over(rules, end) {
                pruned += self.drop_segment(id, &segment).await?;
                continue;
            }
            let last = segment.last.min(end / TILE * TILE);
            let mut tile = (segment.first - 1) / TILE;
            while tile * TILE < last {
                let until = (tile + PAGE / TILE).min(last / TILE);
                pruned += self.prune_tiles(id, rules, span, tile..until).await?;
                tile = until;
            }
        }
        Ok(pruned)
    }

    async fn segments(&self, id: i32) -> Result<Vec<Segment>, StoreError> {
        let rows = sqlx::query(
            "SELECT first, last, since.time, until.time, EXISTS (SELECT 1 FROM audit_records \
             WHERE log = $1 AND seq BETWEEN first AND last AND action IN ($2, $3)) \
             FROM audit_segments s, \
             LATERAL (SELECT time FROM audit_records WHERE log = $1 AND seq BETWEEN s.first AND s.last \
             ORDER BY seq LIMIT 1) AS since, \
             LATERAL (SELECT time FROM audit_records WHERE log = $1 AND seq BETWEEN s.first AND s.last \
             ORDER BY seq DESC LIMIT 1) AS until WHERE log = $1 ORDER BY first",
        )
        .bind(id)
        .bind(PRUNE)
        .bind(ERASE)
        .fetch_all(&self.pool)
        .await?;
        let mut segments = Vec::with_capacity(rows.len());
        for row in rows {
            segments.push(Segment {
                first: row.try_get::<i64, _>(0)?.cast_unsigned(),
                last: row.try_get::<i64, _>(1)?.cast_unsigned(),
                since: row.try_get(2)?,
                until: row.try_get(3)?,
                explains: row.try_get(4)?,
            });
        }
        Ok(segments)
    }

    /// Takes away a stretch as a whole: its partition, without looking at its records.
    async fn drop_segment(&self, id: i32, segment: &Segment) -> Result<u64, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let (first, last) = (segment.first.cast_signed(), segment.last.cast_signed());
        let gone: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM audit_records WHERE log = $1 AND seq BETWEEN $2 AND $3",
        )
        .bind(id)
        .bind(first)
        .bind(last)
        .fetch_one(&mut *transaction)
        .await?;
        sqlx::query("DELETE FROM audit_tiles WHERE log = $1 AND idx BETWEEN $2 AND $3")
            .bind(id)
            .bind((segment.first / TILE).cast_signed())
            .bind((segment.last / TILE - 1).cast_signed())
            .execute(&mut *transaction)
            .await?;
        sqlx::query("DELETE FROM audit_segments WHERE log = $1 AND first = $2")
            .bind(id)
            .bind(first)
            .execute(&mut *transaction)
            .await?;
        let drop = format!("DROP TABLE audit_records_{id}_{first}");
        sqlx::query(AssertSqlSafe(drop))
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        self.forget_end().await;
        Ok(gone.cast_unsigned())
    }

    /// Takes what may go out of full tiles, and keeps the hashes of those that are left in part.
    async fn prune_tiles(
        &self,
        id: i32,
        rules: &Rules,
        span: Span,
        tiles: std::ops::Range<u64>,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let after = tiles.start * TILE;
        let limit = usize::try_from((tiles.end - tiles.start) * TILE).unwrap_or(usize::MAX);
        let found = rows(&mut *transaction, id, after, limit).await?;
        let mut of_tile: BTreeMap<u64, Vec<Stored>> = BTreeMap::new();
        for stored in found.into_iter().filter(|s| s.seq <= tiles.end * TILE) {
            of_tile
                .entry((stored.seq - 1) / TILE)
                .or_default()
                .push(stored);
        }
        let mut known = read::tiles(&mut *transaction, id, &tiles).await?;
        let mut gone: Vec<i64> = Vec::new();
        for (tile, found) in of_tile {
            let may_go = |s: &&Stored| span.contains(s.seq) && rules.allow(s);
            let going: Vec<_> = found.iter().filter(may_go).map(|s| s.seq).collect();
            if going.is_empty() {
                continue;
            }
            let hashes = known.remove(&tile).or_else(|| {
                let whole = found.len() as u64 == TILE;
                whole.then(|| found.iter().map(|s| s.hash).collect())
            });
            // Records are missing, and nothing says that they were pruned: that stays to be found.
            let Some(hashes) = hashes else { continue };
            keep_tile(
                &mut transaction,
                id,
                tile,
                &hashes,
                going.len() < found.len(),
            )
            .await?;
            gone.extend(going.into_iter().map(u64::cast_signed));
        }
        if gone.is_empty() {
            return Ok(0);
        }
        forgets(&mut *transaction).await?;
        let deleted = sqlx::query("DELETE FROM audit_records WHERE log = $1 AND seq = ANY($2)")
            .bind(id)
            .bind(gone)
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(deleted.rows_affected())
    }

    pub(super) async fn erase_all(&self, sequences: &[u64]) -> Result<u64, StoreError> {
        let id = self.id().await?;
        let mut transaction = self.pool.begin().await?;
        forgets(&mut *transaction).await?;
        let mut erased = 0;
        for seq in sequences {
            let Some(before) = seq.checked_sub(1) else {
                continue;
            };
            let found = rows(&mut *transaction, id, before, 1).await?;
            let Some(stored) = found.first().filter(|s| s.seq == *seq) else {
                continue;
            };
            // What cannot be read has a commitment to something else: it stays, to be found.
            let is_sound = stored.is_readable && stored.hash == stored.link().expected_hash();
            let Some(commitment) = stored.content.commitment().filter(|_| is_sound) else {
                continue;
            };
            let done = sqlx::query(
                "UPDATE audit_records SET salt = $3, actor = NULL, login = NULL, session = NULL, \
                 address = NULL, agent = NULL, resource = NULL, request_id = NULL, details = NULL \
                 WHERE log = $1 AND seq = $2 AND length(salt) = 16",
            )
            .bind(id)
            .bind(seq.cast_signed())
            .bind(&commitment.0[..])
            .execute(&mut *transaction)
            .await?;
            erased += done.rows_affected();
        }
        transaction.commit().await?;
        if erased > 0 {
            // What was there is in the table until it is vacuumed.
            let vacuum = format!("VACUUM (INDEX_CLEANUP ON) audit_records_{id}");
            sqlx::query(AssertSqlSafe(vacuum))
                .execute(&self.pool)
                .await?;
        }
        Ok(erased)
    }

    /// The partition that is written to may be gone.
    async fn forget_end(&self) {
        *self.end.lock().await = None;
    }
}

/// Keeps the hashes of a tile of which something is left; of one that is gone, its node is enough.
async fn keep_tile(
    transaction: &mut Transaction<'_, Postgres>,
    id: i32,
    tile: u64,
    hashes: &[Hash],
    is_left: bool,
) -> Result<(), StoreError> {
    if !is_left {
        sqlx::query("DELETE FROM audit_tiles WHERE log = $1 AND idx = $2")
            .bind(id)
            .bind(tile.cast_signed())
            .execute(&mut **transaction)
            .await?;
        return Ok(());
    }
    let bytes: Vec<u8> = hashes.iter().flat_map(|hash| hash.0).collect();
    sqlx::query(
        "INSERT INTO audit_tiles (log, idx, hashes) VALUES ($1, $2, $3) \
         ON CONFLICT (log, idx) DO NOTHING",
    )
    .bind(id)
    .bind(tile.cast_signed())
    .bind(bytes)
    .execute(&mut **transaction)
    .await?;
    Ok(())
}

/// Lets this transaction past the trigger that keeps records as they are.
async fn forgets(on: impl PgExecutor<'_>) -> Result<(), StoreError> {
    sqlx::query("SELECT set_config('forge_audit.forgets', 'on', true)")
        .execute(on)
        .await?;
    Ok(())
}
