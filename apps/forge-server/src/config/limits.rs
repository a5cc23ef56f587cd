//! `limits.*`: how often, and how many at once.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use forge_ratelimit::{Quota, StoreFailure};
use secrecy::SecretString;

use super::{Reader, parse, visible};

/// `limits.*`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the key of its name")]
pub struct Limits {
    pub web: Quota,
    pub mcp: Quota,
    pub admin: Quota,
    pub auth: Quota,
    pub callback: Quota,
    pub anonymous: Quota,
    pub health: Quota,
    pub address: Quota,
    pub network: Quota,
    pub concurrent: NonZeroU32,
    pub capacity: usize,
    pub shared: Option<SharedLimits>,
}

/// `limits.redis*` and `limits.nodes`
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is the key of its name")]
pub struct SharedLimits {
    pub url: SecretString,
    pub secret: SecretString,
    pub nodes: NonZeroU32,
    pub deadline: Duration,
    pub failure: StoreFailure,
}

impl Limits {
    pub(super) fn from_reader(reader: &mut Reader) -> Option<Self> {
        let quotas = [
            "limits.web",
            "limits.mcp",
            "limits.admin",
            "limits.auth",
            "limits.callback",
            "limits.anonymous",
            "limits.health",
            "limits.address",
            "limits.network",
        ]
        .map(|key| reader.one(key, parse::quota));
        let concurrent = reader.one("limits.concurrent", |text| {
            let number = parse::number(1..=1_000_000)(text)?;
            let number = u32::try_from(number).ok().and_then(NonZeroU32::new);
            number.ok_or_else(|| "must be above zero".to_owned())
        });
        let capacity = reader.one("limits.capacity", parse::number(1000..=100_000_000));
        let shared = SharedLimits::from_reader(reader);
        let [
            web,
            mcp,
            admin,
            auth,
            callback,
            anonymous,
            health,
            address,
            network,
        ] = quotas;
        Some(Self {
            web: web?,
            mcp: mcp?,
            admin: admin?,
            auth: auth?,
            callback: callback?,
            anonymous: anonymous?,
            health: health?,
            address: address?,
            network: network?,
            concurrent: concurrent?,
            capacity: capacity?,
            shared,
        })
    }
}

impl SharedLimits {
    pub(super) fn from_reader(reader: &mut Reader) -> Option<Self> {
        let url = reader.one("limits.redis", visible);
        let secret = reader.one("limits.redis_secret", |text| match text.len() {
            16.. => Ok(text.to_owned()),
            _ => Err("is too short to be a secret".to_owned()),
        });
        let nodes = reader.one("limits.nodes", parse::number(1..=10_000));
        let deadline = reader.one("limits.redis_deadline", |text| {
            let duration = parse::duration(text)?;
            let bounds = Duration::from_millis(1)..=Duration::from_secs(10);
            let within = bounds.contains(&duration).then_some(duration);
            within.ok_or_else(|| "must be from 1ms to 10s".to_owned())
        });
        let failure = reader.one("limits.redis_failure", |text| match text {
            "share" => Ok(StoreFailure::LocalShare),
            "refuse" => Ok(StoreFailure::Refuse),
            "admit" => Ok(StoreFailure::Admit),
            _ => Err("must be share, refuse or admit".to_owned()),
        });
        if url.is_some() && secret.is_none() {
            let fix = "set limits.redis_secret, to the same on every node";
            reader.refuse("limits.redis", "is set without its secret", fix);
        }
        Some(Self {
            url: url?.into(),
            secret: secret?.into(),
            nodes: u32::try_from(nodes?).ok().and_then(NonZeroU32::new)?,
            deadline: deadline?,
            failure: failure?,
        })
    }
}

impl fmt::Debug for SharedLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLimits")
            .field("nodes", &self.nodes)
            .finish_non_exhaustive()
    }
}
