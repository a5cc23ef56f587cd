//! Which database the servers of a test lie in.

use std::cell::{Cell, RefCell};

use test_support::Postgres;

thread_local! {
    static WANTED: Cell<bool> = const { Cell::new(false) };
    static URL: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a test, each server of which gets a PostgreSQL database of its own. Left out where
/// PostgreSQL is not installed.
pub(crate) fn with(test: impl FnOnce()) {
    struct Back;
    impl Drop for Back {
        fn drop(&mut self) {
            WANTED.set(false);
        }
    }
    if test_support::require(Postgres::shared()).is_some() {
        WANTED.set(true);
        let _back = Back;
        test();
    }
}

/// A new database, where PostgreSQL is wanted.
pub(super) fn database() -> Option<String> {
    let url = WANTED.get().then(|| instance().create_database());
    URL.set(url.clone());
    url
}

/// The URL of the database of the server that was started last in this test.
pub(crate) fn url() -> Option<String> {
    URL.with_borrow(Clone::clone)
}

/// What a backup of that database holds.
pub(crate) fn dump() -> Option<String> {
    url().map(|url| instance().dump(&url))
}

fn instance() -> &'static Postgres {
    Postgres::shared().expect("asked for before")
}
