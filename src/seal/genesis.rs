//! Genesis: the first word of a volume, signed by its first admin. Its hash is the volume's id.
//!
//! Public to whoever holds the volume, storage included. Must never contain a secret, nor change.

use super::author::{self, AuthorKey, SIGNATURE};
use super::cursor::Cursor;
use crate::base::{Error, Kind, Result, VolumeId, hash, limits, port::Time};

const MAGIC: &[u8; 4] = b"gen1";
const CDC: u8 = 0;
const FIXED: u8 = 1;

/// How file content is cut into chunks, for the life of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunking {
    /// Content-defined, bounds and average in bytes.
    Cdc {
        /// Shortest chunk but the last.
        min: u32,
        /// Average.
        avg: u32,
        /// Longest chunk.
        max: u32,
    },
    /// Fixed sizes, where stored sizes must say little.
    Fixed,
}

impl Default for Chunking {
    fn default() -> Self {
        Self::Cdc { min: 32 << 10, avg: 128 << 10, max: 512 << 10 }
    }
}

/// Whether equal content is stored once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dedup {
    /// Equal content gives equal blocks within the volume.
    #[default]
    On,
    /// Every block is salted at random.
    Off,
}

/// The fixed facts of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Genesis {
    /// Public key of the first admin; signs the genesis and the first memberships.
    pub admin: [u8; 32],
    /// Random, makes the id unique; the admin key is derived from it.
    pub nonce: [u8; 32],
    /// A name people gave, at most 255 bytes, may be empty. Readable by storage: leave it empty if it tells.
    pub name: String,
    /// How content is cut.
    pub chunking: Chunking,
    /// Whether equal content is stored once.
    pub dedup: Dedup,
    /// When it was made, by the maker's clock.
    pub created: Time,
}

impl Genesis {
    /// Sign with the admin's key: the volume's id and the genesis as stored and sent.
    /// [`Kind::Invalid`] if `key` is not the admin's or a field is out of its bounds.
    pub fn sign(&self, key: &AuthorKey) -> Result<(VolumeId, Vec<u8>)> {
        let invalid = |what: &str| Error::new(Kind::Invalid, "make genesis", what);
        if key.public() != self.admin {
            return Err(invalid("not the admin's key"));
        }
        let mut out = self.encode().ok_or_else(|| invalid("chunk sizes or name out of bounds"))?;
        let id = id_of(&out);
        let signature = key.sign(&out);
        out.extend_from_slice(&signature);
        Ok((id, out))
    }

    /// Decode and verify. The caller compares the id with the one it expects. [`Kind::Corrupt`] otherwise.
    pub fn open(bytes: &[u8]) -> Result<(VolumeId, Self)> {
        let corrupt = |what: &str| Error::new(Kind::Corrupt, "open genesis", what);
        let (signed, signature) = bytes.split_last_chunk::<SIGNATURE>().ok_or_else(|| corrupt("too short"))?;
        let genesis = Self::decode(signed).ok_or_else(|| corrupt("malformed"))?;
        if !author::verify(&genesis.admin, signed, signature) {
            return Err(corrupt("not signed by its admin"));
        }
        Ok((id_of(signed), genesis))
    }

    fn encode(&self) -> Option<Vec<u8>> {
        let (kind, sizes) = match self.chunking {
            Chunking::Cdc { min, avg, max } => (CDC, [min, avg, max]),
            Chunking::Fixed => (FIXED, [0; 3]),
        };
        check_sizes(self.chunking)?;
        let name_len = u8::try_from(self.name.len()).ok()?;
        let mut out = Vec::with_capacity(91 + self.name.len() + SIGNATURE);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.admin);
        out.extend_from_slice(&self.nonce);
        out.extend_from_slice(&self.created.0.to_le_bytes());
        out.push(kind);
        out.extend(sizes.iter().flat_map(|n| n.to_le_bytes()));
        out.push(u8::from(self.dedup == Dedup::On));
        out.push(name_len);
        out.extend_from_slice(self.name.as_bytes());
        Some(out)
    }

    fn decode(signed: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(signed);
        cursor.magic(MAGIC)?;
        let (admin, nonce) = (cursor.array()?, cursor.array()?);
        let created = Time(cursor.array().map(i64::from_le_bytes)?);
        let kind = cursor.byte()?;
        let (min, avg, max) = (cursor.number()?, cursor.number()?, cursor.number()?);
        let chunking = match kind {
            CDC => Chunking::Cdc { min, avg, max },
            FIXED if (min, avg, max) == (0, 0, 0) => Chunking::Fixed,
            _ => return None,
        };
        check_sizes(chunking)?;
        let dedup = match cursor.byte()? {
            0 => Dedup::Off,
            1 => Dedup::On,
            _ => return None,
        };
        let name_len = usize::from(cursor.byte()?);
        let name = std::str::from_utf8(cursor.bytes(name_len)?).ok()?.to_owned();
        cursor.end()?;
        Some(Self { admin, nonce, name, chunking, dedup, created })
    }
}

/// 256 B <= min <= avg <= max, and two of the longest fit a block.
fn check_sizes(chunking: Chunking) -> Option<()> {
    match chunking {
        Chunking::Fixed => Some(()),
        Chunking::Cdc { min, avg, max } => {
            let bounded = usize::try_from(max).is_ok_and(|n| n <= limits::MAX_BLOCK / 2);
            (256 <= min && min <= avg && avg <= max && bounded).then_some(())
        }
    }
}

/// BLAKE3 of everything signed, truncated to 128 bits.
fn id_of(signed: &[u8]) -> VolumeId {
    let digest = hash(&[signed]);
    let (half, _) = digest.split_at(16);
    VolumeId::from_slice(half).unwrap_or(VolumeId([0; 16]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::seal::DeviceRoot;

    fn sample(name: &str, chunking: Chunking, dedup: Dedup) -> (Genesis, AuthorKey) {
        let key = DeviceRoot::new([1; 32]).admin_key(&[2; 32]);
        let genesis =
            Genesis { admin: key.public(), nonce: [2; 32], name: name.into(), chunking, dedup, created: Time(-5) };
        (genesis, key)
    }

    proptest! {
        #[test]
        fn a_genesis_opens_again(name in ".{0,60}", cdc: bool, off: bool, min in 256..9999_u32) {
            let chunking = if cdc { Chunking::Cdc { min, avg: min * 2, max: min * 4 } } else { Chunking::Fixed };
            let (genesis, key) = sample(&name, chunking, if off { Dedup::Off } else { Dedup::On });
            let (id, bytes) = genesis.sign(&key).unwrap();
            prop_assert_eq!(Genesis::open(&bytes).unwrap(), (id, genesis));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Genesis::open(&bytes).is_err());
            prop_assert!(Genesis::open(&[MAGIC.as_slice(), &bytes].concat()).is_err());
        }
    }

    #[test]
    fn every_flipped_byte_and_truncation_is_refused() {
        let (genesis, key) = sample("home", Chunking::default(), Dedup::On);
        let (_, bytes) = genesis.sign(&key).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            assert_eq!(Genesis::open(&bad).unwrap_err().kind(), Kind::Corrupt, "at {at}");
            assert!(Genesis::open(&bytes[..at]).is_err());
        }
    }

    #[test]
    fn any_difference_is_another_volume() {
        let id = |name, dedup| {
            let (genesis, key) = sample(name, Chunking::Fixed, dedup);
            genesis.sign(&key).unwrap().0
        };
        assert_eq!(id("a", Dedup::On), id("a", Dedup::On));
        assert!(id("a", Dedup::On) != id("b", Dedup::On) && id("a", Dedup::On) != id("a", Dedup::Off));
    }

    #[test]
    fn only_the_admin_signs_and_only_sound_fields() {
        let (genesis, key) = sample("home", Chunking::Fixed, Dedup::On);
        let other = DeviceRoot::new([9; 32]).admin_key(&[2; 32]);
        let kind = |g: &Genesis, k: &AuthorKey| g.sign(k).unwrap_err().kind();
        assert_eq!(kind(&genesis, &other), Kind::Invalid);
        assert_eq!(kind(&Genesis { name: "x".repeat(256), ..genesis.clone() }, &key), Kind::Invalid);
        for (min, avg, max) in [(1, 2, 3), (900, 800, 1000), (512, 2000, 1000), (512, 1024, 3 << 20)] {
            let chunking = Chunking::Cdc { min, avg, max };
            assert_eq!(kind(&Genesis { chunking, ..genesis.clone() }, &key), Kind::Invalid);
        }
    }
}
