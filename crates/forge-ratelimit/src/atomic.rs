//! What the lock-free parts are made of. The crate in `loom/` compiles them with its own.

pub(crate) use std::hint::spin_loop;
pub(crate) use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
pub(crate) use std::thread::yield_now;
