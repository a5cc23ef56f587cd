//! Reports of browsers, in both media types: no control character, no query, no end to memory.
#![no_main]

use forge_headers::Report;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    for media in ["application/csp-report", "application/reports+json"] {
        let reports = Report::parse(media.as_bytes(), data).unwrap_or_default();
        assert!(reports.len() <= 20);
        for report in reports {
            let Report::CspViolation(violation) = report else {
                continue;
            };
            for url in [&violation.document_url, &violation.blocked_url, &violation.referrer] {
                assert!(!url.contains(['?', '#']));
            }
            for text in [&violation.sample, &violation.original_policy, &violation.document_url] {
                assert!(text.len() <= 1024 && !text.chars().any(char::is_control));
            }
        }
    }
});
