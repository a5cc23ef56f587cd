//! What every store does, asked of each.

mod appending;
mod finding;
mod forgetting;
#[cfg(feature = "postgres")]
mod postgres_database;
mod proving;
mod support;

use appending::*;
use finding::*;
use forgetting::*;
use proving::*;
use support::*;

macro_rules! suite {
    ($backend:ident, $store:expr, $($behaviour:ident),+ $(,)?) => {
        mod $backend {
            $(#[tokio::test]
            async fn $behaviour() {
                if let Some((store, _guard)) = $store.await {
                    super::$behaviour(store).await;
                }
            })+
        }
    };
    ($backend:ident, $store:expr) => {
        suite!(
            $backend, $store,
            keeps_what_it_is_given,
            appends_only_where_the_log_ends,
            of_two_that_append_at_once_one_wins,
            what_is_given_without_waiting_is_written_in_order,
            finds_by_each_part,
            a_walk_skips_and_repeats_nothing_while_events_arrive,
            a_cursor_of_another_query_is_an_error,
            verifies_as_far_as_it_should_reach,
            proves_that_a_record_is_in_it_and_that_it_only_grew,
            keeps_checkpoints_in_the_order_of_their_size,
            counts_by_the_minute,
            what_is_left_after_pruning_verifies,
            what_is_left_of_an_erased_person_verifies,
            what_is_taken_away_without_a_word_is_found,
        );
    };
}

async fn memory() -> Option<(Store, ())> {
    Some((Arc::new(forge_audit::MemoryAuditStore::new()), ()))
}

suite!(memory, super::memory());

#[cfg(feature = "sqlite")]
async fn sqlite() -> Option<(Store, tempfile::TempDir)> {
    let folder = tempfile::tempdir().unwrap();
    // Small segments, so that much of a log lies in some that are full.
    let store = forge_audit::SqliteAuditStore::builder(folder.path().join("audit.db"))
        .segment(256)
        .open()
        .await
        .unwrap();
    store.migrate().await.unwrap();
    Some((Arc::new(store), folder))
}

#[cfg(feature = "sqlite")]
suite!(sqlite, super::sqlite());

#[cfg(feature = "postgres")]
suite!(postgres, super::postgres_database::store());
