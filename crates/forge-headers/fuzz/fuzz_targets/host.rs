//! `Host`: what is accepted is accepted again as it is written, and holds nothing that ends a host.
#![no_main]

use forge_headers::{Host, HostAllowList};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(host) = Host::parse(data) {
        let text = host.to_string();
        assert_eq!(Host::parse(text.as_bytes()), Ok(host));
        assert!(!text.contains(['/', '?', '#', '@', '\\', '%', ' ', '\t']));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = HostAllowList::new([text]);
    }
});
