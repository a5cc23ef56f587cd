//! `database.*`: the database that nodes share.

use std::fmt;

use secrecy::SecretString;

use super::{Reader, parse};

/// `database.*`
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is the key of its name")]
pub struct DatabaseConfig {
    pub url: SecretString,
    pub connections: u32,
    pub audit: bool,
}

impl DatabaseConfig {
    pub(super) fn from_reader(reader: &mut Reader) -> Option<Self> {
        let url = reader.one("database.url", |text| {
            crate::database::postgres::check_url(text).map(|()| text.to_owned())
        });
        let connections = reader.one("database.connections", parse::number(4..=1000));
        let audit = reader.one("database.audit", |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        });
        if audit == Some(true) && url.is_none() {
            let fix = "set database.url, or leave the log in its file";
            reader.refuse("database.audit", "is set without a database", fix);
        }
        Some(Self {
            url: url?.into(),
            connections: u32::try_from(connections?).ok()?,
            audit: audit?,
        })
    }
}

impl fmt::Debug for DatabaseConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabaseConfig")
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}
