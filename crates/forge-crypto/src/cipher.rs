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
//! is shared, so a commitment costs three blocks of AES. The schedule of `K` and the subkey `K1`
//! of CMAC are made once for each key, not once for each call.

use xaes_256_gcm::Xaes256Gcm;
use xaes_256_gcm::aead::{AeadInOut, KeyInit, inout::InOutBuf};
use xaes_256_gcm::aes::Aes256;
use xaes_256_gcm::aes::cipher::BlockCipherEncrypt;
use zeroize::{Zeroize, ZeroizeOnDrop};

pub(crate) const NONCE_LEN: usize = 24;
pub(crate) const COMMITMENT_LEN: usize = 32;
pub(crate) const TAG_LEN: usize = 16;

const BLOCK_LEN: usize = 16;

/// Domain of the commitment; XAES-256-GCM itself derives with `00 01 'X' 00` and `00 02 'X' 00`.
const COMMITMENT_LABEL: &[u8; 4] = b"XCMT";

/// A key with what can be computed ahead.
pub(crate) struct CommittingCipher {
    xaes: Xaes256Gcm,
    aes: Aes256,
    k1: [u8; BLOCK_LEN],
}

/// The cipher refused: on opening, the tag does not match.
#[derive(Debug)]
pub(crate) struct Refused;

impl CommittingCipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let aes = Aes256::new(key.into());
        let mut zero = [0; BLOCK_LEN];
        aes.encrypt_block((&mut zero).into());
        let this = Self {
            xaes: Xaes256Gcm::new(key.into()),
            k1: double(&zero),
            aes,
        };
        zero.zeroize();
        this
    }

    pub(crate) fn commitment(&self, nonce: &[u8; NONCE_LEN]) -> [u8; COMMITMENT_LEN] {
        let mut first = [0; BLOCK_LEN];
        first[..4].copy_from_slice(COMMITMENT_LABEL);
        first[4..].copy_from_slice(&nonce[..12]);
        self.aes.encrypt_block((&mut first).into());

        let mut commitment = [0; COMMITMENT_LEN];
        for (half, counter) in commitment.chunks_exact_mut(BLOCK_LEN).zip(1..) {
            let mut last = [0; BLOCK_LEN];
            last[..12].copy_from_slice(&nonce[12..]);
            last[12..].copy_from_slice(&[0, 1, 0, counter]);
            for ((last, first), k1) in last.iter_mut().zip(first).zip(self.k1) {
                *last ^= first ^ k1;
            }
            self.aes.encrypt_block((&mut last).into());
            half.copy_from_slice(&last);
        }
        commitment
    }

    pub(crate) fn encrypt(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_LEN], Refused> {
        self.xaes
            .encrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buffer))
            .map(Into::into)
            .map_err(|_| Refused)
    }

    pub(crate) fn decrypt(
        &self,
        nonce: &[u8; NONCE_LEN],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), Refused> {
        self.xaes
            .decrypt_inout_detached(nonce.into(), aad, InOutBuf::from(buffer), tag.into())
            .map_err(|_| Refused)
    }
}

impl Drop for CommittingCipher {
    fn drop(&mut self) {
        self.k1.zeroize();
    }
}

impl ZeroizeOnDrop for CommittingCipher {}

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
            let tag = cipher.encrypt(nonce, aad, &mut buffer).unwrap();
            assert_eq!([&buffer[..], &tag[..]].concat(), hex(sealed));
            assert_eq!(cipher.commitment(nonce).to_vec(), hex(commitment));
            cipher.decrypt(nonce, aad, &mut buffer, &tag).unwrap();
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

            let cipher = CommittingCipher::new(&key);
            let mut buffer = plaintext.clone();
            let tag = cipher.encrypt(&nonce, &aad, &mut buffer).unwrap();
            hash.update(&buffer);
            hash.update(&tag);
            cipher.decrypt(&nonce, &aad, &mut buffer, &tag).unwrap();
            assert_eq!(buffer, plaintext);
        }
        let mut result = [0; 32];
        hash.finalize_xof().read(&mut result);
        let expected = "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939";
        assert_eq!(result.to_vec(), hex(expected));
    }

    #[test]
    fn the_commitment_depends_on_key_and_whole_nonce() {
        let base = CommittingCipher::new(&[1; 32]).commitment(&[0; NONCE_LEN]);
        assert_ne!(base[..16], base[16..]);
        assert_ne!(
            CommittingCipher::new(&[2; 32]).commitment(&[0; NONCE_LEN]),
            base
        );
        for at in 0..NONCE_LEN {
            let mut nonce = [0; NONCE_LEN];
            nonce[at] = 1;
            assert_ne!(CommittingCipher::new(&[1; 32]).commitment(&nonce), base);
        }
    }
}
