//! BLAKE3 behind four functions, so that hashing has one door and one notation.

/// A 256-bit hash value.
pub type Digest = [u8; 32];

/// Plain BLAKE3 over the concatenation of `parts`.
pub fn hash(parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// `H(key, parts)`: keyed BLAKE3.
pub fn keyed_hash(key: &[u8; 32], parts: &[&[u8]]) -> Digest {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// Keyed BLAKE3 with output of any length, written into `out`.
pub fn keyed_xof(key: &[u8; 32], parts: &[&[u8]], out: &mut [u8]) {
    let mut hasher = blake3::Hasher::new_keyed(key);
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize_xof().fill(out);
}

/// BLAKE3 key derivation under a constant context `"lovage 2026 v1 <purpose>"`.
pub fn derive_key(context: &'static str, material: &[u8]) -> Digest {
    blake3::derive_key(context, material)
}

/// Key derivation with output of any length.
pub struct Derive;

impl Derive {
    /// Fill `out` from `material` under `context`.
    pub fn fill(context: &'static str, material: &[u8], out: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(material);
        hasher.finalize_xof().fill(out);
    }
}
