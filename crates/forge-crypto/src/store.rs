//! What a rewrap needs of a database: pages of sealed values, replacing by compare-and-set, and
//! counting by key.

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::Pin;

use crate::error::StoreError;
use crate::key::KeyId;
use crate::sealed::Sealed;
use crate::sealed_table::SealedColumn;

/// What the methods of a store return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// A database that has tables with sealed columns.
pub trait SealedStore: Send + Sync {
    /// Up to `limit` values of `column` that are not sealed under `primary`, in the order of their
    /// rows' ids, of rows after `after`. `NULL` is no value.
    fn page<'a>(
        &'a self,
        column: SealedColumn,
        primary: KeyId,
        after: Option<&'a RowId>,
        limit: u16,
    ) -> StoreFuture<'a, Vec<StoredValue>>;

    /// Puts each new value in place of the old one, where the old one is still there, all in one
    /// transaction; how many that were. Never waits for a writer's transaction longer than the
    /// database makes it.
    fn replace<'a>(
        &'a self,
        column: SealedColumn,
        values: &'a [Replacement],
    ) -> StoreFuture<'a, u64>;

    /// How many values of `column` there are under each key.
    fn count(&self, column: SealedColumn) -> StoreFuture<'_, Remaining>;
}

/// A value that a store read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredValue {
    /// The id of its row.
    pub row: RowId,
    /// The tenant of its row, in a table with tenants.
    pub tenant: Option<String>,
    /// The value.
    pub sealed: Sealed,
}

/// A value that is to take the place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// The id of the row.
    pub row: RowId,
    /// The value that must still be there.
    pub old: Sealed,
    /// The value that takes its place.
    pub new: Sealed,
}

/// The id of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowId {
    /// Text, or a UUID as text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// An integer.
    Integer(i64),
}

impl RowId {
    /// The bytes that a sealed value is bound to; see [`RowKind`](crate::RowKind).
    pub fn as_bytes(&self) -> Cow<'_, [u8]> {
        match self {
            Self::Text(text) => text.as_bytes().into(),
            Self::Bytes(bytes) => bytes.into(),
            Self::Integer(number) => number.to_string().into_bytes().into(),
        }
    }
}

/// How many values are sealed under each key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    keys: BTreeMap<KeyId, u64>,
    unsealed: u64,
}

impl Remaining {
    /// Counts `values` more under a key; `None` is what is not sealed.
    pub fn add(&mut self, key: Option<KeyId>, values: u64) {
        *match key {
            Some(key) => self.keys.entry(key).or_default(),
            None => &mut self.unsealed,
        } += values;
    }

    /// Takes in what another column holds.
    pub fn merge(&mut self, other: &Self) {
        for (key, values) in other.by_key() {
            self.add(Some(key), values);
        }
        self.add(None, other.unsealed);
    }

    /// The keys under which there is anything, with how many values there are.
    pub fn by_key(&self) -> impl Iterator<Item = (KeyId, u64)> {
        self.keys.iter().map(|(&key, &values)| (key, values))
    }

    /// How many values are sealed under `key`.
    pub fn under(&self, key: KeyId) -> u64 {
        self.keys.get(&key).copied().unwrap_or_default()
    }

    /// How many values are not sealed at all, or damaged beyond telling.
    pub fn unsealed(&self) -> u64 {
        self.unsealed
    }

    /// How many values there are.
    pub fn total(&self) -> u64 {
        self.keys.values().sum::<u64>() + self.unsealed
    }
}

/// The condition of SQL that a value bears the shape of the format, and where its key id lies.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod sql {
    use crate::error::StoreError;
    use crate::key::KeyId;
    use crate::sealed_table::SealedColumn;
    use crate::store::Remaining;

    /// What every value under `key` starts with, and how long that is.
    pub(super) const HEAD: u8 = 16;

    pub(super) fn head(key: KeyId) -> String {
        format!("fv1.{key}.")
    }

    /// The key id of a sealed value, else `NULL`: what is not sealed is never read.
    pub(super) fn count(column: SealedColumn) -> String {
        let (table, name) = (column.table().name(), column.name());
        format!(
            "SELECT CASE WHEN substr(\"{name}\", 1, 4) = 'fv1.' AND substr(\"{name}\", 16, 1) = '.' \
             THEN substr(\"{name}\", 5, 11) END AS key_id, count(*) AS total \
             FROM \"{table}\" WHERE \"{name}\" IS NOT NULL GROUP BY 1"
        )
    }

    pub(super) fn remaining(rows: Vec<(Option<String>, i64)>) -> Remaining {
        let mut remaining = Remaining::default();
        for (id, values) in rows {
            let key = id.and_then(|id| KeyId::parse(&id).ok());
            remaining.add(key, u64::try_from(values).unwrap_or_default());
        }
        remaining
    }

    pub(super) fn unavailable(error: sqlx::Error) -> StoreError {
        match error {
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => StoreError::RowKind,
            error => StoreError::Unavailable(error.into()),
        }
    }
}
