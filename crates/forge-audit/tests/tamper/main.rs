//! Whoever owns the database file and changes it is found, with the place.
#![cfg(feature = "sqlite")]

mod bytes;
mod records;
mod segments;
mod support;
mod whole;
