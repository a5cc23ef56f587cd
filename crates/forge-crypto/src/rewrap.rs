//! Sealing what is stored anew under the primary key, table by table, while others read and write.

use std::fmt;

use zeroize::Zeroize;

use crate::envelope;
use crate::error::{ResealError, StoreError};
use crate::sealed::Sealed;
use crate::sealed_table::{SealedColumn, SealedTable};
use crate::store::{Remaining, Replacement, SealedStore, StoredValue};
use crate::vault::Vault;

/// How often a column is gone through for the sake of values that changed under a batch's hands.
const PASSES: usize = 5;

/// Brings every sealed value of some tables under the primary key of a vault.
///
/// It goes through each column in batches, in the order of the row ids, and puts a new value only
/// where the old one still stands (compare-and-set). So it may run while others write, twice at
/// once, and end at any point: what is done is done, and the next run takes up what is left.
///
/// Before it starts, every process that writes must have the new primary key; else what those
/// write meanwhile is under the old one, and is left for the next run. A key may be taken out of
/// the keyring when [`remaining`](Self::remaining) counts nothing under it any more: that is what
/// [`Keyring::retire`](crate::Keyring::retire) asks for.
///
/// ```no_run
/// # #[cfg(feature = "sqlite")]
/// # async fn rotate(vault: forge_crypto::Vault, pool: sqlx::SqlitePool)
/// #     -> Result<(), forge_crypto::StoreError> {
/// use forge_crypto::{Rewrap, SealedTable, SqliteSealedStore};
///
/// const USERS: SealedTable = SealedTable::new("users", "id", &["github_token"]);
///
/// let store = SqliteSealedStore::new(pool);
/// let report = Rewrap::new(&vault, &store)
///     .table(USERS)
///     .run(|progress| println!("{} of {}", progress.seen(), progress.total))
///     .await?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
#[must_use = "a rewrap does nothing until it is run"]
pub struct Rewrap<'a> {
    vault: &'a Vault,
    store: &'a dyn SealedStore,
    columns: Vec<SealedColumn>,
    batch: u16,
    seal_unsealed: bool,
    open_compromised: bool,
}

/// How far a rewrap is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct RewrapProgress {
    /// The column at hand.
    pub column: SealedColumn,
    /// How many values of all columns there were under other keys at the start.
    pub total: u64,
    /// How many were sealed anew.
    pub done: u64,
    /// How many changed while they were being sealed anew.
    pub conflicted: u64,
    /// How many could not be opened.
    pub failed: u64,
}

impl RewrapProgress {
    /// How many values were looked at; some twice, when they changed meanwhile.
    #[must_use]
    pub fn seen(&self) -> u64 {
        self.done + self.conflicted + self.failed
    }
}

/// What a rewrap did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RewrapReport {
    /// How many values were sealed anew.
    pub done: u64,
    /// How many were under the primary key before.
    pub skipped: u64,
    /// How often a value had changed, or was held by another transaction, when it was to be
    /// replaced, and was left to its writer.
    pub conflicted: u64,
    /// How many could not be opened, or are not sealed; they are as they were.
    pub failed: u64,
    /// What is stored under which key now.
    pub remaining: Remaining,
}

impl fmt::Display for RewrapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            done,
            skipped,
            conflicted,
            failed,
            ..
        } = self;
        write!(
            f,
            "{done} sealed anew, {skipped} skipped, {conflicted} conflicts, {failed} failed"
        )
    }
}

impl<'a> Rewrap<'a> {
    /// Of no table yet, under the primary key of `vault`.
    pub fn new(vault: &'a Vault, store: &'a dyn SealedStore) -> Self {
        Self {
            vault,
            store,
            columns: Vec::new(),
            batch: 500,
            seal_unsealed: false,
            open_compromised: false,
        }
    }

    /// Adds all sealed columns of `table`.
    pub fn table(mut self, table: SealedTable) -> Self {
        self.columns.extend(table.columns());
        self
    }

    /// How many values a batch has, which is how many rows are locked at once. Default: 500;
    /// at least 1.
    pub fn batch(mut self, batch: u16) -> Self {
        self.batch = batch.max(1);
        self
    }

    /// Seals values that were stored before there was a vault: what does not begin with `fv1.` is
    /// taken for the secret itself. Default: such values fail and are left.
    ///
    /// Whoever could write to the database could have put them there: once they are sealed, they
    /// look like any other. Afterwards no vault should
    /// [read unsealed values](Vault::dangerous_read_unsealed) any more. The old value may still
    /// lie in free pages, logs and backups of the database.
    pub fn dangerous_seal_unsealed(mut self) -> Self {
        self.seal_unsealed = true;
        self
    }

    /// Also takes what is sealed under keys that are marked compromised. Default: such values fail
    /// and are left.
    ///
    /// Whoever has such a key can have written them: once they are sealed anew, they look like any
    /// other. Replace the secrets themselves where you can.
    pub fn dangerous_open_compromised(mut self) -> Self {
        self.open_compromised = true;
        self
    }

    /// Seals anew, and calls `progress` after each batch.
    ///
    /// A value that does not open is no error: the report counts it, the vault's observer is told
    /// why, and it stays.
    ///
    /// # Errors
    /// When the database fails. What was done until then is done.
    pub async fn run(
        &self,
        mut progress: impl FnMut(&RewrapProgress),
    ) -> Result<RewrapReport, StoreError> {
        let mut report = RewrapReport::default();
        let before = self.remaining().await?;
        report.skipped = before.under(self.vault.primary_key_id());
        let total = before.total() - report.skipped;
        for &column in &self.columns {
            let failed_before = report.failed;
            for _ in 0..PASSES {
                let conflicted_before = report.conflicted;
                // Each pass meets the same broken values again.
                report.failed = failed_before;
                self.pass(column, &mut report, |report| {
                    progress(&RewrapProgress {
                        column,
                        total,
                        done: report.done,
                        conflicted: report.conflicted,
                        failed: report.failed,
                    });
                })
                .await?;
                if report.conflicted == conflicted_before {
                    break;
                }
            }
        }
        report.remaining = self.remaining().await?;
        Ok(report)
    }

    /// Counts what is stored under which key, in all columns of the tables.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remaining(&self) -> Result<Remaining, StoreError> {
        let mut remaining = Remaining::default();
        for &column in &self.columns {
            remaining.merge(&self.store.count(column).await?);
        }
        Ok(remaining)
    }

    async fn pass(
        &self,
        column: SealedColumn,
        report: &mut RewrapReport,
        mut after_batch: impl FnMut(&RewrapReport),
    ) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let primary = self.vault.primary_key_id();
            let page = self
                .store
                .page(column, primary, after.as_ref(), self.batch)
                .await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.row.clone());
            let last_page = page.len() < usize::from(self.batch);

            let read = page.len();
            let batch = Batch(self.seal_all(column, page));
            report.failed += (read - batch.0.len()) as u64;
            if !batch.0.is_empty() {
                let replaced = self.store.replace(column, &batch.0).await?;
                report.done += replaced;
                report.conflicted += (batch.0.len() as u64).saturating_sub(replaced);
            }
            after_batch(report);
            if last_page {
                return Ok(());
            }
        }
    }

    /// Those values that could be sealed anew.
    fn seal_all(&self, column: SealedColumn, page: Vec<StoredValue>) -> Vec<Replacement> {
        let seal = |value: StoredValue| match self.seal(column, &value) {
            Ok(Some(new)) => Some(Replacement {
                row: value.row,
                old: value.sealed,
                new,
            }),
            _ => {
                // It may be a secret in clear.
                value.sealed.into_string().zeroize();
                None
            }
        };
        page.into_iter().filter_map(seal).collect()
    }

    fn seal(
        &self,
        column: SealedColumn,
        value: &StoredValue,
    ) -> Result<Option<Sealed>, ResealError> {
        let row = value.row.as_bytes();
        let mut place = column.row(&row);
        if let Some(tenant) = &value.tenant {
            place = place.tenant(tenant);
        }
        let text = value.sealed.as_str();
        if self.seal_unsealed && !envelope::is_sealed(text) {
            return self
                .vault
                .seal(&place, text)
                .map(Some)
                .map_err(ResealError::Seal);
        }
        if self.open_compromised {
            self.vault.dangerous_reseal_compromised(&place, text)
        } else {
            self.vault.reseal(&place, text)
        }
    }
}

impl fmt::Debug for Rewrap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rewrap")
            .field("vault", self.vault)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

/// Values on their way into the database, of which some old ones may be secrets in clear.
struct Batch(Vec<Replacement>);

impl Drop for Batch {
    fn drop(&mut self) {
        for replacement in self.0.drain(..) {
            replacement.old.into_string().zeroize();
        }
    }
}
