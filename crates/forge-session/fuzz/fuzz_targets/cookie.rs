//! `Cookie`, in lines: what is read is what one pair of that name says, and nothing where two do.
#![no_main]

use forge_session::SessionCookie;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;

const NAME: &[u8] = b"__Host-forge=";

fuzz_target!(|data: &[u8]| {
    let mut headers = HeaderMap::new();
    for line in data.split(|b| *b == b'\n') {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(COOKIE, value);
        }
    }
    let cookie = SessionCookie::new();
    let found = cookie.read(&headers).map(|found| found.map(str::to_owned));
    if let Ok(Some(value)) = &found {
        let pair = [NAME, value.as_bytes()].concat();
        assert!(data.windows(pair.len()).any(|part| part == pair));
    }
    // Another of the name makes it nobody's.
    headers.append(COOKIE, HeaderValue::from_static("__Host-forge=planted"));
    let again = cookie.read(&headers);
    match found {
        Ok(Some(_)) => assert!(again.is_err()),
        Ok(None) => assert!(again.is_err() || again == Ok(Some("planted"))),
        Err(_) => assert!(again.is_err()),
    }
});
