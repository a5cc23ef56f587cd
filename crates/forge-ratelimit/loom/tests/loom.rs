//! Every order of events of two threads.

use std::sync::Arc;

use forge_ratelimit_loom::{Set, Time};
use loom::thread;

#[test]
fn two_threads_never_take_more_than_there_is() {
    loom::model(|| {
        let set = Set::default();
        let other = set.clone();
        let thread = thread::spawn(move || u64::from(other.take(7, 1)));
        let taken = u64::from(set.take(7, 1)) + thread.join().unwrap();
        assert_eq!(taken, 1);
        assert_eq!(set.taken(7), 1);
    });
}

#[test]
fn no_unit_that_was_taken_is_lost() {
    loom::model(|| {
        let set = Set::default();
        let other = set.clone();
        let thread = thread::spawn(move || other.take(7, 10));
        assert!(set.take(7, 10));
        assert!(thread.join().unwrap());
        assert_eq!(set.taken(7), 2);
    });
}

#[test]
fn two_new_keys_of_one_home_take_two_slots() {
    loom::model(|| {
        let set = Set::default();
        let other = set.clone();
        let thread = thread::spawn(move || other.take(7, 10));
        assert!(set.take(8, 10));
        assert!(thread.join().unwrap());
        assert_eq!((set.taken(7), set.taken(8), set.count()), (1, 1, 2));
    });
}

/// A hash whose home is the other line.
const OTHER_HOME: u64 = 1 << 63 | 8;

#[test]
fn two_keys_that_look_into_each_others_home_do_not_wait_in_a_ring() {
    loom::model(|| {
        let set = Set::default();
        let other = set.clone();
        let thread = thread::spawn(move || other.take(OTHER_HOME, 10));
        assert!(set.take(7, 10));
        assert!(thread.join().unwrap());
        assert_eq!((set.taken(7), set.taken(OTHER_HOME), set.count()), (1, 1, 2));
    });
}

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_clock_set_back_is_made_up_for_once() {
    loom::model(|| {
        let (time, hand) = Time::at(100 * SECOND);
        let time = Arc::new(time);
        assert_eq!(time.now(), 100 * SECOND);
        hand.set(10 * SECOND);
        let other = Arc::clone(&time);
        let thread = thread::spawn(move || other.now());
        assert_eq!(time.now(), 100 * SECOND);
        assert_eq!(thread.join().unwrap(), 100 * SECOND);
        hand.set(11 * SECOND);
        assert_eq!(time.now(), 101 * SECOND);
    });
}

#[test]
fn a_thread_that_is_held_up_does_not_take_time_for_set_back() {
    loom::model(|| {
        let (time, hand) = Time::at(SECOND);
        let time = Arc::new(time);
        let other = Arc::clone(&time);
        let thread = thread::spawn(move || other.now());
        hand.set(5 * SECOND);
        assert_eq!(time.now(), 5 * SECOND);
        let seen = thread.join().unwrap();
        assert!(seen == SECOND || seen == 5 * SECOND, "{seen}");
        // No time was added that did not pass.
        assert_eq!(time.now(), 5 * SECOND);
    });
}
