//! Sealing of what never leaves the device: journal entries, local indexes.
//!
//! XChaCha20-Poly1305 under the device's key for a volume, with a random 192-bit nonce. Must never be used
//! for anything another device is to read.

use std::fmt;
use std::sync::Arc;

use super::aead;
use super::secret::Secret;
use crate::base::{Result, port::Entropy};

const MAGIC: &[u8; 4] = b"loc1";

/// Seals and opens under one device-local key. Cheap to clone.
#[derive(Clone)]
pub struct LocalSealer {
    key: Secret,
    entropy: Arc<dyn Entropy>,
}

impl LocalSealer {
    /// Bytes that sealing adds.
    pub const OVERHEAD: usize = aead::XNONCE + aead::TAG;

    /// Use `key` (see `DeviceRoot::local_key`) and draw nonces from `entropy`.
    pub fn new(mut key: [u8; 32], entropy: Arc<dyn Entropy>) -> Self {
        Self { key: Secret::take(&mut key), entropy }
    }

    /// Seal `plain`, bound to `purpose`: `nonce 24 || ciphertext || tag 16`.
    pub fn seal(&self, purpose: &[u8], plain: &[u8]) -> Result<Vec<u8>> {
        let mut nonce = [0; aead::XNONCE];
        self.entropy.fill(&mut nonce);
        let mut out = Vec::new();
        aead::xseal(self.key.expose(), nonce, &associated(purpose), plain, &mut out)?;
        Ok(out)
    }

    /// Undo [`LocalSealer::seal`]; `Kind::Corrupt` unless key, purpose and every byte agree.
    pub fn open(&self, purpose: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
        aead::xopen(self.key.expose(), &associated(purpose), sealed)
    }
}

impl fmt::Debug for LocalSealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LocalSealer")
    }
}

fn associated(purpose: &[u8]) -> Vec<u8> {
    [MAGIC, purpose].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::base::{Kind, port::Seeded};

    fn local(key: u8) -> LocalSealer {
        LocalSealer::new([key; 32], Arc::new(Seeded::new(u64::from(key))))
    }

    #[test]
    fn it_opens_what_it_sealed_for_the_same_purpose_only() {
        let sealed = local(1).seal(b"journal", b"entry").unwrap();
        assert_eq!(sealed.len(), 5 + LocalSealer::OVERHEAD);
        assert_eq!(local(1).open(b"journal", &sealed).unwrap(), b"entry");
        assert_eq!(local(1).open(b"index", &sealed).unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(local(2).open(b"journal", &sealed).unwrap_err().kind(), Kind::Corrupt);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_round_trip(purpose: Vec<u8>, plain: Vec<u8>) {
            let sealed = local(1).seal(&purpose, &plain).unwrap();
            assert_eq!(local(1).open(&purpose, &sealed).unwrap(), plain);
        }

        #[test]
        fn arbitrary_bytes_are_refused_without_panic(bytes: Vec<u8>) {
            assert_eq!(local(1).open(b"p", &bytes).unwrap_err().kind(), Kind::Corrupt);
        }
    }

    #[test]
    fn sealing_twice_never_repeats_a_nonce() {
        let sealer = local(1);
        let (a, b) = (sealer.seal(b"", b"same").unwrap(), sealer.seal(b"", b"same").unwrap());
        assert_ne!(a[..aead::XNONCE], b[..aead::XNONCE]);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused() {
        let sealed = local(3).seal(b"p", b"a few bytes").unwrap();
        for at in 0..sealed.len() * 8 {
            let mut bad = sealed.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(local(3).open(b"p", &bad).is_err());
        }
        assert!((0..sealed.len()).all(|n| local(3).open(b"p", &sealed[..n]).is_err()));
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", local(0xab)), "LocalSealer");
    }
}
