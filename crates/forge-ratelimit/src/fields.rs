//! The structured header fields `RateLimit-Policy` and `RateLimit` of
//! draft-ietf-httpapi-ratelimit-headers.

use std::fmt::Write;

use bytes::BytesMut;
use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use crate::decision::PolicyVerdict;
use crate::gcra::seconds_up;
use crate::limiter::RateLimiter;
use crate::policy::Policy;

pub(crate) const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub(crate) const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// `"web";q=60;w=60`: sixty units a window of sixty seconds.
pub(crate) fn announcement(policy: &Policy) -> HeaderValue {
    let (quota, window) = (policy.quota.rate(), seconds_up(policy.quota.period()));
    ascii(format_args!("\"{}\";q={quota};w={window}", policy.name))
}

/// `"web";r=9;t=1`: nine units left; in one second there is one more, or, where none was left for
/// this request, enough for it.
fn item(of: &PolicyVerdict) -> HeaderValue {
    let (remaining, wait) = (of.verdict.remaining, seconds_up(of.verdict.wait));
    ascii(format_args!("\"{}\";r={remaining};t={wait}", of.policy))
}

fn ascii(text: std::fmt::Arguments<'_>) -> HeaderValue {
    let mut bytes = BytesMut::with_capacity(64);
    bytes.write_fmt(text).expect("writing to memory succeeds");
    HeaderValue::from_maybe_shared(bytes.freeze()).expect("a policy's name is a token")
}

/// Adds the fields of the policies that announce themselves or refused. A handler's own fields
/// stay: both are lists.
pub(crate) fn append<S>(
    headers: &mut HeaderMap,
    limiter: &RateLimiter<S>,
    verdicts: &[PolicyVerdict],
) {
    for of in verdicts {
        if limiter.policy(of.index).announced || !of.verdict.allowed {
            headers.append(RATELIMIT_POLICY, limiter.announcement(of.index).clone());
            headers.append(RATELIMIT, item(of));
        }
    }
}
