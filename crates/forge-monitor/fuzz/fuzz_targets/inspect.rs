//! Requests of any bytes: no panic, a bounded report in printable text, the same each time.
#![no_main]

use forge_monitor::Inspector;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (head, tail) = data.split_at(data.len() / 2);
    let inspector = Inspector::new();
    let headers = || {
        ["user-agent", "referer", "cookie", "accept", "x-any"]
            .into_iter()
            .map(|name| (name.as_bytes(), tail))
    };
    let target = [b"/".as_slice(), head, b"?a=", tail, b"&", head].concat();
    let inspection = inspector.inspect_text(&target, headers());
    assert!(inspection.matches().len() <= 64);
    for found in inspection.matches() {
        assert!(!found.to_string().chars().any(char::is_control));
        assert!(found.saw.len() <= 1024);
    }
    assert_eq!(inspector.inspect_text(&target, headers()).score(), inspection.score());
    let _ = inspector.inspect_form(data);
});
