//! A vault as its users see it: places, keys, rotation, observers.

use std::sync::{Arc, Mutex};

use forge_crypto::{
    Context, KeyEntry, KeyState, Keyring, MAX_PLAINTEXT, OpenFailure, RootKey, SealError, Sealed,
    Vault, VaultEvent,
};
use proptest::prelude::*;
use secrecy::{ExposeSecret, SecretString};

/// Keys as texts, since a key cannot be cloned.
struct Keys(Vec<SecretString>);

impl Keys {
    fn new(count: usize) -> Self {
        let key = |_| RootKey::generate().unwrap().to_text();
        Self((0..count).map(key).collect())
    }

    fn ring(&self, states: &[(usize, KeyState)]) -> Keyring {
        let entry = |&(key, state): &(usize, KeyState)| {
            KeyEntry::new(state, RootKey::parse(self.0[key].expose_secret()).unwrap())
        };
        Keyring::new(states.iter().map(entry)).unwrap()
    }
}

fn vault() -> Vault {
    Vault::new(&Keyring::generate().unwrap())
}

fn place() -> Context<'static> {
    Context::new("users", "token", "7").tenant("acme")
}

/// A vault, and what it tells of what it does not open.
fn watched(ring: &Keyring) -> (Vault, Arc<Mutex<Vec<OpenFailure>>>) {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let vault = Vault::new(ring).on_event(move |event: &VaultEvent<'_>| {
        if let VaultEvent::OpenFailed { reason, .. } = event {
            told.lock().unwrap().push(*reason);
        }
    });
    (vault, reasons)
}

#[test]
fn opens_only_in_its_place() {
    let vault = vault();
    let places = [
        Context::new("users", "token", "7"),
        Context::new("users", "token", "8"),
        Context::new("users", "secret", "7"),
        Context::new("teams", "token", "7"),
        Context::new("users", "token", "7").tenant("acme"),
        Context::new("users", "token", "7").tenant("other"),
        // The same letters, cut elsewhere.
        Context::new("ab", "c", "d"),
        Context::new("a", "bc", "d"),
        Context::new("a", "b", "cd"),
        Context::new("b", "c", "d").tenant("a"),
    ];
    for (i, sealed_at) in places.iter().enumerate() {
        let sealed = vault.seal(sealed_at, "secret").unwrap();
        for (j, opened_at) in places.iter().enumerate() {
            let opened = vault.open_string(opened_at, &sealed);
            assert_eq!(opened.is_ok(), i == j, "{sealed_at:?} {opened_at:?}");
        }
    }
}

#[test]
fn a_place_needs_a_table_a_column_and_a_row() {
    let vault = vault();
    for place in [
        Context::new("", "c", "r"),
        Context::new("t", "", "r"),
        Context::new("t", "c", ""),
    ] {
        assert!(matches!(
            vault.seal(&place, "secret"),
            Err(SealError::EmptyContext)
        ));
    }
}

#[test]
fn the_same_secret_gives_another_text_each_time() {
    let vault = vault();
    let seal = || vault.seal(&place(), "secret").unwrap();
    assert_ne!(seal(), seal());
}

#[test]
fn takes_secrets_up_to_64_kib() {
    let vault = vault();
    let longest = vec![0x5a; MAX_PLAINTEXT];
    let sealed = vault.seal(&place(), &longest).unwrap();
    assert_eq!(
        *vault.open(&place(), &sealed).unwrap().expose_secret(),
        longest
    );
    assert!(matches!(
        vault.seal(&place(), &vec![0; MAX_PLAINTEXT + 1]),
        Err(SealError::TooLong {
            most: MAX_PLAINTEXT
        })
    ));
}

#[test]
fn text_is_asked_for_as_text() {
    let (vault, reasons) = watched(&Keyring::generate().unwrap());
    let sealed = vault.seal(&place(), &[0xff, 0xfe]).unwrap();
    assert!(vault.open_string(&place(), &sealed).is_err());
    assert_eq!(*reasons.lock().unwrap(), [OpenFailure::NotText]);
    assert!(vault.open(&place(), &sealed).is_ok());
}

#[test]
fn refuses_unknown_and_compromised_keys_with_the_one_error() {
    let keys = Keys::new(3);
    let sealed = |key| {
        let vault = Vault::new(&keys.ring(&[(key, KeyState::Primary)]));
        vault.seal(&place(), "secret").unwrap()
    };
    let (compromised, unknown) = (sealed(1), sealed(2));
    let (vault, reasons) =
        watched(&keys.ring(&[(0, KeyState::Primary), (1, KeyState::Compromised)]));

    for text in [compromised.as_str(), unknown.as_str(), "gho_not_sealed"] {
        let error = vault.open(&place(), text).unwrap_err();
        assert_eq!(error.to_string(), "could not open sealed value");
        assert_eq!(format!("{error:?}"), "OpenError");
    }
    assert_eq!(
        *reasons.lock().unwrap(),
        [
            OpenFailure::CompromisedKey,
            OpenFailure::UnknownKey,
            OpenFailure::Malformed
        ]
    );

    let opened = vault.dangerous_open_compromised(&place(), &compromised);
    assert_eq!(opened.unwrap().expose_secret(), b"secret");
    assert!(
        vault
            .dangerous_open_compromised(&place(), &unknown)
            .is_err()
    );
}

/// The id of a key in a text is no authority: another key's value does not open under it.
#[test]
fn refuses_a_text_that_bears_another_keys_id() {
    let keys = Keys::new(2);
    let (vault, reasons) = watched(&keys.ring(&[(0, KeyState::Primary), (1, KeyState::Retired)]));
    let other = Vault::new(&keys.ring(&[(1, KeyState::Primary)]));
    let sealed = other.seal(&place(), "secret").unwrap();
    assert!(vault.open(&place(), &sealed).is_ok());

    let (ours, theirs) = (vault.primary_key_id(), other.primary_key_id());
    let swapped = sealed
        .as_str()
        .replace(&theirs.to_string(), &ours.to_string());
    assert!(vault.open(&place(), &swapped).is_err());
    assert_eq!(*reasons.lock().unwrap(), [OpenFailure::Commitment]);
}

#[test]
fn keys_rotate_without_a_value_that_does_not_open() {
    use KeyState::{Pending, Primary, Retired};
    let keys = Keys::new(2);
    let vault = Vault::new(&keys.ring(&[(0, Primary)]));
    let clone = vault.clone();
    let old = vault.seal(&place(), "old").unwrap();

    vault.reload(&keys.ring(&[(0, Primary), (1, Pending)]));
    let still_old = clone.seal(&place(), "still old").unwrap();
    assert_eq!(still_old.key_id(), old.key_id());
    assert!(!clone.reseal_needed(&still_old));

    vault.reload(&keys.ring(&[(0, Retired), (1, Primary)]));
    let new = clone.seal(&place(), "new").unwrap();
    assert_ne!(new.key_id(), old.key_id());
    assert_eq!(new.key_id(), Some(clone.primary_key_id()));
    assert_eq!(
        [&old, &still_old, &new].map(|sealed| clone.reseal_needed(sealed)),
        [true, true, false]
    );
    assert!(!clone.reseal_needed("not a sealed value"));
    for (sealed, secret) in [(&old, "old"), (&still_old, "still old"), (&new, "new")] {
        let opened = clone.open_string(&place(), sealed).unwrap();
        assert_eq!(opened.expose_secret(), secret);
    }

    // The prefix by which SQL counts what a key still protects.
    let prefix = format!("fv1.{}.", clone.keys()[0].0);
    assert!(old.as_str().starts_with(&prefix) && !new.as_str().starts_with(&prefix));
    assert_eq!(prefix.len(), 16);

    vault.reload(&keys.ring(&[(1, Primary)]));
    assert!(clone.open(&place(), &old).is_err());
    assert!(clone.open(&place(), &new).is_ok());
}

#[test]
fn tells_each_observer_what_it_does_and_no_secret() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let observer = |name: &'static str| {
        let events = Arc::clone(&events);
        move |event: &VaultEvent<'_>| {
            let mut events = events.lock().unwrap();
            events.push(format!("{name} {event:?}"));
        }
    };
    let vault = vault().on_event((observer("one"), (observer("two"), ())));
    let sealed = vault.clone().seal(&place(), "hunter2").unwrap();
    vault.open(&place(), &sealed).unwrap();
    vault.open(&place(), "hunter2").unwrap_err();
    vault
        .seal(&Context::new("", "", ""), "hunter2")
        .unwrap_err();
    vault.reload(&Keyring::generate().unwrap());

    let events = events.lock().unwrap();
    let kinds = ["Sealed", "Opened", "OpenFailed", "SealFailed", "Reloaded"];
    assert_eq!(events.len(), 2 * kinds.len());
    for (pair, kind) in events.chunks(2).zip(kinds) {
        assert!(pair[0].starts_with(&format!("one {kind} ")), "{pair:?}");
        assert!(pair[1].starts_with(&format!("two {kind} ")), "{pair:?}");
    }
    assert!(!events.concat().contains("hunter2"));
}

#[test]
fn nothing_that_holds_a_secret_shows_it() {
    let vault = vault();
    let sealed = vault.seal(&place(), "hunter2").unwrap();
    let shown = format!(
        "{vault:?} {sealed:?} {:?} {:?}",
        vault.open(&place(), &sealed),
        vault.open_string(&place(), &sealed),
    );
    assert!(
        !shown.contains("hunter2") && !shown.contains("104, 117"),
        "{shown}"
    );
    assert!(!shown.contains(&sealed.as_str()[16..]), "{shown}");
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_again(
        plaintext: Vec<u8>,
        tenant: Vec<u8>,
        table in ".+",
        column in ".+",
        row in proptest::collection::vec(any::<u8>(), 1..300),
    ) {
        let vault = vault();
        let place = Context::new(&table, &column, &row).tenant(&tenant);
        let sealed = vault.seal(&place, &plaintext).unwrap();
        let stored = Sealed::from_stored(sealed.as_str());
        let opened = vault.open(&place, &stored).unwrap();
        prop_assert_eq!(opened.expose_secret(), &plaintext[..]);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(fv1\\.)?[A-Za-z0-9_.-]{0,12}\\.?\\PC{0,200}") {
        prop_assert!(vault().open(&place(), &text).is_err());
    }
}
