//! One suite for every store: what [`SessionStore`](forge_session::SessionStore) promises.

mod creation;
mod ending;
mod keeping;
#[cfg(feature = "postgres")]
mod postgres_database;
mod rotation;
#[cfg(feature = "sqlite")]
mod sqlite_database;
mod support;

use creation::*;
use ending::*;
use keeping::*;
use rotation::*;
use support::*;

macro_rules! suite {
    ($($name:ident)*) => {
        mod memory {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                super::$name(Arc::new(MemorySessionStore::new())).await;
            })*
        }

        #[cfg(feature = "postgres")]
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                if let Some(store) = crate::postgres_database::store().await {
                    super::$name(Arc::new(store)).await;
                }
            })*
        }

        #[cfg(feature = "sqlite")]
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
            async fn $name() {
                let database = crate::sqlite_database::Database::new().await;
                super::$name(Arc::new(database.store.clone())).await;
            })*
        }
    };
}

suite! {
    finds_exactly_what_was_stored
    evicts_the_oldest_of_the_same_user_and_kind
    evicts_the_same_client_first
    does_not_count_what_is_over
    leaves_three_of_fifty_made_at_once
    an_evicted_session_is_not_the_new_one
    rotates_once_for_each_expected_secret
    one_of_many_rotations_at_once_wins
    touches_forward_only_and_within_the_absolute_limit
    nothing_brings_back_what_is_over
    revokes_exactly_what_is_selected
    lists_the_live_the_newest_first
    sweeps_what_is_over_and_nothing_else
    everybody_ends_with_one_step_and_who_comes_after_stays
    counts_the_live_by_kind
    two_sessions_cannot_share_a_family
    batches_from_two_sides_do_not_wait_for_each_other
}
