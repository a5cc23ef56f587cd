//! The audit log in the shared database: each node's own, beside those of the others.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use forge_audit::{
    CheckpointVerifier, Head, PostgresAuditStore, split_notes, verify_signed, verify_with,
};
use forge_monitor::BoxError;

use crate::audit_command::report;
use crate::config::{Config, DatabaseConfig, Inputs};
use crate::database::postgres;
use crate::error::StartError;

/// Connections for the log, apart from those for everything else: neither waits for the other.
const CONNECTIONS: u32 = 4;

/// The store of the log `origin`, with its tables up to date.
pub(crate) async fn open(
    shared: &DatabaseConfig,
    origin: &str,
) -> Result<Arc<PostgresAuditStore>, StartError> {
    let open = async {
        let pool = postgres::open(&shared.url, CONNECTIONS).await?;
        let store = PostgresAuditStore::new(pool, origin);
        store.migrate().await?;
        Ok::<_, BoxError>(Arc::new(store))
    };
    open.await.map_err(StartError::DatabaseUrl)
}

/// The name of this node's log: that of all, and a word that the node has drawn at its first start
/// and keeps in its data folder.
///
/// # Errors
/// The word cannot be kept, or what is kept is none.
pub(crate) fn origin(host: &str, data: &Path) -> Result<String, BoxError> {
    let path = data.join("audit.node");
    if !path.exists() {
        let mut word = [0; 4];
        getrandom::fill(&mut word)?;
        fs::write(&path, format!("{:08x}", u32::from_be_bytes(word)))?;
    }
    let word = fs::read_to_string(&path)?;
    let is_word = word.len() == 8 && word.bytes().all(|b| b.is_ascii_hexdigit());
    match is_word {
        true => Ok(format!("{host}/audit/{word}")),
        false => Err("audit.node in the data folder is not 8 hexadecimal digits".into()),
    }
}

/// `forge audit shared`
#[derive(Args, Clone, Debug, Default)]
pub struct SharedLog {
    /// The log, as it is listed.
    pub origin: Option<String>,
    /// The public key of the log, `<origin>+<id>+<key>`: verifies the stored checkpoints too.
    #[arg(long, requires = "origin")]
    pub key: Option<String>,
    /// A file of checkpoints that was kept elsewhere; needs --key.
    #[arg(long, value_name = "FILE", requires = "key")]
    pub checkpoints: Option<PathBuf>,
    /// The configuration file of the server [also: FORGE_CONFIG], or FORGE_DATABASE_URL.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

impl SharedLog {
    /// Recomputes the chain of the log and says how far it holds; without a log, lists them.
    ///
    /// # Errors
    /// The database cannot be used, has no such log, or the first position that does not fit.
    pub async fn run(&self) -> Result<String, BoxError> {
        let inputs = Inputs {
            file: self.config.clone(),
            ..Inputs::from_process()
        };
        let shared = Config::database(&inputs)?.ok_or("database.url is not set")?;
        let pool = postgres::open(&shared.url, CONNECTIONS).await?;
        let name = self.origin.clone().unwrap_or_default();
        let store = PostgresAuditStore::new(pool, &name);
        let logs = store.logs().await?;
        if name.is_empty() {
            let line = |(name, head): &(String, Head)| format!("{name}  {} events\n", head.seq);
            return Ok(logs
                .iter()
                .map(line)
                .collect::<String>()
                .trim_end()
                .to_owned());
        }
        if !logs.iter().any(|(known, _)| *known == name) {
            return Err("the database has no such log".into());
        }
        let verified = match &self.key {
            Some(key) => {
                let key: CheckpointVerifier = key.parse()?;
                let notes = match &self.checkpoints {
                    Some(path) => split_notes(&std::fs::read_to_string(path)?),
                    None => Vec::new(),
                };
                verify_signed(&store, &key, &notes).await?
            }
            None => verify_with(&store, Head::default(), []).await?,
        };
        Ok(report(&verified, self.key.is_some()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_has_a_log_of_its_own_name_and_keeps_it() {
        let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let name = |node: usize| origin("forge.example", folders[node].path());
        let first = name(0).unwrap();
        assert!(first.starts_with("forge.example/audit/"));
        assert_eq!(first.len(), "forge.example/audit/".len() + 8);
        assert_eq!(name(0).unwrap(), first);
        assert_ne!(name(1).unwrap(), first);
        fs::write(folders[0].path().join("audit.node"), "x").unwrap();
        assert!(name(0).is_err());
    }
}
