//! Ed25519 signatures: heads by authors, genesis and membership by admins.
//!
//! Every signed message starts with the magic of its layout, so one kind never passes for another.
//! Must never verify leniently: small-order keys and non-canonical signatures are refused.

use std::fmt;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::secret::Secret;

/// Bytes of a signature.
pub const SIGNATURE: usize = 64;

/// A signing key; wiped when dropped.
#[derive(Clone)]
pub struct AuthorKey(SigningKey);

impl AuthorKey {
    /// The key of a 32-byte seed (RFC 8032).
    pub fn from_seed(seed: &Secret) -> Self {
        Self(SigningKey::from_bytes(seed.expose()))
    }

    /// The public key.
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Sign a message that starts with its layout's magic. Deterministic.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE] {
        self.0.sign(message).to_bytes()
    }
}

impl fmt::Debug for AuthorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorKey(public {})", crate::base::DeviceId(self.public()))
    }
}

/// Whether `signature` over `message` is by the holder of `public`. Strict: see the file's head.
pub fn verify(public: &[u8; 32], message: &[u8], signature: &[u8; SIGNATURE]) -> bool {
    VerifyingKey::from_bytes(public)
        .is_ok_and(|key| key.verify_strict(message, &Signature::from_bytes(signature)).is_ok())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    fn key(n: u8) -> AuthorKey {
        AuthorKey::from_seed(&Secret::take(&mut [n; 32]))
    }

    #[test]
    fn a_signature_verifies_for_its_message_and_author_only() {
        let signature = key(1).sign(b"message");
        assert!(verify(&key(1).public(), b"message", &signature));
        assert!(!verify(&key(2).public(), b"message", &signature));
        assert!(!verify(&key(1).public(), b"massage", &signature));
        for at in 0..SIGNATURE {
            let mut bad = signature;
            bad[at] ^= 1;
            assert!(!verify(&key(1).public(), b"message", &bad));
        }
    }

    #[test]
    fn keys_of_small_order_verify_nothing() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut forged = [0; SIGNATURE];
        forged[0] = 1;
        assert!(!verify(&identity, b"anything", &forged));
        assert!(!verify(&[0; 32], b"anything", &forged));
        assert!(!verify(&[0xff; 32], b"anything", &forged));
    }

    #[test]
    fn debug_shows_the_public_half_only() {
        let shown = format!("{:?}", key(0xab));
        assert!(shown.starts_with("AuthorKey(public ") && !shown.contains("abababab"));
    }
}
