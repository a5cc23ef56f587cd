//! `forge audit verify`: whether an audit log is as it was written.

use std::path::Path;

use forge_audit::{AuditStore, Head, SqliteAuditStore, verify_store};
use forge_monitor::BoxError;

/// Recomputes the chain of an audit database and says how far it holds.
///
/// # Errors
/// The database cannot be read, or the first position that does not fit.
pub async fn verify_audit(file: &Path) -> Result<String, BoxError> {
    if !file.exists() {
        return Err("there is no such file".into());
    }
    let store = SqliteAuditStore::open(file).await?;
    let head: Head = store.tail().await?;
    let head = verify_store(&store, head).await?;
    Ok(format!("{} events, unbroken up to {}", head.seq, head.hash))
}
