//! The structured header fields `RateLimit-Policy` and `RateLimit` of
//! draft-ietf-httpapi-ratelimit-headers, and the older `X-RateLimit-*`.
//!
//! Held against revision 11 of 23 May 2026, whose fields are those since revision 8: an item is a
//! String; `q` and a `w` above zero, in whole seconds, announce; `r` and `t` tell. A refusal tells
//! `t` of the policies that refuse and of no other, so that `Retry-After` is never before the end
//! of an effective window (section 6). There is no partition key (`pk`): it would tell a client
//! how others are told apart, and each request's is plain to whoever sends it.

use arrayvec::ArrayVec;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::MAX_POLICIES;
use crate::decision::PolicyVerdict;
use crate::gcra::seconds_up;
use crate::limiter::Rules;
use crate::quota::Quota;

const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const X_LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const X_REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const X_RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");

const _: () = assert!(MAX_POLICIES <= 8, "a set of them is the bits of a byte");

/// An item is at most a name of 32, its quotes, three parameters of up to 20 digits, and `, `.
const LIST: usize = MAX_POLICIES * 112;

/// The fields of one response, written when the decision is there.
#[derive(Debug)]
pub(crate) struct Fields {
    policy: HeaderValue,
    limit: HeaderValue,
    // Boxed: few want it, and it would triple the size of every response to come.
    legacy: Option<Box<[HeaderValue; 3]>>,
}

impl Fields {
    /// What a response to a request with these verdicts says: of the policies that announce
    /// themselves or refused.
    pub(crate) fn of(rules: &Rules, verdicts: &[PolicyVerdict]) -> Option<Self> {
        // The policies to tell of, as bits of their places among the verdicts.
        let mut told = 0u8;
        for (at, of) in verdicts.iter().enumerate() {
            let announced = !of.verdict.allowed || rules.policy(of.index).announced;
            told |= u8::from(announced && !of.shadow) << at;
        }
        let told = Told {
            verdicts,
            bits: told,
        };
        let first = told.iter().next()?;
        let policy = rules.announcement(&told).cloned();
        let policy = policy.unwrap_or_else(|| announcement(&told));
        let refused = verdicts.iter().any(|of| !of.verdict.allowed && !of.shadow);
        let limit = list(&told, |of, text| {
            text.push(rules.head(of.index));
            text.number(of.verdict.remaining.into());
            if !(refused && of.verdict.allowed) {
                text.parameter(b";t=", seconds_up(of.verdict.wait));
            }
        });
        let legacy = rules.legacy_fields.then(|| {
            // Who refuses, then who has the least left.
            let rank = |of: &&PolicyVerdict| (of.verdict.allowed, of.verdict.remaining);
            let of = told.iter().min_by_key(rank).unwrap_or(first);
            Box::new([
                HeaderValue::from(of.quota.rate().get()),
                HeaderValue::from(of.verdict.remaining),
                HeaderValue::from(seconds_up(of.verdict.wait)),
            ])
        });
        Some(Self {
            policy,
            limit,
            legacy,
        })
    }

    /// Adds them. A handler's own fields stay: both are lists.
    pub(crate) fn append_to(self, headers: &mut HeaderMap) {
        headers.append(RATELIMIT_POLICY, self.policy);
        headers.append(RATELIMIT, self.limit);
        if let Some(legacy) = self.legacy {
            let [limit, remaining, reset] = *legacy;
            headers.insert(X_LIMIT, limit);
            headers.insert(X_REMAINING, remaining);
            headers.insert(X_RESET, reset);
        }
    }
}

/// `"web";r=`: what an item of the field `RateLimit` begins with. `"web";r=9;t=1` is nine units
/// left; in one second there is one more, or, where none was left for this request, enough for it.
pub(crate) fn head(name: &str) -> Box<[u8]> {
    ["\"", name, "\";r="].concat().into_bytes().into()
}

/// `"web";q=60;w=60`: sixty units a window of sixty seconds.
pub(crate) fn announcement(told: &Told<'_>) -> HeaderValue {
    list(told, |of, text| text.announce(&of.policy, &of.quota))
}

/// `"streams";q=4;qu="concurrent-requests"` and `"streams";r=3`: four at a time, three more now.
pub(crate) fn concurrency(name: &str, max: u32, free: u32) -> (HeaderValue, HeaderValue) {
    let (mut policy, mut limit) = (Text::default(), Text::default());
    policy.name(name);
    policy.parameter(b";q=", max.into());
    policy.push(br#";qu="concurrent-requests""#);
    limit.name(name);
    limit.parameter(b";r=", free.into());
    (policy.into_value(), limit.into_value())
}

pub(crate) fn append_concurrency(
    headers: &mut HeaderMap,
    (policy, limit): (HeaderValue, HeaderValue),
) {
    headers.append(RATELIMIT_POLICY, policy);
    headers.append(RATELIMIT, limit);
}

/// Some of the verdicts.
pub(crate) struct Told<'a> {
    verdicts: &'a [PolicyVerdict],
    bits: u8,
}

impl<'a> Told<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a PolicyVerdict> + use<'a> {
        let bits = self.bits;
        let verdicts = self.verdicts.iter().enumerate();
        verdicts.filter_map(move |(at, of)| (bits & (1 << at) != 0).then_some(of))
    }
}

fn list(told: &Told<'_>, write: impl Fn(&PolicyVerdict, &mut Text)) -> HeaderValue {
    let mut text = Text::default();
    for of in told.iter() {
        if !text.0.is_empty() {
            text.push(b", ");
        }
        write(of, &mut text);
    }
    text.into_value()
}

/// A field value in the making: on the stack, so that the value is its only allocation.
#[derive(Default)]
struct Text(ArrayVec<u8, LIST>);

impl Text {
    fn announce(&mut self, name: &str, quota: &Quota) {
        self.name(name);
        self.parameter(b";q=", quota.rate().get().into());
        self.parameter(b";w=", seconds_up(quota.period()));
    }

    fn name(&mut self, name: &str) {
        self.push(b"\"");
        self.push(name.as_bytes());
        self.push(b"\"");
    }

    fn parameter(&mut self, name: &[u8], number: u64) {
        self.push(name);
        self.number(number);
    }

    fn number(&mut self, mut number: u64) {
        let (mut digits, mut at) = ([b'0'; 20], 19);
        while number > 9 {
            digits[at] = b'0' + (number % 10) as u8;
            number /= 10;
            at -= 1;
        }
        digits[at] = b'0' + number as u8;
        self.push(&digits[at..]);
    }

    fn push(&mut self, bytes: &[u8]) {
        self.0
            .try_extend_from_slice(bytes)
            .expect("a list of policies has a longest form");
    }

    fn into_value(self) -> HeaderValue {
        HeaderValue::from_bytes(&self.0).expect("a policy's name is a token")
    }
}
