//! Sealed columns in PostgreSQL.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row};

use super::{Remaining, Replacement, RowId, SealedStore, StoreFuture, StoredValue, sql};
use crate::error::StoreError;
use crate::key::KeyId;
use crate::sealed_table::{RowKind, SealedColumn};

type Query<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// The sealed columns of a PostgreSQL database, in the schema that the connection's search path
/// leads to.
///
/// Rows that somebody else has locked are left out, and count as conflicts: a rewrap never waits
/// for a long transaction, and cannot be part of a deadlock.
#[derive(Clone, Debug)]
pub struct PostgresSealedStore {
    pool: PgPool,
}

impl PostgresSealedStore {
    /// Over the database of `pool`.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

impl SealedStore for PostgresSealedStore {
    fn page<'a>(
        &'a self,
        column: SealedColumn,
        primary: KeyId,
        after: Option<&'a RowId>,
        limit: u16,
    ) -> StoreFuture<'a, Vec<StoredValue>> {
        Box::pin(async move {
            let (table, name, row) = (column.table().name(), column.name(), column.row_column());
            let kind = sql_type(column.kind());
            // A UUID is read as text, and compared and sorted as what it is.
            let id = match column.kind() {
                RowKind::Uuid => format!("\"{row}\"::text"),
                _ => format!("\"{row}\"::{kind}"),
            };
            let tenant = match column.tenant_column() {
                Some(tenant) => format!("\"{tenant}\"::text"),
                None => "NULL::text".to_owned(),
            };
            let after_row = match (after, column.kind()) {
                (None, _) => String::new(),
                (_, RowKind::Uuid) => format!("AND \"{row}\" > $3::text::uuid"),
                _ => format!("AND \"{row}\" > $3::{kind}"),
            };
            let query = AssertSqlSafe(format!(
                "SELECT {id}, {tenant}, \"{name}\" FROM \"{table}\" \
                 WHERE \"{name}\" IS NOT NULL AND substr(\"{name}\", 1, {}) <> $1 {after_row} \
                 ORDER BY \"{table}\".\"{row}\" LIMIT $2",
                sql::HEAD
            ));
            let mut query = sqlx::query(query)
                .bind(sql::head(primary))
                .bind(i64::from(limit));
            if let Some(after) = after {
                query = bind(query, after);
            }
            let rows = query
                .fetch_all(&self.pool)
                .await
                .map_err(sql::unavailable)?;
            rows.iter().map(|row| read(column, row)).collect()
        })
    }

    fn replace<'a>(
        &'a self,
        column: SealedColumn,
        values: &'a [Replacement],
    ) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            let (table, name, row) = (column.table().name(), column.name(), column.row_column());
            let kind = sql_type(column.kind());
            let listed = match column.kind() {
                RowKind::Uuid => "text",
                _ => kind,
            };
            let query = AssertSqlSafe(format!(
                "WITH v AS (SELECT row::{kind} AS row, old, new \
                 FROM unnest($1::{listed}[], $2::text[], $3::text[]) AS v (row, old, new)), \
                 free AS (SELECT t.\"{row}\" AS row FROM \"{table}\" t JOIN v ON t.\"{row}\" = v.row \
                 WHERE t.\"{name}\" = v.old ORDER BY t.\"{row}\" FOR NO KEY UPDATE OF t SKIP LOCKED) \
                 UPDATE \"{table}\" t SET \"{name}\" = v.new FROM v JOIN free ON free.row = v.row \
                 WHERE t.\"{row}\" = v.row AND t.\"{name}\" = v.old"
            ));
            let rows = values.iter().map(|value| &value.row);
            let query = sqlx::query(query);
            let query = match column.kind() {
                RowKind::Text | RowKind::Uuid => query.bind(all(rows, RowId::as_text)?),
                RowKind::Bytes => query.bind(all(rows, RowId::as_blob)?),
                RowKind::Integer => query.bind(all(rows, RowId::as_integer)?),
            };
            let text = |sealed: fn(&Replacement) -> &str| -> Vec<&str> {
                values.iter().map(sealed).collect()
            };
            let done = query
                .bind(text(|value| value.old.as_str()))
                .bind(text(|value| value.new.as_str()))
                .execute(&self.pool)
                .await;
            Ok(done.map_err(sql::unavailable)?.rows_affected())
        })
    }

    fn count(&self, column: SealedColumn) -> StoreFuture<'_, Remaining> {
        Box::pin(async move {
            let rows = sqlx::query_as(AssertSqlSafe(sql::count(column)))
                .fetch_all(&self.pool)
                .await;
            rows.map(sql::remaining).map_err(sql::unavailable)
        })
    }
}

impl RowId {
    fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn as_blob(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    fn as_integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }
}

fn all<'a, T>(
    rows: impl Iterator<Item = &'a RowId>,
    read: impl Fn(&'a RowId) -> Option<T>,
) -> Result<Vec<T>, StoreError> {
    rows.map(read)
        .collect::<Option<_>>()
        .ok_or(StoreError::RowKind)
}

fn sql_type(kind: RowKind) -> &'static str {
    match kind {
        RowKind::Text => "text",
        RowKind::Bytes => "bytea",
        RowKind::Integer => "bigint",
        RowKind::Uuid => "uuid",
    }
}

fn bind<'q>(query: Query<'q>, row: &'q RowId) -> Query<'q> {
    match row {
        RowId::Text(text) => query.bind(text),
        RowId::Bytes(bytes) => query.bind(bytes),
        RowId::Integer(number) => query.bind(number),
    }
}

fn read(column: SealedColumn, row: &PgRow) -> Result<StoredValue, StoreError> {
    let read = || {
        let id = match column.kind() {
            RowKind::Text | RowKind::Uuid => RowId::Text(row.try_get(0)?),
            RowKind::Bytes => RowId::Bytes(row.try_get(0)?),
            RowKind::Integer => RowId::Integer(row.try_get(0)?),
        };
        Ok(StoredValue {
            row: id,
            tenant: row.try_get(1)?,
            sealed: row.try_get(2)?,
        })
    };
    read().map_err(sql::unavailable)
}
