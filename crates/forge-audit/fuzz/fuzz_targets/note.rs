//! A file of checkpoints that anybody may have written, and a public key as it is pasted.
#![no_main]

use std::sync::LazyLock;

use forge_audit::{CheckpointKey, CheckpointVerifier, split_notes};
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<CheckpointKey> =
    LazyLock::new(|| CheckpointKey::new("forge.example/audit", &[7; 32]).expect("an origin"));

fuzz_target!(|text: &str| {
    for note in split_notes(text).iter().map(String::as_str).chain([text]) {
        if let Ok(checkpoint) = KEY.verifier().open(note) {
            // Only the holder of the key makes what opens, and in one way.
            let again = KEY.sign(checkpoint.size, checkpoint.root).text;
            assert!(note.starts_with(again.split_once("\n\n").expect("a note").0));
        }
    }
    if let Ok(key) = text.parse::<CheckpointVerifier>() {
        assert_eq!(key.to_string(), text.trim());
    }
});
