//! One way to ask both databases: a statement that both understand, and values for its `$n`.

use std::fmt;

use forge_crypto::Sealed;
use sqlx::pool::MaybePoolConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{Decode, PgPool, Postgres, Row as _, Sqlite, SqlitePool, Type};

/// The connections to whichever database it is. Cheap to clone.
#[derive(Clone)]
pub enum Pool {
    /// To a file of this node's own.
    Sqlite(SqlitePool),
    /// To what several nodes share.
    Postgres(PgPool),
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sqlite(_) => "Sqlite",
            Self::Postgres(_) => "Postgres",
        })
    }
}

/// What a change has to itself, of all that go on at once.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    /// The allow-list as a whole. Comes before an account.
    AllowList,
    /// One account: its entry and its user.
    Account(i64),
    /// The sign-ins under way.
    SignIns,
    /// The sign-ins from terminals under way.
    DeviceLogins,
    /// The keys that sign access tokens.
    SigningKeys,
    /// The exchange of one account's token at GitHub.
    Exchange(i64),
}

impl Turn {
    fn name(self) -> String {
        match self {
            Self::AllowList => "forge allow_list".to_owned(),
            Self::Account(id) => format!("forge account {id}"),
            Self::SignIns => "forge sign_ins".to_owned(),
            Self::DeviceLogins => "forge device_logins".to_owned(),
            Self::Exchange(id) => format!("forge exchange {id}"),
            Self::SigningKeys => "forge signing_keys".to_owned(),
        }
    }
}

impl Pool {
    /// Begins a change. Until it ends no other has one of these turns, on any node; what it reads
    /// afterwards holds until then. Whoever takes several takes them in the order of [`Turn`].
    ///
    /// SQLite lets one writer in at a time in any case.
    pub(crate) async fn begin(&self, turns: &[Turn]) -> Result<Transaction, sqlx::Error> {
        match self {
            Self::Sqlite(pool) => {
                let transaction = pool.begin_with("BEGIN IMMEDIATE").await?;
                Ok(Transaction::Sqlite(transaction))
            }
            Self::Postgres(pool) => {
                // Each statement sees what was committed before it, whatever the default is.
                let begin = "BEGIN ISOLATION LEVEL READ COMMITTED";
                let mut transaction = pool.begin_with(begin).await?;
                for turn in turns {
                    let lock = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
                    sqlx::query(lock)
                        .bind(turn.name())
                        .execute(&mut *transaction)
                        .await?;
                }
                Ok(Transaction::Postgres(transaction))
            }
        }
    }

    /// Waits for a turn that other nodes may have, and holds it until what is returned is dropped;
    /// nothing, where there are none. It takes a connection: hold few at once.
    pub(crate) async fn hold(&self, turn: Turn) -> Result<Option<Transaction>, sqlx::Error> {
        match self {
            Self::Sqlite(_) => Ok(None),
            Self::Postgres(_) => self.begin(&[turn]).await.map(Some),
        }
    }
}

/// A change under way; dropped before [`commit`](Self::commit), nothing has happened.
pub(crate) enum Transaction {
    Sqlite(sqlx::Transaction<'static, Sqlite>),
    Postgres(sqlx::Transaction<'static, Postgres>),
}

impl Transaction {
    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        }
    }
}

/// Where a statement runs: `&Pool` or `&mut Transaction`.
pub(crate) enum On<'a> {
    Pool(&'a Pool),
    Transaction(&'a mut Transaction),
}

impl<'a> From<&'a Pool> for On<'a> {
    fn from(pool: &'a Pool) -> Self {
        Self::Pool(pool)
    }
}

impl<'a> From<&'a mut Transaction> for On<'a> {
    fn from(transaction: &'a mut Transaction) -> Self {
        Self::Transaction(transaction)
    }
}

enum Connection<'a> {
    Sqlite(MaybePoolConnection<'a, Sqlite>),
    Postgres(MaybePoolConnection<'a, Postgres>),
}

impl<'a> On<'a> {
    async fn connection(self) -> Result<Connection<'a>, sqlx::Error> {
        use MaybePoolConnection::{Connection as Borrowed, PoolConnection as Pooled};
        Ok(match self {
            Self::Pool(Pool::Sqlite(pool)) => Connection::Sqlite(Pooled(pool.acquire().await?)),
            Self::Pool(Pool::Postgres(pool)) => Connection::Postgres(Pooled(pool.acquire().await?)),
            Self::Transaction(Transaction::Sqlite(within)) => {
                Connection::Sqlite(Borrowed(&mut **within))
            }
            Self::Transaction(Transaction::Postgres(within)) => {
                Connection::Postgres(Borrowed(&mut **within))
            }
        })
    }
}

/// A statement; its values are bound in the order of `$1`, `$2` …
pub(crate) fn query(statement: &'static str) -> Query {
    Query {
        statement,
        values: Vec::new(),
    }
}

pub(crate) struct Query {
    statement: &'static str,
    values: Vec<Value>,
}

/// The statement with its values, for one of the databases.
macro_rules! bound {
    ($query:expr) => {{
        let query = sqlx::query($query.statement);
        $query
            .values
            .into_iter()
            .fold(query, |query, value| match value {
                Value::Integer(value) => query.bind(value),
                Value::Text(value) => query.bind(value),
                Value::Bytes(value) => query.bind(value),
            })
    }};
}

impl Query {
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// How many rows it concerned.
    pub(crate) async fn execute(self, on: impl Into<On<'_>>) -> Result<u64, sqlx::Error> {
        Ok(match on.into().connection().await? {
            Connection::Sqlite(mut db) => bound!(self).execute(&mut *db).await?.rows_affected(),
            Connection::Postgres(mut db) => bound!(self).execute(&mut *db).await?.rows_affected(),
        })
    }

    pub(crate) async fn fetch_optional(
        self,
        on: impl Into<On<'_>>,
    ) -> Result<Option<Row>, sqlx::Error> {
        Ok(match on.into().connection().await? {
            Connection::Sqlite(mut db) => {
                let row = bound!(self).fetch_optional(&mut *db).await?;
                row.map(Row::Sqlite)
            }
            Connection::Postgres(mut db) => {
                let row = bound!(self).fetch_optional(&mut *db).await?;
                row.map(Row::Postgres)
            }
        })
    }

    pub(crate) async fn fetch_all(self, on: impl Into<On<'_>>) -> Result<Vec<Row>, sqlx::Error> {
        Ok(match on.into().connection().await? {
            Connection::Sqlite(mut db) => {
                let rows = bound!(self).fetch_all(&mut *db).await?;
                rows.into_iter().map(Row::Sqlite).collect()
            }
            Connection::Postgres(mut db) => {
                let rows = bound!(self).fetch_all(&mut *db).await?;
                rows.into_iter().map(Row::Postgres).collect()
            }
        })
    }
}

/// What both databases store.
pub(crate) enum Value {
    Integer(Option<i64>),
    Text(Option<String>),
    Bytes(Vec<u8>),
}

macro_rules! value {
    ($($from:ty => |$value:ident| $into:expr;)*) => {
        $(impl From<$from> for Value {
            fn from($value: $from) -> Self {
                $into
            }
        })*
    };
}

value! {
    i64 => |value| Self::Integer(Some(value));
    Option<i64> => |value| Self::Integer(value);
    &str => |value| Self::Text(Some(value.to_owned()));
    &String => |value| Self::Text(Some(value.clone()));
    &Option<String> => |value| Self::Text(value.clone());
    Vec<u8> => |value| Self::Bytes(value);
    Sealed => |value| Self::Text(Some(value.into_string()));
    Option<Sealed> => |value| Self::Text(value.map(Sealed::into_string));
    &Sealed => |value| Self::Text(Some(value.as_str().to_owned()));
}

/// A row of either database.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    pub(crate) fn try_get<T>(&self, column: &str) -> Result<T, sqlx::Error>
    where
        T: for<'r> Decode<'r, Sqlite> + Type<Sqlite>,
        T: for<'r> Decode<'r, Postgres> + Type<Postgres>,
    {
        match self {
            Self::Sqlite(row) => row.try_get(column),
            Self::Postgres(row) => row.try_get(column),
        }
    }
}
