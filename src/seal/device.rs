//! The device's one secret and everything derived from it.
//!
//! Must never derive one key for two purposes, nor the same author for two volumes.

use std::fmt;
use std::sync::Arc;

use super::author::AuthorKey;
use super::context;
use super::local::LocalSealer;
use super::secret::Secret;
use crate::base::{DeviceId, VolumeId, hash, port::Entropy};

/// 32 random bytes that make this device itself. Lives in the keystore, never leaves the device.
#[derive(Clone)]
pub struct DeviceRoot(Secret);

impl DeviceRoot {
    /// From stored bytes.
    pub fn new(mut bytes: [u8; 32]) -> Self {
        Self(Secret::take(&mut bytes))
    }

    /// A new device.
    pub fn generate(entropy: &dyn Entropy) -> Self {
        Self(Secret::generate(entropy))
    }

    /// Seed of the Ed25519 identity that peers see.
    pub fn identity_seed(&self) -> Secret {
        self.0.derive(context::IDENTITY, &[])
    }

    /// `BLAKE3("dev1" || identity public key)`.
    pub fn device_id(&self) -> DeviceId {
        let public = AuthorKey::from_seed(&self.identity_seed()).public();
        DeviceId(hash(&[b"dev1", &public]))
    }

    /// Input keying material of the box key, to which epoch secrets are sealed for this device.
    pub fn box_seed(&self) -> Secret {
        self.0.derive(context::BOX, &[])
    }

    /// Key of what this device stores for itself in `volume`; see [`LocalSealer`].
    pub fn local_key(&self, volume: VolumeId) -> [u8; 32] {
        *self.0.derive(context::LOCAL, &[&volume.0]).expose()
    }

    /// [`LocalSealer`] under [`DeviceRoot::local_key`].
    pub fn local_sealer(&self, volume: VolumeId, entropy: Arc<dyn Entropy>) -> LocalSealer {
        LocalSealer::new(self.local_key(volume), entropy)
    }

    /// The key that signs this device's heads in `volume`. Another incarnation is another author.
    pub fn author_key(&self, volume: VolumeId, incarnation: u32) -> AuthorKey {
        AuthorKey::from_seed(&self.0.derive(context::AUTHOR, &[&volume.0, &incarnation.to_le_bytes()]))
    }

    /// The key that signs a volume's genesis and membership. The volume id depends on it, so it is
    /// derived from the genesis nonce instead.
    pub fn admin_key(&self, nonce: &[u8; 32]) -> AuthorKey {
        AuthorKey::from_seed(&self.0.derive(context::ADMIN, &[nonce]))
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.0
    }
}

impl fmt::Debug for DeviceRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceRoot(secret)")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::base::port::Seeded;

    const ONE: VolumeId = VolumeId([1; 16]);
    const TWO: VolumeId = VolumeId([2; 16]);

    #[test]
    fn every_derived_key_differs() {
        let root = DeviceRoot::new([7; 32]);
        let keys = [
            *root.identity_seed().expose(),
            *root.box_seed().expose(),
            root.local_key(ONE),
            root.local_key(TWO),
            root.author_key(ONE, 0).public(),
            root.author_key(ONE, 1).public(),
            root.author_key(TWO, 0).public(),
            root.admin_key(&[1; 32]).public(),
            root.admin_key(&[2; 32]).public(),
            *root.secret().expose(),
        ];
        let distinct: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(distinct.len(), keys.len());
    }

    #[test]
    fn a_device_is_the_same_each_time_and_unlike_any_other() {
        let entropy = Seeded::new(1);
        let (a, b) = (DeviceRoot::generate(&entropy), DeviceRoot::generate(&entropy));
        assert_eq!(a.device_id(), a.clone().device_id());
        assert_ne!(a.device_id(), b.device_id());
        assert_ne!(a.author_key(ONE, 0).public(), b.author_key(ONE, 0).public());
    }

    #[test]
    fn the_local_sealer_is_bound_to_its_volume() {
        let root = DeviceRoot::new([7; 32]);
        let entropy: Arc<dyn Entropy> = Arc::new(Seeded::new(1));
        let sealed = root.local_sealer(ONE, entropy.clone()).seal(b"", b"x").unwrap();
        assert!(root.local_sealer(ONE, entropy.clone()).open(b"", &sealed).is_ok());
        assert!(root.local_sealer(TWO, entropy).open(b"", &sealed).is_err());
    }

    #[test]
    fn debug_never_shows_the_root() {
        assert_eq!(format!("{:?}", DeviceRoot::new([0xab; 32])), "DeviceRoot(secret)");
    }
}
