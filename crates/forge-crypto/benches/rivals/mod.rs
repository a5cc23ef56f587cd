//! Sealing and opening a 40-byte token, by a vault and by the bare AEAD of three libraries.
//!
//! Each bare run does what a caller without a vault would write: a random nonce from the operating
//! system and a new buffer for a message, with the key schedule made beforehand.

use std::hint::black_box;

use aes_gcm::aead::{Aead, KeyInit};
use forge_crypto::secrecy::ExposeSecret;
use forge_crypto::{ApiKeys, Context, KeyEntry, KeyState, Keyring, RootKey, Vault};

const TOKEN: &[u8; 40] = b"gho_16C7e42F292c6912E7710c838347Ae178B4a";
const KEY: [u8; 32] = [7; 32];

/// What is measured: a name, and one call.
pub(crate) type Run = (String, Box<dyn FnMut()>);

fn run<T>(name: impl Into<String>, mut call: impl FnMut() -> T + 'static) -> Run {
    let call = move || {
        black_box(call());
    };
    (name.into(), Box::new(call))
}

fn nonce() -> [u8; 12] {
    let mut nonce = [0; 12];
    getrandom::fill(&mut nonce).expect("random bytes");
    nonce
}

/// A keyring of `count` keys; the primary one is the last, which is found last.
fn keyring(count: usize) -> Keyring {
    let entry = |n| {
        let state = if n + 1 == count {
            KeyState::Primary
        } else {
            KeyState::Retired
        };
        KeyEntry::new(state, RootKey::generate().expect("random bytes"))
    };
    Keyring::new((0..count).map(entry)).expect("one primary")
}

fn place() -> Context<'static> {
    Context::new(
        "users",
        "github_token",
        "0197f3c2-8f0a-7c3e-9d52-6f6f2d1c9b11",
    )
    .tenant("acme")
}

/// Sealing: the bare AEAD of aes-gcm first.
pub(crate) fn seal() -> Vec<Run> {
    let cipher = aes_gcm::Aes256Gcm::new(&KEY.into());
    let ring = ring_key();
    let mut runs = vec![
        run("aes-gcm", move || {
            let sealed = cipher.encrypt(&nonce().into(), black_box(&TOKEN[..]));
            sealed.expect("sealed")
        }),
        run("ring", move || {
            let mut message = Vec::with_capacity(TOKEN.len() + 16);
            message.extend_from_slice(black_box(TOKEN));
            let nonce = ring::aead::Nonce::assume_unique_for_key(nonce());
            ring.seal_in_place_append_tag(nonce, ring::aead::Aad::empty(), &mut message)
                .expect("sealed");
            message
        }),
    ];
    #[cfg(bench_aws_lc)]
    runs.push(aws_lc::seal());
    runs.extend([1, 8, 32].map(|keys| {
        let vault = Vault::new(&keyring(keys));
        run(format!("vault, {keys} keys"), move || {
            vault.seal(&place(), black_box(TOKEN)).expect("sealed")
        })
    }));
    runs
}

/// Opening: the bare AEAD of aes-gcm first.
pub(crate) fn open() -> Vec<Run> {
    let cipher = aes_gcm::Aes256Gcm::new(&KEY.into());
    let ring = ring_key();
    let nonce = nonce();
    let bare = cipher.encrypt(&nonce.into(), &TOKEN[..]).expect("sealed");
    let for_ring = bare.clone();
    #[cfg(bench_aws_lc)]
    let for_aws_lc = bare.clone();
    let mut runs = vec![
        run("aes-gcm", move || {
            let opened = cipher.decrypt(&nonce.into(), black_box(&bare[..]));
            opened.expect("opened")
        }),
        run("ring", move || {
            let mut message = black_box(&for_ring).clone();
            let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
            let opened = ring.open_in_place(nonce, ring::aead::Aad::empty(), &mut message);
            let len = opened.expect("opened").len();
            message.truncate(len);
            message
        }),
    ];
    #[cfg(bench_aws_lc)]
    runs.push(aws_lc::open(nonce, for_aws_lc));
    runs.extend([1, 8, 32].map(|keys| {
        let vault = Vault::new(&keyring(keys));
        let sealed = vault.seal(&place(), TOKEN).expect("sealed");
        run(format!("vault, {keys} keys"), move || {
            vault.open(&place(), black_box(&sealed)).expect("opened")
        })
    }));
    runs
}

/// API keys, under the first of eight keys.
pub(crate) fn api_key() -> Vec<Run> {
    let keys = || ApiKeys::new(&keyring(8), "acme").expect("a prefix");
    let (verifies, hashes) = (keys(), keys());
    let (key, hash) = verifies.issue().expect("random bytes");
    let (other, _) = hashes.issue().expect("random bytes");
    vec![
        run("verify", move || {
            assert!(verifies.verify(black_box(key.expose_secret()), black_box(&hash)));
        }),
        run("hash", move || {
            let hash = hashes.hash(black_box(other.expose_secret()));
            hash.expect("a key")
        }),
    ]
}

fn ring_key() -> ring::aead::LessSafeKey {
    let key = ring::aead::UnboundKey::new(&ring::aead::AES_256_GCM, &KEY).expect("32 bytes");
    ring::aead::LessSafeKey::new(key)
}

#[cfg(bench_aws_lc)]
mod aws_lc {
    use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

    use super::{KEY, Run, TOKEN, black_box, nonce, run};

    fn key() -> LessSafeKey {
        LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &KEY).expect("32 bytes"))
    }

    pub(super) fn seal() -> Run {
        let key = key();
        run("aws-lc-rs", move || {
            let mut message = Vec::with_capacity(TOKEN.len() + 16);
            message.extend_from_slice(black_box(TOKEN));
            let nonce = Nonce::assume_unique_for_key(nonce());
            key.seal_in_place_append_tag(nonce, Aad::empty(), &mut message)
                .expect("sealed");
            message
        })
    }

    pub(super) fn open(nonce: [u8; 12], sealed: Vec<u8>) -> Run {
        let key = key();
        run("aws-lc-rs", move || {
            let mut message = black_box(&sealed).clone();
            let nonce = Nonce::assume_unique_for_key(nonce);
            let opened = key.open_in_place(nonce, Aad::empty(), &mut message);
            let len = opened.expect("opened").len();
            message.truncate(len);
            message
        })
    }
}
