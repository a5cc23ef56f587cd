//! A global allocator for tests that counts allocations and looks into the blocks that are freed.
//!
//! ```ignore
//! #[global_allocator]
//! static ALLOCATOR: test_alloc::Watching = test_alloc::Watching;
//!
//! assert_eq!(test_alloc::count(|| vec![0; 10]).0, 1);
//! assert_eq!(test_alloc::freed_with(b"the secret", || drop(vec![1, 2, 3])), 0);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::ptr;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The longest text that can be looked for.
const LONGEST: usize = 64;

/// What is looked for, where it is no heap block itself; nothing while the length is 0.
static NEEDLE: [AtomicU8; LONGEST] = [const { AtomicU8::new(0) }; LONGEST];
static NEEDLE_LEN: AtomicUsize = AtomicUsize::new(0);
static FOUND: AtomicUsize = AtomicUsize::new(0);

/// Bytes in blocks that are not given back, of all threads.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, watched. Growing a block always moves it, so that what it held lies in
/// a freed block as in the worst case.
#[derive(Debug)]
pub struct Watching;

/// How many allocations `work` makes on this thread, and what it returns.
pub fn count<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = ALLOCATIONS.get();
    let done = work();
    (ALLOCATIONS.get() - before, done)
}

/// How many bytes all threads have in use, without what the allocator needs to keep account.
pub fn in_use() -> usize {
    IN_USE.load(Ordering::Relaxed)
}

/// In how many blocks that are freed meanwhile, by any thread, `needle` lies. One call at a time
/// looks; others wait.
///
/// # Panics
/// When the needle is empty or longer than 64 bytes.
pub fn freed_with(needle: &[u8], work: impl FnOnce()) -> usize {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    assert!((1..=LONGEST).contains(&needle.len()), "1 to 64 bytes");
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    for (place, byte) in NEEDLE.iter().zip(needle) {
        place.store(*byte, Ordering::Relaxed);
    }
    FOUND.store(0, Ordering::Relaxed);
    NEEDLE_LEN.store(needle.len(), Ordering::SeqCst);
    work();
    NEEDLE_LEN.store(0, Ordering::SeqCst);
    FOUND.load(Ordering::Relaxed)
}

/// Looks for the needle in a block that is about to be freed.
///
/// # Safety
/// `block` must be a block of `len` bytes.
unsafe fn look(block: *const u8, len: usize) {
    let needle = NEEDLE_LEN.load(Ordering::SeqCst);
    if needle == 0 || len < needle {
        return;
    }
    // Read one by one and volatile, since the block may never have been written in parts: whatever
    // lies there is what is looked at.
    // SAFETY: `at` stays within the block.
    let byte = |at: usize| unsafe { ptr::read_volatile(block.add(at)) };
    let is_here = |start: usize| {
        let matches = |at: usize| byte(start + at) == NEEDLE[at].load(Ordering::Relaxed);
        (0..needle).all(matches)
    };
    if (0..=len - needle).any(is_here) {
        FOUND.fetch_add(1, Ordering::Relaxed);
    }
}

fn count_one(bytes: usize) {
    IN_USE.fetch_add(bytes, Ordering::Relaxed);
    // A thread that is ending has no counter any more.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every block comes from the system's allocator and goes back to it with its own layout.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count_one(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count_one(layout.size());
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller gives back a block of this layout.
        unsafe {
            look(block, layout.size());
            System.dealloc(block, layout);
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the new size is valid with the old alignment, and that
        // the block is of the old layout; the two blocks do not overlap.
        unsafe {
            let new = self.alloc(Layout::from_size_align_unchecked(new_size, layout.align()));
            if !new.is_null() {
                ptr::copy_nonoverlapping(block, new, layout.size().min(new_size));
                self.dealloc(block, layout);
            }
            new
        }
    }
}
