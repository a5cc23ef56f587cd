//! What the vault seals, opens and refuses to open.

use std::sync::Mutex;

use secrecy::ExposeSecret;

use super::*;
use crate::testing::{counting, keyring, no_entropy};

const TOKEN: &str = "gho_16C7e42F292c6912E7710c838347Ae178B4a";

fn place() -> Context<'static> {
    Context::new("users", "github_token", "user-17").tenant("acme")
}

/// A vault whose nonces are not random, and the reasons it told its observer.
fn golden_vault() -> (Vault, Arc<Mutex<Vec<OpenFailure>>>) {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&reasons);
    let ring = keyring(&[(KeyState::Primary, "forge-crypto golden key")]);
    let mut vault = Vault::new(&ring).on_event(move |event: &VaultEvent<'_>| {
        if let VaultEvent::OpenFailed { reason, .. } = event {
            told.lock().unwrap().push(*reason);
        }
    });
    vault.entropy = counting;
    (vault, reasons)
}

/// Made by another implementation of the format, in Python with the package `cryptography`
/// (its HKDF, CMAC, KBKDF-CMAC and AES-GCM). They never change: rows in databases bear them.
#[test]
fn seals_and_opens_the_golden_texts_of_fv1() {
    let long_tenant = "a".repeat(300);
    let uuid: [u8; 16] = std::array::from_fn(|i| i as u8);
    let every_byte: [u8; 256] = std::array::from_fn(|i| i as u8);
    let (vault, _) = golden_vault();
    for (context, plaintext, golden) in [
        (
            place(),
            TOKEN.as_bytes(),
            "fv1.V3d3AZZ3Wsg.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXr244EM-c5FYUFTSs8D_4D5DMYFvfo0YR\
             um99MZtncvJWZD1pGYuq6UpoEmFf7GwICRMh9fJtyHl58aqsyoHFVOHMp7gtZ3Fixgr46FY5VKtO14gQ\
             TVnkCg",
        ),
        (
            Context::new("t", "c", "r"),
            b"",
            "fv1.V3d3AZZ3Wsg.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXr244EM-c5FYUFTSs8D_4D5DMYFvfo0YR\
             um99MZtncvLHonr8L-VuuqXgQpX0nn5c",
        ),
        (
            Context::new("users", "github_token", &uuid).tenant(&long_tenant),
            &every_byte,
            "fv1.V3d3AZZ3Wsg.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXr244EM-c5FYUFTSs8D_4D5DMYFvfo0YR\
             um99MZtncvIxDVA1LLjv2SdVKixh2FBkLzsC1KNP6V9Ri4iE7q_vfICItKwxAGMkvRg9vNiZtcmUCZQl\
             T4Hqakc1SzsroLDkojii_01shdsqNxTosowZbGUo9EMZfZyMHt7jWDqOFNkd3GPFRFUACaDBwWAW62jx\
             0k_2YBmMPq76ITMR7fPKpaNaDB-qGaEBLgV1JbdFcx7PCAcxhoCttu3yr19xfYHIKFVMwyljVFIaglKF\
             na3nSTgz7SfA3MyJ2iKUrJrAxuKEO7yAGwTJXCZlwtAG33LMRGc82TWbczRclIXkwn1p_dncwLOEkZDK\
             qPFUv1YpcgR-GBaGeX7gbme46jbLzGQtFfb5WDkdho6CpH52fPIsGQ",
        ),
    ] {
        assert_eq!(vault.seal(&context, plaintext).unwrap().as_str(), golden);
        let opened = vault.open(&context, golden).unwrap();
        assert_eq!(opened.expose_secret(), plaintext);
    }
}

#[test]
fn seals_nothing_without_random_bytes() {
    let (mut vault, _) = golden_vault();
    vault.entropy = no_entropy;
    let error = vault.seal(&place(), TOKEN).unwrap_err();
    assert!(matches!(error, SealError::Random(_)));
}

/// One bit of a text at a time: the version, the key id, the nonce, the commitment, the
/// ciphertext and the tag; also bits that make it no base64 or no UTF-8.
#[test]
fn opens_no_text_with_a_flipped_bit() {
    let (vault, reasons) = golden_vault();
    let sealed = vault.seal(&place(), TOKEN).unwrap().into_string();
    let mut tried = 0;
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut bytes = sealed.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(bytes) {
                assert_eq!(vault.open(&place(), &text).err(), Some(OpenError), "{text}");
                tried += 1;
            }
        }
    }
    assert_eq!(tried, sealed.len() * 7);
    let reasons = reasons.lock().unwrap();
    for reason in [
        OpenFailure::Malformed,
        OpenFailure::UnknownKey,
        OpenFailure::Commitment,
        OpenFailure::Authentication,
    ] {
        assert!(reasons.contains(&reason), "{reason:?}");
    }
}

#[test]
fn opens_no_text_that_is_cut_or_longer() {
    let (vault, _) = golden_vault();
    let sealed = vault.seal(&place(), TOKEN).unwrap().into_string();
    for cut in 0..sealed.len() {
        assert!(vault.open(&place(), &sealed[..cut]).is_err());
        assert!(vault.open(&place(), &sealed[cut + 1..]).is_err());
        assert!(
            vault
                .open(&place(), &format!("{sealed}{}", &sealed[cut..]))
                .is_err()
        );
        let without = format!("{}{}", &sealed[..cut], &sealed[cut + 1..]);
        assert!(vault.open(&place(), &without).is_err());
    }
    assert!(vault.open(&place(), &sealed).is_ok());
}

/// GCM alone accepts this text: its tag is right under the key that its id names. Only the
/// commitment, which the tag does not cover, is another one.
#[test]
fn opens_no_text_with_a_valid_tag_and_another_commitment() {
    let (vault, reasons) = golden_vault();
    let other = keyring(&[(KeyState::Primary, "forge-crypto other key")]);
    let (keys, other) = (vault.keys.load(), Keys::new(&other));
    let (key, other) = (keys.primary(), other.primary());
    for (commits, may_open) in [(key, true), (other, false)] {
        let text = envelope::write(key.id, TOKEN.len(), |parts| {
            let nonce = [7; NONCE_LEN];
            parts.nonce.copy_from_slice(&nonce);
            let commitment = commits.cipher.message(&nonce).commitment;
            parts.commitment.copy_from_slice(&commitment);
            parts.message.copy_from_slice(TOKEN.as_bytes());
            let message = key.cipher.message(&nonce);
            place()
                .with_aad(key.id, |aad| message.encrypt(aad, parts.message))
                .map(|tag| parts.tag.copy_from_slice(&tag))
        });
        let opened = vault.open(&place(), &text.unwrap());
        assert_eq!(opened.is_ok(), may_open);
    }
    assert_eq!(*reasons.lock().unwrap(), [OpenFailure::Commitment]);
}

#[test]
fn refuses_a_huge_text_before_it_looks_at_it() {
    let (vault, reasons) = golden_vault();
    let huge = format!("fv1.V3d3AZZ3Wsg.{}", "A".repeat(16 << 20));
    assert!(vault.open(&place(), &huge).is_err());
    assert_eq!(*reasons.lock().unwrap(), [OpenFailure::TooLong]);
}

#[test]
fn debug_shows_ids_and_states_alone() {
    let (vault, _) = golden_vault();
    assert_eq!(
        format!("{vault:?}"),
        "Vault { keys: [(KeyId(V3d3AZZ3Wsg), Primary)], .. }"
    );
}
