//! Secrets sealed to one device's box key: X25519 with a fresh key on the sending side, then
//! XChaCha20-Poly1305.
//!
//! Must never accept a box key of small order, nor use one shared key for two messages.

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use super::device::DeviceRoot;
use super::secret::{EpochSecret, Secret};
use super::{aead, context};
use crate::base::{Error, Kind, Result, port::Entropy};

/// Bytes of a sealed 32-byte secret: `ephemeral public 32 || nonce 24 || ciphertext 32 || tag 16`.
pub const BOXED: usize = 32 + aead::XNONCE + 32 + aead::TAG;

/// The public box key of a device.
pub fn public(device: &DeviceRoot) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*device.box_seed().expose())).to_bytes()
}

/// Seal `secret` so that only the holder of box key `to` opens it, bound to `purpose`.
/// [`Kind::Invalid`] for a key of small order.
pub fn seal(to: &[u8; 32], purpose: &[u8], secret: &EpochSecret, entropy: &dyn Entropy) -> Result<[u8; BOXED]> {
    let mut ephemeral = Zeroizing::new([0; 32]);
    entropy.fill(&mut *ephemeral);
    let mine = StaticSecret::from(*ephemeral);
    let public = PublicKey::from(&mine).to_bytes();
    let key = agree(&mine, to, &public, to).ok_or_else(|| Error::new(Kind::Invalid, "seal to a device", "bad key"))?;
    let mut nonce = [0; aead::XNONCE];
    entropy.fill(&mut nonce);
    let mut out = public.to_vec();
    aead::xseal(key.expose(), nonce, &associated(purpose), secret.secret().expose(), &mut out)?;
    out.try_into().map_err(|_| Error::new(Kind::Other, "seal to a device", "length"))
}

/// Open what was sealed to `device` for `purpose`; [`Kind::Corrupt`] unless every byte agrees.
pub fn open(device: &DeviceRoot, purpose: &[u8], sealed: &[u8; BOXED]) -> Result<EpochSecret> {
    let refused = || Error::new(Kind::Corrupt, "open a box", "it is not for this device");
    let (theirs, rest) = sealed.split_first_chunk::<32>().ok_or_else(refused)?;
    let mine = StaticSecret::from(*device.box_seed().expose());
    let key = agree(&mine, theirs, theirs, &public(device)).ok_or_else(refused)?;
    let plain = Zeroizing::new(aead::xopen(key.expose(), &associated(purpose), rest)?);
    Ok(EpochSecret::new(plain.as_slice().try_into().map_err(|_| refused())?))
}

/// `KDF("box key", shared || ephemeral public || recipient public)`.
fn agree(mine: &StaticSecret, theirs: &[u8; 32], ephemeral: &[u8; 32], to: &[u8; 32]) -> Option<Secret> {
    let shared = mine.diffie_hellman(&PublicKey::from(*theirs));
    shared.was_contributory().then(|| Secret::take(&mut shared.to_bytes()).derive(context::BOX_KEY, &[ephemeral, to]))
}

fn associated(purpose: &[u8]) -> Vec<u8> {
    [&b"box1"[..], purpose].concat()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::base::port::Seeded;

    #[test]
    fn only_the_device_it_is_for_opens_a_box_and_only_for_its_purpose() {
        let (a, b) = (DeviceRoot::new([1; 32]), DeviceRoot::new([2; 32]));
        let secret = EpochSecret::new([9; 32]);
        let sealed = seal(&public(&a), b"p", &secret, &Seeded::new(1)).unwrap();
        assert_eq!(open(&a, b"p", &sealed).unwrap().secret().expose(), &[9; 32]);
        assert!(open(&b, b"p", &sealed).is_err());
        assert!(open(&a, b"q", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bad = sealed;
            bad[at] ^= 1;
            assert!(open(&a, b"p", &bad).is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_key_of_small_order_is_refused() {
        let secret = EpochSecret::new([9; 32]);
        assert_eq!(seal(&[0; 32], b"", &secret, &Seeded::new(1)).unwrap_err().kind(), Kind::Invalid);
        let mut one = [0; 32];
        one[0] = 1;
        assert!(seal(&one, b"", &secret, &Seeded::new(1)).is_err());
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        let (device, secret, entropy) = (DeviceRoot::new([1; 32]), EpochSecret::new([9; 32]), Seeded::new(1));
        let one = seal(&public(&device), b"", &secret, &entropy).unwrap();
        assert_ne!(one, seal(&public(&device), b"", &secret, &entropy).unwrap());
    }
}
