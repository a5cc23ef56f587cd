//! Debts in Redis or Valkey, shared by all nodes that use the same server and secret.
//!
//! A request is one script, for all its policies together, by the server's own time. Nobody waits
//! longer than the deadline; see [`RedisStore`] for what holds while the server is gone.

mod denied;
mod link;

use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use redis::{Client, Script};
use sha2::Sha256;

use crate::error::{BoxError, StoreError};
use crate::key::{Key, KeyClass};
use crate::quota::Quota;
use crate::store::memory::MemoryStore;
use crate::store::{
    AdjustFuture, Adjustment, Charge, Charges, PolicyId, Store, StoreFailure, Verdict, Verdicts,
};
use denied::Denied;
use link::{Gone, Link, unavailable};

const CHARGE: &str = include_str!("redis/charge.lua");
const ADJUST: &str = include_str!("redis/adjust.lua");
/// Bytes of a keyed hash that name a bucket.
const NAME: usize = 16;
/// The shortest secret.
const MIN_SECRET: usize = 16;

/// Why a [`RedisStore`] cannot be.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RedisStoreError {
    /// The URL is none that the client knows.
    #[error("the URL of the rate limit store cannot be used")]
    Url(#[source] BoxError),
    /// The secret could be guessed.
    #[error("the secret of the rate limit store has fewer than {MIN_SECRET} bytes")]
    Secret,
    /// A namespace of other characters could break out of its place in a key.
    #[error("the namespace is not 1 to 64 of a-z, A-Z, 0-9, `-`, `_`, `.` and `:`")]
    Namespace,
}

/// A [`Store`] on a Redis (6 or later) or Valkey server. Cheap to clone; clones share the
/// connection.
///
/// ```no_run
/// use forge_ratelimit::{RateLimiter, RedisStore, StoreFailure};
///
/// # fn secret() -> [u8; 32] { [7; 32] }
/// let store = RedisStore::builder("redis://127.0.0.1", &secret())
///     .nodes(3.try_into().unwrap())
///     .build()?;
/// let limiter = RateLimiter::builder(store).store_failure(StoreFailure::LocalShare);
/// # Ok::<(), forge_ratelimit::RedisStoreError>(())
/// ```
///
/// - **Connecting** goes on in the background from the first request on, and again whenever the
///   connection is lost; no request waits for it.
/// - **While the server is gone** each policy's [`StoreFailure`] holds. A local share is the quota
///   divided by the [`nodes`](RedisStoreBuilder::nodes), counted in memory.
/// - **Keys** are kept as HMAC-SHA-256 under the secret, which all nodes share.
/// - **Rates** are exact to the microsecond: above a million a second they are a million.
/// - For `rediss://` turn on a TLS feature of the crate `redis` in your own manifest.
#[derive(Clone)]
pub struct RedisStore {
    inner: Arc<Inner>,
}

struct Inner {
    link: Arc<Link>,
    charge: Script,
    adjust: Script,
    mac: Hmac<Sha256>,
    namespace: String,
    nodes: Option<NonZeroU32>,
    local: MemoryStore,
    denied: Denied,
}

/// Builds a [`RedisStore`].
#[must_use]
pub struct RedisStoreBuilder {
    url: String,
    secret: zeroize::Zeroizing<Vec<u8>>,
    namespace: String,
    deadline: Duration,
    nodes: Option<NonZeroU32>,
    local_capacity: usize,
}

impl RedisStoreBuilder {
    /// What the keys begin with, in braces, so that a cluster keeps them together; limiters that
    /// must not share debts need different ones. Default: `forge-ratelimit`.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// The longest that a request waits for a decision. Default: 25 ms.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How many nodes share the server, for [`StoreFailure::LocalShare`]. Default: unknown, and
    /// then there is no local share.
    pub fn nodes(mut self, nodes: NonZeroU32) -> Self {
        self.nodes = Some(nodes);
        self
    }

    /// Keys that are counted in this process while the server is gone. Default: 10,000.
    pub fn local_capacity(mut self, keys: usize) -> Self {
        self.local_capacity = keys;
        self
    }

    /// Makes the store. It connects when it is first asked, or by [`RedisStore::connect`].
    ///
    /// # Errors
    /// An unusable URL or namespace, or a secret that is too short.
    pub fn build(self) -> Result<RedisStore, RedisStoreError> {
        if self.secret.len() < MIN_SECRET {
            return Err(RedisStoreError::Secret);
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.:".contains(&b);
        let namespace = self.namespace.as_bytes();
        if !(1..=64).contains(&namespace.len()) || !namespace.iter().all(|b| plain(*b)) {
            return Err(RedisStoreError::Namespace);
        }
        let client = Client::open(self.url).map_err(|error| RedisStoreError::Url(error.into()))?;
        let mac = Hmac::new_from_slice(&self.secret).map_err(|_| RedisStoreError::Secret)?;
        let (charge, adjust) = (Script::new(CHARGE), Script::new(ADJUST));
        let scripts = vec![Script::new(CHARGE), Script::new(ADJUST)];
        Ok(RedisStore {
            inner: Arc::new(Inner {
                link: Arc::new(Link::new(client, scripts, self.deadline)),
                charge,
                adjust,
                mac,
                namespace: self.namespace,
                nodes: self.nodes,
                local: MemoryStore::new(self.local_capacity),
                denied: Denied::new(),
            }),
        })
    }
}

impl RedisStore {
    /// Starts a store on the server at `url`, `redis://[[user]:password@]host[:port][/database]`.
    /// All nodes must be given the same `secret`, of 16 bytes or more.
    pub fn builder(url: impl Into<String>, secret: &[u8]) -> RedisStoreBuilder {
        RedisStoreBuilder {
            url: url.into(),
            secret: secret.to_vec().into(),
            namespace: "forge-ratelimit".to_owned(),
            deadline: Duration::from_millis(25),
            nodes: None,
            local_capacity: 10_000,
        }
    }

    /// Begins to connect in the background, so that the first request finds a connection.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn connect(&self) {
        self.inner.link.recover();
    }

    /// Whether the server answers, within the deadline: for a health check. It is asked for a
    /// bucket that nobody has, and nothing changes.
    ///
    /// # Errors
    /// Why it does not.
    pub async fn check(&self) -> Result<(), StoreError> {
        let nobody = Key::new(KeyClass::Other("check"), &[]);
        let charge = Charge::new(PolicyId::of("check"), nobody, Quota::WEB);
        self.inner.adjust(&charge, Adjustment::Peek).await.map(drop)
    }
}

impl Inner {
    /// The name of a charge's bucket.
    fn bucket(&self, charge: &Charge) -> String {
        use fmt::Write;
        let mut mac = self.mac.clone();
        mac.update(&charge.policy.as_u64().to_be_bytes());
        charge.key().feed_bytes(&mut |bytes| mac.update(bytes));
        let mut name = String::with_capacity(self.namespace.len() + 2 * NAME + 20);
        let _ = write!(name, "{{{}}}:{:x}:", self.namespace, charge.policy.as_u64());
        for byte in &mac.finalize().into_bytes()[..NAME] {
            let _ = write!(name, "{byte:02x}");
        }
        name
    }

    async fn charge(&self, charges: &[Charge]) -> Result<Verdicts, StoreError> {
        if charges.is_empty() {
            return Ok(Verdicts::new());
        }
        if let Some(verdicts) = self.denied.find(charges, self.link.now()) {
            return Ok(verdicts);
        }
        let mut script = self.charge.prepare_invoke();
        script.arg(self.link.expires());
        for charge in charges {
            script
                .key(self.bucket(charge))
                .arg(interval(&charge.quota))
                .arg(charge.quota.burst().get())
                .arg(charge.weight.get())
                .arg(u8::from(charge.shadow));
        }
        let asked = self
            .link
            .ask(|mut connection| async move { script.invoke_async(&mut connection).await })
            .await;
        match asked.and_then(|answer| verdicts(&answer, charges.len())) {
            Ok(verdicts) => {
                self.denied.note(charges, &verdicts, self.link.now());
                Ok(verdicts)
            }
            Err(error) => self.without_server(charges, error),
        }
    }

    /// What the policies say to a server that is gone.
    fn without_server(
        &self,
        charges: &[Charge],
        error: StoreError,
    ) -> Result<Verdicts, StoreError> {
        let share = |charge: &Charge| charge.on_failure == StoreFailure::LocalShare;
        let mut enforced = charges.iter().filter(|charge| !charge.shadow);
        if !charges.iter().any(share)
            || enforced.any(|charge| charge.on_failure == StoreFailure::Refuse)
        {
            return Err(error);
        }
        let Some(nodes) = self.nodes else {
            return Err(error);
        };
        let mut local = Charges::new();
        for charge in charges.iter().filter(|charge| share(charge)) {
            let Some(quota) = share_of(&charge.quota, nodes) else {
                return Err(error);
            };
            let weight = charge.weight.min(quota.burst());
            local.push(Charge {
                quota,
                weight,
                ..charge.clone()
            });
        }
        let mut counted = Verdicts::new();
        self.local.decide(&local, &mut counted);
        let mut counted = counted.into_iter();
        let uncounted =
            |charge: &Charge| Verdict::new(true, charge.quota.burst().get(), Duration::ZERO);
        let verdict = |charge: &Charge| {
            let verdict = if share(charge) { counted.next() } else { None };
            verdict.unwrap_or_else(|| uncounted(charge))
        };
        Ok(charges.iter().map(verdict).collect())
    }

    async fn adjust(&self, charge: &Charge, adjustment: Adjustment) -> Result<Verdict, StoreError> {
        let (what, block) = match adjustment {
            Adjustment::Peek => ("peek", Duration::ZERO),
            Adjustment::Refund => ("refund", Duration::ZERO),
            Adjustment::Penalize => ("penalize", Duration::ZERO),
            Adjustment::Block(time) => ("block", time.min(super::memory::MAX_BLOCK)),
            Adjustment::Reset => ("reset", Duration::ZERO),
        };
        let mut script = self.adjust.prepare_invoke();
        script
            .key(self.bucket(charge))
            .arg(what)
            .arg(interval(&charge.quota))
            .arg(charge.quota.burst().get())
            .arg(charge.weight.get())
            .arg(u64::try_from(block.as_micros()).unwrap_or(u64::MAX));
        let answer = self
            .link
            .ask(|mut connection| async move { script.invoke_async(&mut connection).await })
            .await?;
        if adjustment != Adjustment::Peek {
            self.denied.forget_all();
            // What was counted here while the server was gone is adjusted alike.
            self.local.adjust_now(charge, adjustment);
        }
        let verdict = verdicts(&answer, 1)?.pop();
        verdict.ok_or_else(|| unavailable(Gone::Late))
    }
}

/// Whole microseconds a unit takes, rounded up so that the rate is never exceeded.
fn interval(quota: &Quota) -> u64 {
    quota.interval_nanos().div_ceil(1000)
}

/// One node's share of a quota.
fn share_of(quota: &Quota, nodes: NonZeroU32) -> Option<Quota> {
    let burst = (quota.burst().get() / nodes.get()).max(1);
    let period = quota.period().checked_mul(nodes.get())?;
    Quota::new(quota.rate().get(), period, burst).ok()
}

/// The verdicts in a script's answer.
fn verdicts(answer: &[i64], count: usize) -> Result<Verdicts, StoreError> {
    let (verdicts, rest) = answer.get(1..).unwrap_or_default().as_chunks::<4>();
    if verdicts.len() != count || !rest.is_empty() {
        return Err(unavailable("the server's answer makes no sense"));
    }
    let verdict = |[allowed, left, wait, blocked]: &[i64; 4]| Verdict {
        allowed: *allowed == 1,
        remaining: u32::try_from((*left).max(0)).unwrap_or(u32::MAX),
        wait: Duration::from_micros(u64::try_from(*wait).unwrap_or(0)),
        blocked: *blocked == 1,
    };
    Ok(verdicts.iter().map(verdict).collect())
}

impl Store for RedisStore {
    type Future = Pin<Box<dyn Future<Output = Result<Verdicts, StoreError>> + Send>>;

    fn charge(&self, charges: &[Charge]) -> Self::Future {
        let (inner, charges) = (Arc::clone(&self.inner), charges.to_vec());
        Box::pin(async move { inner.charge(&charges).await })
    }

    fn adjust(&self, charge: &Charge, adjustment: Adjustment) -> AdjustFuture {
        let (inner, charge) = (Arc::clone(&self.inner), charge.clone());
        Box::pin(async move { inner.adjust(&charge, adjustment).await })
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("namespace", &self.inner.namespace)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("namespace", &self.namespace)
            .field("deadline", &self.deadline)
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}
