//! Keyrings and what lies beside them: what is read is written again as it was meant.
#![no_main]

use forge_crypto::secrecy::ExposeSecret;
use forge_crypto::{KeyId, Keyring, PassphraseSalt, RootKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    for ring in [Keyring::parse(text), Keyring::parse_list(text)].into_iter().flatten() {
        let written = ring.to_text();
        let again = Keyring::parse(written.expose_secret()).expect("it was written");
        assert_eq!(again.to_text().expose_secret(), written.expose_secret());
    }
    if let Ok(key) = RootKey::parse(text) {
        assert_eq!(RootKey::parse(key.to_text().expose_secret()).expect("a key"), key);
    }
    if let Ok(id) = KeyId::parse(text) {
        assert_eq!(id.to_string(), text);
    }
    if let Ok(salt) = text.parse::<PassphraseSalt>() {
        assert_eq!(salt.to_string(), text);
    }
});
