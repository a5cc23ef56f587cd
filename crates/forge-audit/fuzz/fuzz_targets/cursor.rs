//! A cursor as a client sends it.
#![no_main]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use forge_audit::{MemoryAuditStore, Query, QueryError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let store = MemoryAuditStore::new();
    let query = Query::new().actor("7").cursor(text);
    // The store in memory is always ready.
    let answer = pin!(query.run(&store)).poll(&mut Context::from_waker(Waker::noop()));
    match answer {
        Poll::Ready(Ok(page)) => assert!(text.len() == 32 && page.records.is_empty()),
        Poll::Ready(Err(error)) => assert!(matches!(error, QueryError::Cursor)),
        Poll::Pending => panic!("the store waits"),
    }
});
