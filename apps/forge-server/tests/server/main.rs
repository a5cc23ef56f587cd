//! The server as it is run: over a real socket, with a stand-in for GitHub beside it.

mod accounts;
mod audit;
mod bans;
mod callbacks;
mod config;
mod connections;
mod device;
mod documentation;
mod health;
mod inspection;
mod limits;
mod mcp;
mod me;
mod organisations;
mod postgres;
mod proxies;
mod reports;
mod requests;
mod responses;
mod secrets;
mod sessions;
mod shared_limits;
mod shutdown;
mod sign_in;
mod step_up;
mod support;
