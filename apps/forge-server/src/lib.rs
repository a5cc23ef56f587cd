//! The `forge` server: six crates, composed.
//!
//! It reads from the outside in: `forge.rs` builds and serves, `stack.rs` is the list of layers
//! that a request passes, `wiring.rs` is what each crate's events mean to the others, `routes/`
//! is what is behind the layers.

mod accounts;
mod activity;
mod alerts;
mod app;
mod audit;
mod audit_command;
mod blocks;
mod checkpoint_post;
mod class;
pub mod cli;
mod clock;
pub mod config;
mod database;
mod detach;
#[cfg(feature = "dev")]
pub mod dev;
mod device;
mod error;
mod forge;
mod github;
mod inspect;
mod keys;
mod limits;
mod log;
mod login;
mod membership;
mod monitoring;
mod pages;
mod present;
mod principal;
mod problem;
mod proxies;
mod refusals;
pub mod reload;
mod replay;
mod request_id;
mod routes;
mod server;
mod shared_audit;
mod shutdown;
mod sign_in;
mod signing_keys;
mod stack;
mod stores;
mod streams;
#[cfg(test)]
mod testing;
mod wiring;

pub use accounts::{Account, AccountError, Accounts, Allowed, Member, Membership, Role};
pub use alerts::{
    dead as list_dead_alerts, list as list_alerts, retry as retry_alerts,
    silence as silence_alerts, test as test_alerts, unsilence as unsilence_alerts,
};
pub use app::App;
pub use blocks::{lift as lift_blocks, list as list_blocks};
pub use clock::Clock;
pub use config::Config;
pub use database::{Database, Pool};
pub use device::{DeviceError, DeviceLogins};
pub use error::{StartError, chain};
pub use forge::Forge;
pub use github::{DeviceStart, Github, GithubError, GithubToken, GithubUser, OauthErrorCode};
pub use inspect::{Inspect, InspectError};
pub use keys::{DEVICE_CODE, GITHUB_TOKEN, SIGNING_KEY};
pub use log::init as init_log;
pub use login::{Login, LoginError};
pub use membership::recheck as recheck_memberships;
pub use monitoring::never_block;
pub use replay::replay;
pub use server::listen;
pub use shutdown::signal as shutdown_signal;
pub use sign_in::{SignInCookie, SignIns};
pub use stores::open_monitor_store;
pub use wiring::Wiring;
