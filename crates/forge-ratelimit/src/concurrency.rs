//! How many requests of one key may be under way at once.
//!
//! A permit is held from the call until the response's **body** has ended or is dropped: a stream
//! counts for as long as it lasts, which a rate at its opening does not see.

mod body;
mod future;
mod layer;
mod service;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::request::Parts;

use crate::error::BuildError;
use crate::key::{Key, KeyClass, KeyExtractor};
use crate::on_concurrency::OnConcurrency;
use crate::policy::{Condition, MissingKey, check_name};

pub use body::ConcurrencyBody;
pub use future::ConcurrencyFuture;
pub use layer::ConcurrencyLayer;
pub use service::ConcurrencyLimit;

/// Parts of the table that are locked by themselves.
const SHARDS: usize = 16;

/// So many requests of one key at once. Cheap to clone; clones share the count.
///
/// ```
/// use std::num::NonZeroU32;
///
/// use forge_ratelimit::{Concurrency, ConcurrencyLayer, PeerAddress};
///
/// let four = NonZeroU32::new(4).unwrap();
/// let layer = ConcurrencyLayer::new(Concurrency::new("streams", four, PeerAddress)?);
/// # Ok::<(), forge_ratelimit::BuildError>(())
/// ```
///
/// Memory is bounded by the requests that are under way: a key without any is not kept.
#[derive(Clone)]
#[must_use]
pub struct Concurrency {
    pub(crate) name: Arc<str>,
    key: Arc<dyn KeyExtractor>,
    when: Option<Arc<dyn Condition>>,
    missing_key: MissingKey,
    pub(crate) announced: bool,
    held: Arc<Held>,
}

struct Held {
    /// Never zero.
    max: AtomicU32,
    /// By the keyed hash of the key: none is kept in clear.
    shards: [Mutex<HashMap<u64, u32>>; SHARDS],
}

/// The right of one request to be under way; dropping it gives it back.
pub(crate) struct Permit {
    held: Arc<Held>,
    hash: u64,
    /// Who is told when it is given back, and under which name.
    told: Option<(Arc<dyn OnConcurrency>, Arc<str>)>,
}

/// What a limit says to a request.
pub(crate) enum Admission {
    /// It does not apply.
    Uncounted,
    Granted {
        permit: Permit,
        class: KeyClass,
        under_way: u32,
    },
    Full {
        class: KeyClass,
        under_way: u32,
    },
    Unidentified,
}

impl Concurrency {
    /// At most `max` requests of one key at once, under a name of 1 to 32 of `a-z`, `0-9`, `-` and
    /// `_`, beginning with a letter; clients read it.
    ///
    /// # Errors
    /// Another name.
    pub fn new(
        name: impl Into<Arc<str>>,
        max: NonZeroU32,
        key: impl KeyExtractor,
    ) -> Result<Self, BuildError> {
        let name = name.into();
        check_name(&name)?;
        Ok(Self {
            name,
            key: Arc::new(key),
            when: None,
            missing_key: MissingKey::default(),
            announced: true,
            held: Arc::new(Held {
                max: AtomicU32::new(max.get()),
                shards: Default::default(),
            }),
        })
    }

    /// Applies the limit only where the condition holds. Default: everywhere.
    pub fn when(mut self, condition: impl Condition) -> Self {
        self.when = Some(Arc::new(condition));
        self
    }

    /// What becomes of a request whose key cannot be read. Default: it is refused.
    pub fn missing_key(mut self, missing_key: MissingKey) -> Self {
        self.missing_key = missing_key;
        self
    }

    /// Whether responses tell the client of the limit. Default: true. A refusal always does.
    pub fn announced(mut self, announced: bool) -> Self {
        self.announced = announced;
        self
    }

    /// How many requests of `key` are under way.
    #[must_use]
    pub fn under_way(&self, key: &Key) -> u32 {
        let hash = key.hash();
        self.held.shard(hash).get(&hash).copied().unwrap_or(0)
    }

    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many there may be of one key.
    #[must_use]
    pub fn max(&self) -> u32 {
        self.held.max.load(Ordering::Relaxed)
    }

    /// Changes how many there may be of one key, for this and all clones, from the next request
    /// on. Who has more under way keeps them, and gets no further one until they are fewer.
    pub fn set_max(&self, max: NonZeroU32) {
        self.held.max.store(max.get(), Ordering::Relaxed);
    }

    pub(crate) fn admit(&self, parts: &Parts) -> Admission {
        if self.when.as_ref().is_some_and(|when| !when.applies(parts)) {
            return Admission::Uncounted;
        }
        match (self.key.key(parts), self.missing_key) {
            (Some(key), _) => self.held.take(&key, self.max()),
            (None, MissingKey::Skip) => Admission::Uncounted,
            (None, MissingKey::Refuse) => Admission::Unidentified,
        }
    }
}

impl Held {
    fn shard(&self, hash: u64) -> MutexGuard<'_, HashMap<u64, u32>> {
        let shard = &self.shards[(hash % SHARDS as u64) as usize];
        // Nothing that can panic runs under the lock.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, key: &Key, max: u32) -> Admission {
        let (hash, class) = (key.hash(), key.class());
        let mut shard = self.shard(hash);
        let count = shard.entry(hash).or_insert(0);
        if *count >= max {
            let under_way = *count;
            return Admission::Full { class, under_way };
        }
        *count += 1;
        let under_way = *count;
        let permit = Permit {
            held: Arc::clone(self),
            hash,
            told: None,
        };
        Admission::Granted {
            permit,
            class,
            under_way,
        }
    }
}

impl Permit {
    /// Who is told when it is given back.
    pub(crate) fn tell(mut self, observer: Arc<dyn OnConcurrency>, name: Arc<str>) -> Self {
        self.told = Some((observer, name));
        self
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.held.shard(self.hash).entry(self.hash) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
        if let Some((observer, name)) = self.told.take() {
            observer.on_end(&name);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").finish_non_exhaustive()
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").finish_non_exhaustive()
    }
}

impl fmt::Debug for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concurrency")
            .field("name", &self.name)
            .field("max", &self.max())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn gives_so_many_permits_and_keeps_no_key_without_any() {
        let two = NonZeroU32::new(2).unwrap();
        let limit = Concurrency::new("streams", two, |_: &Parts| Some(Key::global())).unwrap();
        let parts = Request::new(()).into_parts().0;
        let (first, second) = (limit.admit(&parts), limit.admit(&parts));
        let granted = |of: &Admission| match of {
            Admission::Granted { under_way, .. } => Some(*under_way),
            _ => None,
        };
        assert_eq!((granted(&first), granted(&second)), (Some(1), Some(2)));
        let full = limit.admit(&parts);
        assert!(matches!(full, Admission::Full { under_way: 2, .. }));
        drop(first);
        assert_eq!(granted(&limit.admit(&parts)), Some(2));
        limit.set_max(NonZeroU32::MIN);
        assert_eq!(granted(&limit.admit(&parts)), None);
        drop(second);
        assert_eq!(limit.under_way(&Key::global()), 0);
        assert!(
            limit
                .held
                .shards
                .iter()
                .all(|shard| shard.lock().unwrap().is_empty())
        );
    }

    #[test]
    fn refuses_a_name_that_clients_could_not_read() {
        let refused = Concurrency::new("a\"b", NonZeroU32::MIN, |_: &Parts| None);
        assert_eq!(refused.unwrap_err(), BuildError::PolicyName("a\"b".into()));
    }
}
