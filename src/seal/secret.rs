//! Secret byte strings: wiped when dropped, never printed.
//!
//! Must never implement `Display`, `Serialize` or a `Debug` that shows content.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::base::{derive_key, port::Entropy};

/// 32 secret bytes. The only form in which key material is held.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Take the bytes; the caller's copy is wiped.
    pub(super) fn take(bytes: &mut [u8; 32]) -> Self {
        let secret = Self(*bytes);
        bytes.zeroize();
        secret
    }

    /// Draw 32 unpredictable bytes.
    pub(super) fn generate(entropy: &dyn Entropy) -> Self {
        let mut secret = Self([0; 32]);
        entropy.fill(&mut secret.0);
        secret
    }

    /// `KDF(context, self || suffix)`. Suffixes are of fixed length for a given context.
    pub(super) fn derive(&self, context: &'static str, suffix: &[&[u8]]) -> Self {
        let mut material = zeroize::Zeroizing::new(Vec::with_capacity(96));
        material.extend_from_slice(&self.0);
        for part in suffix {
            material.extend_from_slice(part);
        }
        Self(derive_key(context, &material))
    }

    /// `KDF(context, public)`: key-shaped, but only as secret as `public` is.
    pub(super) fn from_public(context: &'static str, public: &[u8]) -> Self {
        Self(derive_key(context, public))
    }

    /// The bytes, for use as a key.
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// The random secret of one epoch of one volume: everything a reader needs to read what it sealed.
#[derive(Clone)]
pub struct EpochSecret(Secret);

impl EpochSecret {
    /// From bytes received or stored.
    pub fn new(mut bytes: [u8; 32]) -> Self {
        Self(Secret::take(&mut bytes))
    }

    /// A fresh one, for a new volume or epoch.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(Secret::generate(entropy))
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for EpochSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EpochSecret(secret)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::base::port::Seeded;

    #[test]
    fn debug_never_shows_a_secret() {
        assert_eq!(format!("{:?}", Secret::take(&mut [0xab; 32])), "(secret)");
        assert_eq!(format!("{:?}", EpochSecret::new([0xab; 32])), "EpochSecret(secret)");
    }

    #[test]
    fn taking_a_secret_wipes_the_source() {
        let mut bytes = [7; 32];
        let secret = Secret::take(&mut bytes);
        assert_eq!((bytes, *secret.expose()), ([0; 32], [7; 32]));
    }

    #[test]
    fn generated_secrets_differ() {
        let entropy = Seeded::new(1);
        let (a, b) = (EpochSecret::generate(&entropy), EpochSecret::generate(&entropy));
        assert_ne!(a.secret().expose(), b.secret().expose());
    }

    #[test]
    fn derivation_depends_on_context_and_suffix() {
        let root = Secret::take(&mut [1; 32]);
        let a = root.derive("lovage 2026 v1 test a", &[]);
        let b = root.derive("lovage 2026 v1 test b", &[]);
        let c = root.derive("lovage 2026 v1 test a", &[b"x"]);
        assert!(a.expose() != b.expose() && a.expose() != c.expose() && b.expose() != c.expose());
    }
}
