//! What a model says once about its sealed columns, for sealing, opening and rewrapping alike.

use crate::context::Context;

/// A table with sealed columns: its name, the column that identifies a row, and the columns that
/// hold sealed values.
///
/// Described once, as a constant. Every place is made from it, and so is the list of columns that
/// a [`Rewrap`](crate::Rewrap) goes through: a rotation cannot miss one, because a column that is
/// not listed cannot be named.
///
/// ```
/// use forge_crypto::secrecy::ExposeSecret;
/// use forge_crypto::{Keyring, SealedColumn, SealedTable, Vault};
///
/// const USERS: SealedTable = SealedTable::new("users", "id", &["github_token", "totp_secret"]);
/// const GITHUB_TOKEN: SealedColumn = USERS.column("github_token");
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let vault = Vault::new(&Keyring::generate()?);
/// let sealed = vault.seal(&GITHUB_TOKEN.row("user-17"), "gho_16C7e42F292c6912E77")?;
/// let opened = vault.open_string(&GITHUB_TOKEN.row("user-17"), &sealed)?;
/// assert_eq!(opened.expose_secret(), "gho_16C7e42F292c6912E77");
/// # Ok(())
/// # }
/// ```
///
/// A column that is not listed does not compile:
///
/// ```compile_fail
/// # use forge_crypto::{SealedColumn, SealedTable};
/// const USERS: SealedTable = SealedTable::new("users", "id", &["github_token"]);
/// const TOKEN: SealedColumn = USERS.column("gitlab_token");
/// # fn main() { let _ = TOKEN; }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedTable {
    name: &'static str,
    row: &'static str,
    row_kind: RowKind,
    tenant: Option<&'static str>,
    columns: &'static [&'static str],
}

/// Of what kind the ids of a table's rows are, and which bytes of them a sealed value is bound to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RowKind {
    /// Text; bound as its UTF-8 bytes.
    #[default]
    Text,
    /// `BLOB` or `BYTEA`; bound as it is.
    Bytes,
    /// A 64-bit integer; bound as its decimal digits: `TOKEN.row(&id.to_string())`.
    Integer,
    /// PostgreSQL's `UUID`; bound as its 36 characters in lower case: `TOKEN.row(&id.to_string())`.
    Uuid,
}

impl SealedTable {
    /// The table `name`, whose rows are told apart by the column `row`, with sealed `columns`.
    ///
    /// # Panics
    /// When a name is no plain SQL identifier (letters, digits and underscores), there is no
    /// column, or one is listed twice. In a constant, that is an error of the compiler.
    #[must_use]
    pub const fn new(
        name: &'static str,
        row: &'static str,
        columns: &'static [&'static str],
    ) -> Self {
        assert_identifier(name);
        assert_identifier(row);
        assert!(!columns.is_empty(), "a sealed table has a sealed column");
        let mut at = 0;
        while at < columns.len() {
            assert_identifier(columns[at]);
            let mut before = 0;
            while before < at {
                assert!(
                    !equal(columns[before], columns[at]),
                    "a column is listed twice"
                );
                before += 1;
            }
            at += 1;
        }
        Self {
            name,
            row,
            row_kind: RowKind::Text,
            tenant: None,
            columns,
        }
    }

    /// The kind of the row ids. Default: [`RowKind::Text`].
    #[must_use]
    pub const fn row_kind(mut self, kind: RowKind) -> Self {
        self.row_kind = kind;
        self
    }

    /// The text column that names the tenant a row belongs to. Default: the table has none.
    ///
    /// Places in a table with tenants are complete only with [`Context::tenant`]; without it
    /// nothing is sealed.
    ///
    /// # Panics
    /// When the name is no plain SQL identifier.
    #[must_use]
    pub const fn tenant(mut self, column: &'static str) -> Self {
        assert_identifier(column);
        self.tenant = Some(column);
        self
    }

    /// One of the sealed columns.
    ///
    /// # Panics
    /// When it is not listed. In a constant, that is an error of the compiler.
    #[must_use]
    pub const fn column(self, name: &'static str) -> SealedColumn {
        let mut at = 0;
        while at < self.columns.len() {
            if equal(self.columns[at], name) {
                return SealedColumn { table: self, name };
            }
            at += 1;
        }
        panic!("the column is not among the sealed columns of the table")
    }

    /// All sealed columns.
    pub fn columns(self) -> impl ExactSizeIterator<Item = SealedColumn> {
        let column = move |&name| SealedColumn { table: self, name };
        self.columns.iter().map(column)
    }

    /// The name of the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }
}

/// A sealed column of a [`SealedTable`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealedColumn {
    table: SealedTable,
    name: &'static str,
}

impl SealedColumn {
    /// The place of this column's value in the row of that id; in a table with tenants to be
    /// completed with [`Context::tenant`].
    #[must_use]
    pub fn row<'a>(self, id: &'a (impl AsRef<[u8]> + ?Sized)) -> Context<'a> {
        let place = Context::new(self.table.name, self.name, id);
        match self.table.tenant {
            Some(_) => place.without_tenant(),
            None => place,
        }
    }

    /// The table it belongs to.
    #[must_use]
    pub const fn table(self) -> SealedTable {
        self.table
    }

    /// The name of the column.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.name
    }

    /// The column that identifies a row, for a [`SealedStore`](crate::SealedStore).
    #[must_use]
    pub const fn row_column(self) -> &'static str {
        self.table.row
    }

    /// The kind of the row ids, for a [`SealedStore`](crate::SealedStore).
    #[must_use]
    pub const fn kind(self) -> RowKind {
        self.table.row_kind
    }

    /// The column that names the tenant, for a [`SealedStore`](crate::SealedStore).
    #[must_use]
    pub const fn tenant_column(self) -> Option<&'static str> {
        self.table.tenant
    }
}

/// Names go into SQL as they are.
const fn assert_identifier(name: &str) {
    let bytes = name.as_bytes();
    assert!(!bytes.is_empty(), "a name is empty");
    assert!(!bytes[0].is_ascii_digit(), "a name starts with a digit");
    let mut at = 0;
    while at < bytes.len() {
        assert!(
            bytes[at].is_ascii_alphanumeric() || bytes[at] == b'_',
            "a name has other characters than letters, digits and underscores"
        );
        at += 1;
    }
}

const fn equal(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    const USERS: SealedTable = SealedTable::new("users", "id", &["token", "secret"]);

    #[test]
    fn places_are_made_from_the_description() {
        assert_eq!(
            USERS.column("token").row("7"),
            Context::new("users", "token", "7")
        );
        let names: Vec<_> = USERS.columns().map(SealedColumn::name).collect();
        assert_eq!(names, ["token", "secret"]);
    }

    #[test]
    fn a_table_with_tenants_wants_the_tenant() {
        let column = USERS.tenant("org").column("token");
        assert!(!column.row("7").is_bound());
        let place = column.row("7").tenant("acme");
        assert!(place.is_bound());
        assert_eq!(place, Context::new("users", "token", "7").tenant("acme"));
    }

    #[test]
    fn refuses_names_that_are_no_identifiers_and_columns_that_are_not_listed() {
        for name in ["", "1a", "a b", "a\"b", "a;b", "ä"] {
            assert!(
                catch_unwind(|| SealedTable::new(name, "id", &["c"])).is_err(),
                "{name}"
            );
            assert!(
                catch_unwind(|| SealedTable::new("t", name, &["c"])).is_err(),
                "{name}"
            );
            assert!(catch_unwind(|| USERS.tenant(name)).is_err(), "{name}");
        }
        assert!(catch_unwind(|| SealedTable::new("t", "id", &[])).is_err());
        assert!(catch_unwind(|| SealedTable::new("t", "id", &["c", "d", "c"])).is_err());
        assert!(catch_unwind(|| USERS.column("id")).is_err());
    }
}
