//! The record: a 56-byte header, the payload, zeros up to a multiple of 8.
//!
//! The header's checksum is salted with the arena's random salt and the record's offset, so bytes
//! that merely look like a record (a copy of another arena, say) never pass as one. Must never
//! accept a header whose checksum fails, and never trust a length before it passed.

use crate::base::Bid;

/// Bytes of a record header.
pub const HEADER: usize = 56;
/// Records start at multiples of this.
pub const ALIGN: u64 = 8;
/// Largest payload of a journal entry, checkpoint or tombstone, in bytes.
pub const MAX_PAYLOAD: usize = 64 << 20;
const MAGIC: u32 = u32::from_le_bytes(*b"LvRc");

/// Random bytes of one arena, part of every checksum in it.
pub type Salt = [u8; 8];

/// What a record holds.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// A sealed block under its id.
    Block = 1,
    /// An entry of the journal.
    Journal = 2,
    /// 8 bytes of covered position, then the checkpoint.
    Checkpoint = 3,
    /// A list of deleted records.
    Tombstone = 4,
}

impl Type {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Block, Self::Journal, Self::Checkpoint, Self::Tombstone].into_iter().find(|t| *t as u8 == byte)
    }
}

/// A decoded, checked header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// What follows.
    pub kind: Type,
    /// Payload bytes.
    pub len: u32,
    /// CRC-32C of the payload.
    pub payload_crc: u32,
    /// The block's id; zeros for other types.
    pub id: Bid,
    /// When this was written, everything in this arena before `durable * 8` was on the disk. Lets
    /// recovery tell a damaged record that was once acknowledged from a torn tail.
    pub durable: u32,
}

/// Bytes a record with this payload occupies.
pub fn size(len: usize) -> u64 {
    (HEADER as u64 + len as u64).next_multiple_of(ALIGN)
}

impl Header {
    /// Bytes the record occupies.
    pub fn size(&self) -> u64 {
        size(self.len as usize)
    }

    /// The header's bytes when the record stands at `offset`.
    pub fn encode(&self, salt: Salt, offset: u64) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4] = self.kind as u8;
        out[8..12].copy_from_slice(&self.len.to_le_bytes());
        out[12..16].copy_from_slice(&self.payload_crc.to_le_bytes());
        out[16..48].copy_from_slice(&self.id.0);
        out[48..52].copy_from_slice(&self.durable.to_le_bytes());
        let crc = checksum(&out[..52], salt, offset);
        out[52..56].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Decode and check. `None` for anything that is not a header written at exactly this place.
    pub fn decode(bytes: &[u8], salt: Salt, offset: u64) -> Option<Self> {
        let bytes: &[u8; HEADER] = bytes.get(..HEADER)?.try_into().ok()?;
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if word(0) != MAGIC || word(52) != checksum(&bytes[..52], salt, offset) {
            return None;
        }
        let header = Self {
            kind: Type::from_byte(bytes[4])?,
            len: word(8),
            payload_crc: word(12),
            id: Bid::from_slice(&bytes[16..48])?,
            durable: word(48),
        };
        (header.len as usize <= MAX_PAYLOAD).then_some(header)
    }

    /// Whether eight bytes could begin a header: the cheap test before [`Header::decode`].
    pub fn may_start(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC.to_le_bytes())
    }
}

fn checksum(bytes: &[u8], salt: Salt, offset: u64) -> u32 {
    let mut seed = [0; 16];
    seed[..8].copy_from_slice(&salt);
    seed[8..].copy_from_slice(&offset.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&seed), bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample() -> Header {
        Header { kind: Type::Block, len: 5, payload_crc: 7, id: Bid([9; 32]), durable: 3 }
    }

    #[test]
    fn a_header_round_trips_only_at_its_own_place() {
        let bytes = sample().encode([1; 8], 4096);
        assert_eq!(Header::decode(&bytes, [1; 8], 4096), Some(sample()));
        assert_eq!(Header::decode(&bytes, [1; 8], 4104), None, "another offset");
        assert_eq!(Header::decode(&bytes, [2; 8], 4096), None, "another arena");
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = sample().encode([1; 8], 64);
        for bit in 0..HEADER * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad, [1; 8], 64), None, "bit {bit}");
        }
    }

    #[test]
    fn zeros_are_not_a_record_and_sizes_are_aligned() {
        assert_eq!(Header::decode(&[0; HEADER], [0; 8], 0), None);
        assert_eq!(Header::decode(&[0; 3], [0; 8], 0), None);
        assert_eq!([size(0), size(1), size(8), size(9)], [56, 64, 64, 72]);
    }
}
