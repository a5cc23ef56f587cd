//! Argon2id (RFC 9106) with its parameters as text: `$argon2id$v=19$m=19456,t=2,p=1$salt$hash`.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD;

pub(crate) const SALT_LEN: usize = 16;
pub(crate) const HASH_LEN: usize = 32;
const MAX_TEXT: usize = 256;

/// How much work a hash is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

/// A text taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text {
    pub(crate) cost: Cost,
    pub(crate) salt: Vec<u8>,
    /// Empty where the text ends with the salt.
    pub(crate) hash: Vec<u8>,
}

impl Cost {
    /// Refuses what would take the machine down, from wherever it was read: above 256 MiB, or
    /// above 1 GiB that is gone through once.
    pub(crate) fn is_bearable(self) -> bool {
        (8..=256 * 1024).contains(&self.memory_kib)
            && (1..=16).contains(&self.lanes)
            && self.memory_kib >= 8 * self.lanes
            && self.passes >= 1
            && u64::from(self.memory_kib) * u64::from(self.passes) <= 1024 * 1024
    }

    /// The hash, of `out`'s length; `None` when the memory is not to be had.
    pub(crate) fn hash(self, secret: &[u8], salt: &[u8], out: &mut [u8]) -> Option<()> {
        let params = Params::new(self.memory_kib, self.passes, self.lanes, Some(out.len())).ok()?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into(secret, salt, out)
            .ok()
    }
}

impl Text {
    /// Reads exactly what [`write`](Self::write) writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let mut parts = text.strip_prefix("$argon2id$v=19$")?.split('$');
        let mut costs = parts.next()?.split(',');
        let mut cost = |name: &str| {
            let number = costs.next()?.strip_prefix(name)?;
            let digits = number.bytes().all(|byte| byte.is_ascii_digit());
            let plain = digits && (number == "0" || !number.starts_with('0'));
            plain.then(|| number.parse().ok())?
        };
        let (memory_kib, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
        let mut decode = || match parts.next() {
            None => Some(Vec::new()),
            Some(bytes) => BASE64_STANDARD_NO_PAD.decode(bytes).ok(),
        };
        let (salt, hash) = (decode()?, decode()?);
        if costs.next().is_some() || parts.next().is_some() || !(8..=64).contains(&salt.len()) {
            return None;
        }
        Some(Self {
            cost: Cost {
                memory_kib,
                passes,
                lanes,
            },
            salt,
            hash,
        })
    }

    pub(crate) fn write(&self) -> String {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let salt = BASE64_STANDARD_NO_PAD.encode(&self.salt);
        let mut text = format!("$argon2id$v=19$m={memory_kib},t={passes},p={lanes}${salt}");
        if !self.hash.is_empty() {
            text.push('$');
            text.push_str(&BASE64_STANDARD_NO_PAD.encode(&self.hash));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers of the reference implementation (`phc-winner-argon2`, `src/test.c`).
    #[test]
    fn agrees_with_the_reference_implementation() {
        for text in [
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc",
        ] {
            let parsed = Text::parse(text).unwrap();
            assert_eq!(parsed.write(), text);
            let mut out = [0; HASH_LEN];
            parsed
                .cost
                .hash(b"password", &parsed.salt, &mut out)
                .unwrap();
            assert_eq!(out[..], parsed.hash, "{text}");
        }
    }

    #[test]
    fn refuses_every_other_text() {
        let good =
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        for (from, to) in [
            ("argon2id", "argon2i"),
            ("v=19", "v=16"),
            ("$v=19", ""),
            ("m=256,t=2", "t=2,m=256"),
            ("m=256", "m=0256"),
            ("m=256", "m=+256"),
            ("m=256", "m=4294967296"),
            ("p=1", "p=1,x=1"),
            ("c29tZXNhbHQ", "c29tZXNhbHQ="),
            ("c29tZXNhbHQ", "c2Fs"),
            ("$nf65", "$$nf65"),
            ("nf65", "nf6*"),
        ] {
            let text = good.replacen(from, to, 1);
            assert_eq!(Text::parse(&text), None, "{text}");
        }
        assert_eq!(Text::parse(&format!("{good}{}", "A".repeat(256))), None);
    }

    #[test]
    fn what_is_read_cannot_take_the_machine_down() {
        let bearable = |memory_kib, passes, lanes| {
            let cost = Cost {
                memory_kib,
                passes,
                lanes,
            };
            cost.is_bearable()
        };
        assert!(bearable(19 * 1024, 2, 1) && bearable(256 * 1024, 4, 4) && bearable(8, 1, 1));
        for (memory_kib, passes, lanes) in [
            (256 * 1024 + 1, 1, 1),
            (256 * 1024, 5, 1),
            (u32::MAX, u32::MAX, u32::MAX),
            (1024, 1025, 1),
            (1024, 0, 1),
            (1024, 1, 0),
            (1024, 1, 17),
            (15, 1, 2),
            (7, 1, 1),
        ] {
            assert!(
                !bearable(memory_kib, passes, lanes),
                "{memory_kib} {passes} {lanes}"
            );
        }
    }
}
