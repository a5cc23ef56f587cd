//! `sessions.*`: how many, and for how long.

use std::num::NonZeroU32;
use std::time::Duration;

use super::{Reader, parse};

/// `sessions.*`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the key of its name")]
pub struct SessionsConfig {
    pub web: KindConfig,
    pub mcp: KindConfig,
    pub access_token: Duration,
}

/// `sessions.web.*` and `sessions.mcp.*`
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the key of its name")]
pub struct KindConfig {
    pub max: NonZeroU32,
    pub idle: Duration,
    pub absolute: Duration,
}

impl SessionsConfig {
    pub(super) fn from_reader(reader: &mut Reader) -> Option<Self> {
        let web = KindConfig::from_reader(
            reader,
            [
                "sessions.web.max",
                "sessions.web.idle",
                "sessions.web.absolute",
            ],
        );
        let mcp = KindConfig::from_reader(
            reader,
            [
                "sessions.mcp.max",
                "sessions.mcp.idle",
                "sessions.mcp.absolute",
            ],
        );
        let access_token = reader.one("sessions.access_token", |text| {
            let duration = parse::duration(text)?;
            let bounds = Duration::from_secs(60)..=Duration::from_secs(3600);
            let within = bounds.contains(&duration).then_some(duration);
            within.ok_or_else(|| "must be from one minute to one hour".to_owned())
        });
        Some(Self {
            web: web?,
            mcp: mcp?,
            access_token: access_token?,
        })
    }
}

impl KindConfig {
    pub(super) fn from_reader(
        reader: &mut Reader,
        [max, idle, absolute]: [&'static str; 3],
    ) -> Option<Self> {
        let max = reader.one(max, |text| {
            let max = parse::number(1..=1000)(text)?;
            let max = u32::try_from(max).ok().and_then(NonZeroU32::new);
            max.ok_or_else(|| "must be above zero".to_owned())
        });
        let idle_time = reader.one(idle, |text| {
            let duration = parse::duration(text)?;
            let enough = (duration >= Duration::from_secs(60)).then_some(duration);
            enough.ok_or_else(|| "must be at least one minute".to_owned())
        });
        let absolute = reader.one(absolute, parse::duration);
        let (idle_time, absolute) = (idle_time?, absolute?);
        if idle_time > absolute {
            let fix = "make it at most the absolute time";
            reader.refuse(idle, "is longer than the session may live", fix);
        }
        Some(Self {
            max: max?,
            idle: idle_time,
            absolute,
        })
    }
}
