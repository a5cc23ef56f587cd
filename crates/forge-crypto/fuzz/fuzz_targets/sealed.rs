//! Whatever is stored in a column: it opens only when it is exactly what was sealed.
#![no_main]

use std::sync::LazyLock;

use forge_crypto::{ApiKeyHash, ApiKeys, Context, Keyring, Sealed, Vault};
use libfuzzer_sys::fuzz_target;

/// The SHA-256 of a word, so that the corpus stays valid.
const KEYRING: &str = "forge-keyring v1\nprimary ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const SEALED: [&str; 2] = [
    include_str!("../corpus/sealed/empty"),
    include_str!("../corpus/sealed/token"),
];

static KEYS: LazyLock<(Vault, ApiKeys)> = LazyLock::new(|| {
    let ring = Keyring::parse(KEYRING).expect("a keyring");
    let keys = ApiKeys::new(&ring, "acme").expect("a prefix");
    let vault = Vault::new(&ring);
    let place = Context::new("t", "c", "r");
    for sealed in SEALED {
        assert!(vault.open(&place, sealed).is_ok(), "the corpus is of today");
    }
    (vault, keys)
});

fuzz_target!(|text: &str| {
    let (vault, keys) = &*KEYS;
    let opened = vault.open(&Context::new("t", "c", "r"), text);
    assert_eq!(opened.is_ok(), SEALED.contains(&text));
    let sealed = Sealed::from_stored(text);
    if let Some(id) = sealed.key_id() {
        assert!(text.starts_with(&format!("fv1.{id}.")));
    }
    vault.reseal_needed(text);
    let hash = ApiKeyHash::from_stored(text);
    assert!(!keys.verify(text, &hash));
    keys.rehash_needed(&hash);
});
