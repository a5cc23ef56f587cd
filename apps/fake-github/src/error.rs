//! What can go wrong.

use std::{io, net::SocketAddr};

/// Why a stand-in could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No client was given, so nobody could sign in to anything.
    #[error("no client is registered")]
    NoClient,
    /// Two clients have the same id.
    #[error("two clients have the same id")]
    DuplicateClient,
    /// Two accounts have the same id or login.
    #[error("two accounts have the same id or login")]
    DuplicateAccount,
    /// A callback URL is not `http` or `https` with a host, or has a fragment or credentials.
    #[error(
        "a callback URL must be http or https, with a host, without fragment and without credentials"
    )]
    CallbackUrl,
}

/// Why a stand-in could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is not loopback.
    #[error("the GitHub stand-in listens on loopback only, {0} is not loopback")]
    NotLoopback(SocketAddr),
    /// The address could not be bound.
    #[error("cannot listen on {addr}")]
    Bind {
        /// The address asked for.
        addr: SocketAddr,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
}

/// Why a [`Control`](crate::Control) call was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlError {
    /// No account has this id.
    #[error("no account has this id")]
    UnknownAccount,
    /// Another account has this login now.
    #[error("another account has this login")]
    LoginTaken,
    /// A login is 1 to 39 letters, digits and hyphens.
    #[error("a login is 1 to 39 letters, digits and hyphens")]
    InvalidLogin,
}
