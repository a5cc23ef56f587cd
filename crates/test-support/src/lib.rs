//! What the tests of every crate share: servers on loopback, private PostgreSQL and Redis instances.
//!
//! A test that needs a program which is not installed is left out with a line on the terminal,
//! and fails in CI, where nothing is left out; see [`require`].

mod browser;
mod daemon;
mod grpc;
mod net;
mod postgres;
mod process;
mod redis;
mod smtp;
mod unavailable;

pub use browser::Browser;
pub use grpc::{health_client, health_service};
pub use net::{Server, listener, raw, send, serve};
pub use postgres::Postgres;
pub use process::{Ended, Process};
pub use redis::Redis;
pub use smtp::{Mail, Smtp, SmtpFault, SmtpTls};
pub use unavailable::{Unavailable, find, require};
