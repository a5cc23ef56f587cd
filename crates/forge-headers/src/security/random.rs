//! Random bytes without a system call for each: a generator for each thread, keyed by the
//! operating system.

use std::cell::RefCell;

use chacha20::ChaCha20Rng;
use chacha20::rand_core::{Rng, SeedableRng};

/// How many bytes a thread takes from one key: 4096 nonces.
const RESEED_AFTER: usize = 64 * 1024;

struct Generator {
    rng: ChaCha20Rng,
    left: usize,
}

thread_local! {
    static GENERATOR: RefCell<Option<Generator>> = const { RefCell::new(None) };
}

/// Fills `bytes` from ChaCha20, whose key comes from the operating system at the thread's first
/// use and again after every 64 KiB.
///
/// # Errors
/// The operating system gives no key when one is due. The old one is not stretched.
pub(crate) fn fill(bytes: &mut [u8; 16]) -> Result<(), getrandom::Error> {
    GENERATOR.with_borrow_mut(|slot| {
        let generator = match slot {
            Some(generator) if generator.left >= bytes.len() => generator,
            _ => {
                *slot = None;
                slot.insert(Generator::from_system()?)
            }
        };
        generator.left -= bytes.len();
        generator.rng.fill_bytes(bytes);
        Ok(())
    })
}

impl Generator {
    fn from_system() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            rng: ChaCha20Rng::from_seed(key),
            left: RESEED_AFTER,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn never_repeats_across_threads_and_keys() {
        let draw = || {
            (0..RESEED_AFTER / 16 + 10)
                .map(|_| {
                    let mut bytes = [0; 16];
                    fill(&mut bytes).unwrap();
                    bytes
                })
                .collect::<Vec<_>>()
        };
        let other = std::thread::spawn(draw);
        let mut seen: HashSet<_> = draw().into_iter().collect();
        seen.extend(other.join().unwrap());
        assert_eq!(seen.len(), 2 * (RESEED_AFTER / 16 + 10));
    }

    #[test]
    fn asks_the_operating_system_again_after_64_kib() {
        let left = || GENERATOR.with_borrow(|slot| slot.as_ref().map(|g| g.left));
        let mut bytes = [0; 16];
        fill(&mut bytes).unwrap();
        assert_eq!(left(), Some(RESEED_AFTER - 16));
        for _ in 0..RESEED_AFTER / 16 - 1 {
            fill(&mut bytes).unwrap();
        }
        assert_eq!(left(), Some(0));
        fill(&mut bytes).unwrap();
        assert_eq!(left(), Some(RESEED_AFTER - 16));
    }
}
