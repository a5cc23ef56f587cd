//! The real binary: how it starts, what it refuses, how it ends, and what it leaves on disk.

mod audit;
mod commands;
mod configuration;
mod inspect;
mod killed;
mod reload;
mod support;
#[path = "../trial/mod.rs"]
mod trial;
mod trials;
