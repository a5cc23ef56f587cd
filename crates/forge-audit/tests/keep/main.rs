//! What leaves the log, and what comes into it by another way.
#![cfg(all(feature = "checkpoint", feature = "sqlite"))]

mod archives;
mod checkpoints;
mod erasing;
mod following;
mod growing;
mod incoming;
mod searching;
mod segments;
mod support;
