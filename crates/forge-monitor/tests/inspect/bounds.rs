//! What holds for requests of any bytes.

use forge_monitor::{Inspector, Level, Verdict};
use proptest::prelude::*;

use crate::of_target;

#[test]
fn what_it_saw_is_safe_to_log() {
    let inspection = of_target("/?%1b[31m%0a=%1b%0a'%20or%20'1'='1%ff%00");
    assert!(!inspection.matches().is_empty());
    for found in inspection.matches() {
        let text = found.to_string();
        assert!(!text.chars().any(char::is_control), "{text:?}");
        assert!(text.len() < 1024);
    }
}

/// Pieces that attacks are made of, in any order.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("'".to_owned()),
        Just("\"".to_owned()),
        Just("<".to_owned()),
        Just("%".to_owned()),
        Just("%25".to_owned()),
        Just("%u00".to_owned()),
        Just("%c0%".to_owned()),
        Just("${".to_owned()),
        Just("{{".to_owned()),
        Just("/*!".to_owned()),
        Just("*/".to_owned()),
        Just("--".to_owned()),
        Just("(".to_owned()),
        Just(")".to_owned()),
        Just("`".to_owned()),
        Just(";".to_owned()),
        Just("|".to_owned()),
        Just("&#".to_owned()),
        Just("\\u".to_owned()),
        Just("../".to_owned()),
        Just(" or ".to_owned()),
        Just("select ".to_owned()),
        Just("union ".to_owned()),
        Just("on=".to_owned()),
        Just("script:".to_owned()),
        Just("cat ".to_owned()),
        Just("$(".to_owned()),
        Just("\u{ff07}".to_owned()),
        "[a-z0-9=., \\n\\\\]{1,6}",
        any::<char>().prop_map(String::from),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_makes_it_panic(
        pieces in proptest::collection::vec(piece(), 0..40),
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let text = pieces.concat();
        let inspector = Inspector::new();
        let headers = [
            (&b"cookie"[..], text.as_bytes()),
            (&b"User-Agent"[..], text.as_bytes()),
            (&b"referer"[..], &bytes[..]),
            (&b"x-any"[..], &bytes[..]),
        ];
        let mut target = format!("/{text}?{text}&a={text}&b=").into_bytes();
        target.extend(&bytes);
        let inspection = inspector.inspect_text(&target, headers);
        let worst: u32 = inspection.matches().iter().map(|found| found.score).sum();
        prop_assert!(inspection.score() <= worst);
        for found in inspection.matches() {
            prop_assert!(found.saw.len() < 1000);
        }
        let again = inspector.inspect_text(&target, headers);
        prop_assert_eq!(inspection.matches(), again.matches());
    }

    #[test]
    fn case_and_escapes_hide_nothing(upper in any::<[bool; 24]>(), rounds in 1..=3usize) {
        let attack = "1' UNION SELECT NULL--xy";
        let cased = attack.chars().zip(upper).map(|(c, upper)| {
            if upper { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
        });
        let mut value: String = cased.collect();
        for _ in 0..rounds {
            value = value
                .bytes()
                .map(|byte| match byte {
                    b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
                    byte => format!("%{byte:02X}"),
                })
                .collect();
        }
        let inspection = of_target(&format!("/?q={value}"));
        prop_assert_eq!(inspection.verdict(Level::Low), Verdict::Block);
    }
}

/// Twice the bytes cost about twice as much, whatever they are: no input makes it slow. Counted are
/// not seconds but what a hostile value of the largest size makes of them all.
#[test]
fn the_longest_hostile_values_are_read_to_the_end() {
    for unit in [
        "'", "<", "(", "%25", "${", "on", "..", "a or ", "`", "\\u", "&#", "/*", "select ", "{{",
        ":", "|w",
    ] {
        let value = unit.repeat(60_000 / unit.len());
        let inspection = of_target(&format!("/?q={value}"));
        assert!(!inspection.is_truncated(), "{unit}");
    }
}
