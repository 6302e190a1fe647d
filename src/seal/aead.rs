//! The two ciphers, in place: ChaCha20-Poly1305 for blocks, XChaCha20-Poly1305 where nonces are random.
//!
//! Must never choose a key or nonce; callers argue uniqueness.

use chacha20::ChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{ChaCha20Poly1305, KeyInit, Tag, XChaCha20Poly1305};

use crate::base::{Error, Kind, Result};

/// Bytes a cipher adds: the Poly1305 tag.
pub const TAG: usize = 16;
/// Bytes of a random nonce.
pub const XNONCE: usize = 24;

/// Encrypt `text` in place under a key that is used with this nonce for these bytes only.
pub fn encrypt(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], text: &mut [u8]) -> Result<[u8; TAG]> {
    let cipher = ChaCha20Poly1305::new(key.into());
    cipher.encrypt_inout_detached(&nonce.into(), aad, text.into()).map(Into::into).map_err(|_| too_long())
}

/// Verify and decrypt `text` in place. On refusal ([`Kind::Corrupt`]) it is unchanged.
pub fn decrypt(key: &[u8; 32], nonce: [u8; 12], aad: &[u8], text: &mut [u8], tag: [u8; TAG]) -> Result<()> {
    let cipher = ChaCha20Poly1305::new(key.into());
    cipher.decrypt_inout_detached(&nonce.into(), aad, text.into(), &Tag::from(tag)).map_err(|_| refused())
}

/// Decrypt `text` in place without looking at a tag: for bytes that are known by other means to be exactly
/// those that were encrypted. The keystream is that of [`decrypt`] (RFC 8439: it starts at block 1).
pub fn decrypt_known(key: &[u8; 32], nonce: [u8; 12], text: &mut [u8]) -> Result<()> {
    decrypt_known_at(key, nonce, 0, text)
}

/// As [`decrypt_known`], for the part of a text that starts `at` bytes behind its beginning.
pub fn decrypt_known_at(key: &[u8; 32], nonce: [u8; 12], at: usize, text: &mut [u8]) -> Result<()> {
    let mut cipher = ChaCha20::new(key.into(), &nonce.into());
    cipher.try_seek((at as u64).saturating_add(64)).map_err(|_| refused())?;
    cipher.try_apply_keystream(text).map_err(|_| too_long())
}

/// Append `nonce || ciphertext || tag` of `plain` to `out`; the nonce must be fresh and random.
pub fn xseal(key: &[u8; 32], nonce: [u8; XNONCE], aad: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<()> {
    out.reserve(XNONCE.saturating_add(plain.len()).saturating_add(TAG));
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(plain);
    let text = out.get_mut(start..).unwrap_or_default();
    let cipher = XChaCha20Poly1305::new(key.into());
    let tag = cipher.encrypt_inout_detached(&nonce.into(), aad, text.into()).map_err(|_| too_long())?;
    out.extend_from_slice(&tag);
    Ok(())
}

/// Undo [`xseal`]: verify and return the plain bytes, or [`Kind::Corrupt`].
pub fn xopen(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let (nonce, rest) = sealed.split_first_chunk::<XNONCE>().ok_or_else(refused)?;
    let (text, tag) = rest.split_last_chunk::<TAG>().ok_or_else(refused)?;
    let mut plain = text.to_vec();
    let cipher = XChaCha20Poly1305::new(key.into());
    cipher
        .decrypt_inout_detached(&(*nonce).into(), aad, plain.as_mut_slice().into(), &Tag::from(*tag))
        .map_err(|_| refused())?;
    Ok(plain)
}

fn refused() -> Error {
    Error::new(Kind::Corrupt, "open sealed bytes", "authentication failed")
}

fn too_long() -> Error {
    Error::new(Kind::TooBig, "seal", "longer than the cipher allows")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_with_the_same_key_and_associated_data() {
        let mut out = b"kept".to_vec();
        xseal(&[1; 32], [2; XNONCE], b"aad", b"plain", &mut out).unwrap();
        let sealed = out.strip_prefix(b"kept").unwrap();
        assert_eq!(xopen(&[1; 32], b"aad", sealed).unwrap(), b"plain");
        for (key, aad) in [([2; 32], b"aad"), ([1; 32], b"bad")] {
            assert_eq!(xopen(&key, aad, sealed).unwrap_err().kind(), Kind::Corrupt);
        }
        assert_eq!(xopen(&[1; 32], b"aad", &sealed[..XNONCE + TAG - 1]).unwrap_err().kind(), Kind::Corrupt);
        assert_eq!(xopen(&[1; 32], b"aad", &[]).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn known_bytes_decrypt_as_verified_ones_do() {
        for len in [0, 1, 63, 64, 65, 4096, 200_000] {
            let plain: Vec<u8> = (0..len).map(|n: u32| n.to_le_bytes()[0]).collect();
            let mut text = plain.clone();
            encrypt(&[1; 32], [3; 12], b"aad", &mut text).unwrap();
            let mut end = text.split_off(text.len() / 3);
            let at = text.len();
            decrypt_known_at(&[1; 32], [3; 12], at, &mut end).unwrap();
            assert!(end == plain[at..]);
            decrypt_known(&[1; 32], [3; 12], &mut text).unwrap();
            assert!(text == plain[..at]);
        }
    }

    #[test]
    fn a_refused_text_is_left_as_it_was() {
        let mut text = *b"some text";
        let tag = encrypt(&[1; 32], [0; 12], b"", &mut text).unwrap();
        let sealed = text;
        assert!(decrypt(&[2; 32], [0; 12], b"", &mut text, tag).is_err());
        assert_eq!(text, sealed);
        decrypt(&[1; 32], [0; 12], b"", &mut text, tag).unwrap();
        assert_eq!(&text, b"some text");
    }
}
