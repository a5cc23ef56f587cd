//! `Origin`, and the entries of a list of origins.
#![no_main]

use forge_headers::{Cors, Origin};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let origin = Origin::parse(data);
    if let Ok(origin) = &origin {
        assert_eq!(Origin::parse(origin.to_string().as_bytes()).as_ref(), Ok(origin));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let cors = Cors::builder().origins([text]).credentials(true).build();
        // Whatever may bear credentials is an origin or a wildcard, over https or on this machine.
        assert!(cors.is_err() || text.contains("://*.") || origin.is_ok_and(|o| o.is_trustworthy()));
    }
});
