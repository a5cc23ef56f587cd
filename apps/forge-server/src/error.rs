//! What keeps the server from starting or ending well.

use std::net::SocketAddr;
use std::path::PathBuf;

use forge_monitor::BoxError;

/// Why the server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The folder for the databases cannot be made or written.
    #[error("the data folder {path} cannot be used: make it writable or set another `data`")]
    Data {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A database cannot be opened.
    #[error("the database {path} cannot be opened")]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// The PostgreSQL database cannot be used.
    #[error(
        "the database that `database.url` names cannot be used: is it there, does it let this user \
         in, and may the user make tables?"
    )]
    DatabaseUrl(#[source] BoxError),
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: choose another address with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What sets it.
        flag: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// `--dev` is for this machine alone.
    #[error("{0}")]
    Dev(String),
    /// A sealed value of the database cannot be opened with the keyring given.
    #[error("the signing keys cannot be opened: is this the keyring the database was made with?")]
    Keys(#[source] BoxError),
    /// A part of the server cannot be made.
    #[error("the {part} cannot be made")]
    Part {
        /// Which.
        part: &'static str,
        /// Why.
        #[source]
        source: BoxError,
    },
    /// Serving or draining failed.
    #[error("the server did not end well")]
    Serve(#[source] BoxError),
}

/// What an error says, and what lies behind it. A cause that says no more than the one before it is
/// not repeated. It may name files and what they hold, and go to a terminal: but for the ends of its
/// lines, what could drive one is escaped.
#[must_use]
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut told = vec![error.to_string()];
    for cause in std::iter::successors(error.source(), |error| error.source()) {
        let cause = cause.to_string();
        match told.last_mut() {
            Some(last) if last.contains(&cause) => {}
            Some(last) if cause.contains(&*last) => *last = cause,
            _ => told.push(cause),
        }
    }
    let lines = told.join(": ");
    let lines: Vec<_> = lines.split('\n').map(forge_audit::escape).collect();
    lines.join("\n")
}

impl StartError {
    pub(crate) fn part(part: &'static str) -> impl FnOnce(BoxError) -> Self {
        move |source| Self::Part { part, source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Told(&'static str, #[source] Option<Box<Told>>);

    #[test]
    fn what_several_causes_say_is_said_once() {
        let behind = |what, cause| Some(Box::new(Told(what, cause)));
        let code = behind("Error code 26: file is not a database", None);
        let same = behind("file is not a database", code);
        let store = Told("audit store unavailable", same);
        assert_eq!(
            chain(&store),
            "audit store unavailable: Error code 26: file is not a database"
        );
        let refused = behind("connection refused (os error 111)", behind("refused", None));
        assert_eq!(
            chain(&Told("cannot connect", refused)),
            "cannot connect: connection refused (os error 111)"
        );
    }

    #[test]
    fn no_error_drives_a_terminal() {
        let file = Told(
            "a:\n  - \u{1b}[2Jb\r",
            Some(Box::new(Told("\u{202e}c", None))),
        );
        assert_eq!(chain(&file), "a:\n  - \\u{1b}[2Jb\\r: \\u{202e}c");
    }
}
