//! Sealed columns in SQLite.

use std::fmt::Write as _;

use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row, Sqlite, SqlitePool};

use super::{Remaining, Replacement, RowId, SealedStore, StoreFuture, StoredValue, sql};
use crate::error::StoreError;
use crate::key::KeyId;
use crate::sealed_table::{RowKind, SealedColumn};

/// SQLite's limit of parameters a statement is 32766.
const PARAMETERS: usize = 30_000;

type Query<'q> = sqlx::query::Query<'q, Sqlite, SqliteArguments>;

/// The sealed columns of a SQLite database.
///
/// A batch is one statement, and with it one short transaction: writers wait for it no longer than
/// their busy time-out allows.
#[derive(Clone, Debug)]
pub struct SqliteSealedStore {
    pool: SqlitePool,
}

impl SqliteSealedStore {
    /// Over the database of `pool`.
    #[must_use]
    pub fn new(pool: SqlitePool) -> Self {
        Self { pool }
    }
}

impl SealedStore for SqliteSealedStore {
    fn page<'a>(
        &'a self,
        column: SealedColumn,
        primary: KeyId,
        after: Option<&'a RowId>,
        limit: u16,
    ) -> StoreFuture<'a, Vec<StoredValue>> {
        Box::pin(async move {
            let (table, name, row) = (column.table().name(), column.name(), column.row_column());
            let tenant = column.tenant_column().unwrap_or(row);
            let after_row = after.map_or(String::new(), |_| format!("AND \"{row}\" > ?3"));
            let query = AssertSqlSafe(format!(
                "SELECT \"{row}\", \"{tenant}\", \"{name}\" FROM \"{table}\" \
                 WHERE \"{name}\" IS NOT NULL AND substr(\"{name}\", 1, {}) <> ?1 {after_row} \
                 ORDER BY \"{row}\" LIMIT ?2",
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
            let mut replaced = 0;
            let mut transaction = self.pool.begin().await.map_err(sql::unavailable)?;
            for values in values.chunks(PARAMETERS / 3) {
                let mut query = sqlx::query(AssertSqlSafe(replace(column, values.len())));
                for value in values {
                    query = bind(query, &value.row).bind(&value.old).bind(&value.new);
                }
                let done = query.execute(&mut *transaction).await;
                replaced += done.map_err(sql::unavailable)?.rows_affected();
            }
            transaction.commit().await.map_err(sql::unavailable)?;
            Ok(replaced)
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

/// One statement for all: a statement a row would spend most of its time on the way there.
fn replace(column: SealedColumn, values: usize) -> String {
    let (table, name, row) = (column.table().name(), column.name(), column.row_column());
    let mut text = format!("UPDATE \"{table}\" SET \"{name}\" = v.column3 FROM (VALUES ");
    for value in 0..values {
        let comma = if value == 0 { "" } else { "," };
        // Writing to a string cannot fail.
        let _ = write!(text, "{comma}(?,?,?)");
    }
    let _ = write!(
        text,
        ") AS v WHERE \"{table}\".\"{row}\" = v.column1 AND \"{table}\".\"{name}\" = v.column2"
    );
    text
}

fn bind<'q>(query: Query<'q>, row: &'q RowId) -> Query<'q> {
    match row {
        RowId::Text(text) => query.bind(text),
        RowId::Bytes(bytes) => query.bind(bytes),
        RowId::Integer(number) => query.bind(number),
    }
}

fn read(column: SealedColumn, row: &SqliteRow) -> Result<StoredValue, StoreError> {
    let read = || {
        let id = match column.kind() {
            RowKind::Text | RowKind::Uuid => RowId::Text(row.try_get(0)?),
            RowKind::Bytes => RowId::Bytes(row.try_get(0)?),
            RowKind::Integer => RowId::Integer(row.try_get(0)?),
        };
        let tenant = match column.tenant_column() {
            Some(_) => Some(row.try_get(1)?),
            None => None,
        };
        Ok(StoredValue {
            row: id,
            tenant,
            sealed: row.try_get(2)?,
        })
    };
    read().map_err(sql::unavailable)
}
