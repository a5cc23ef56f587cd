//! `audit.*`: how long events are kept, and who watches over them.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::{Reader, parse};

/// `audit.*`
#[derive(Clone)]
#[expect(missing_docs, reason = "each field is the key of its name")]
pub struct AuditConfig {
    /// `audit.keep.*`, from low to critical; `None` is for ever.
    pub keep: [Option<Duration>; 4],
    pub hold: Vec<u64>,
    pub segment: u64,
    pub key: Option<SecretString>,
    pub checkpoint_file: Option<PathBuf>,
    pub checkpoint_url: Option<Url>,
    pub low_water: u64,
    pub ballast: u64,
}

impl AuditConfig {
    pub(super) fn from_reader(reader: &mut Reader) -> Option<Self> {
        let keep = [
            "audit.keep.low",
            "audit.keep.medium",
            "audit.keep.high",
            "audit.keep.critical",
        ]
        .map(|key| reader.one(key, time));
        let hold = reader.one("audit.hold", parse::list(account));
        let segment = reader.one("audit.segment", parse::number(256..=16_777_216));
        let key = reader.one("audit.key", |text| match secret(text) {
            Some(_) => Ok(SecretString::from(text)),
            None => Err("is not 64 hexadecimal digits".to_owned()),
        });
        let checkpoint_file = reader.one("audit.checkpoint_file", |text| match text {
            "" => Err("must name a file".to_owned()),
            text => Ok(PathBuf::from(text)),
        });
        let checkpoint_url = reader.one("audit.checkpoint_url", parse::endpoint);
        let [low_water, ballast] = ["audit.low_water", "audit.ballast"]
            .map(|key| reader.one(key, parse::number(0..=1 << 60)));
        let [low, medium, high, critical] = keep;
        Some(Self {
            keep: [low?, medium?, high?, critical?],
            hold: hold.unwrap_or_default(),
            segment: segment? as u64,
            key,
            checkpoint_file,
            checkpoint_url,
            low_water: low_water? as u64,
            ballast: ballast? as u64,
        })
    }
}

impl fmt::Debug for AuditConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditConfig")
            .field("keep", &self.keep)
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}

/// `400d`, or `forever`.
pub(crate) fn time(text: &str) -> Result<Option<Duration>, String> {
    if text == "forever" {
        return Ok(None);
    }
    let time = humantime::parse_duration(text).ok();
    let time = time.filter(|time| !time.is_zero());
    match time {
        Some(time) => Ok(Some(time)),
        None => Err("is not a duration: write it as `400d`, or `forever`".to_owned()),
    }
}

fn account(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| "holds something that is no account's numeric id".to_owned())
}

/// The 32 bytes of a key in hexadecimal digits.
pub(crate) fn secret(text: &str) -> Option<[u8; 32]> {
    let digits = text.trim().as_bytes();
    if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let mut secret = [0; 32];
    for (byte, pair) in secret.iter_mut().zip(digits.as_chunks::<2>().0) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_times_and_keys() {
        assert_eq!(time("forever"), Ok(None));
        assert_eq!(time("2years").map(|time| time.is_some()), Ok(true));
        for bad in ["", "0s", "400", "never"] {
            time(bad).unwrap_err();
        }
        let digits = "00ff".repeat(16);
        assert_eq!(secret(&digits).unwrap()[..2], [0, 255]);
        for bad in ["", "00", &"+1".repeat(32), &"é".repeat(32)] {
            assert_eq!(secret(bad), None);
        }
    }
}
