//! Packs: many sealed blocks in one object, with an index at its end.
//!
//! Layout: the blocks, ordered by id; for each its id and its length (`u32`, little endian); eight bytes of magic.
//! The object is named by the hash of its index and by how many blocks it has, so its listing alone says where the
//! index begins, and index and blocks verify without trusting the service. Ordering by id hides which blocks were
//! written together: ids are hashes of ciphertext. Must never take a length from an index beyond what the object has.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::base::limits::MAX_BLOCK;
use crate::base::{Bid, Digest, hash};

/// A pack is closed when it would grow beyond this, in bytes of blocks.
pub const FULL: usize = 16 << 20;
/// And when it has so many blocks: bounds the index to 576 KiB.
pub const MOST: u32 = 16 << 10;

/// No object of a pack is larger, in bytes.
pub const LARGEST: u64 = (FULL + MAX_BLOCK + MOST as usize * ENTRY + MAGIC.len()) as u64;

const MAGIC: &[u8; 8] = b"lvgpack1";
const ENTRY: usize = Bid::LEN + 4;

/// Names a pack; verifies its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PackName {
    hash: Digest,
    count: u32,
}

/// Where a block is in its pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// From the start of the object, in bytes.
    pub offset: u32,
    /// In bytes.
    pub len: u32,
}

impl PackName {
    const LEN: usize = Bid::LEN + 4;

    /// From an object's name; `None` for anything but a pack's.
    pub fn parse(name: &str) -> Option<Self> {
        let (hash, count) = name.split_once('-')?;
        let count = u32::from_str_radix(count, 16).ok().filter(|count| (1..=MOST).contains(count))?;
        let parsed = Self { hash: Bid::from_hex(hash)?.0, count };
        (parsed.to_string() == name).then_some(parsed)
    }

    /// How many blocks it has: at least one, at most [`MOST`].
    pub fn count(&self) -> u32 {
        self.count
    }

    /// For files of this device's.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..Bid::LEN].copy_from_slice(&self.hash);
        bytes[Bid::LEN..].copy_from_slice(&self.count.to_le_bytes());
        bytes
    }

    /// The other way. `None` for anything else.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Option<Self> {
        let (hash, count) = bytes.split_at(Bid::LEN);
        let count = u32::from_le_bytes(count.try_into().ok()?);
        (1..=MOST).contains(&count).then_some(Self { hash: hash.try_into().ok()?, count })
    }

    /// Bytes of the index, at the end of the object.
    pub fn index_len(&self) -> u64 {
        u64::from(self.count) * ENTRY as u64 + MAGIC.len() as u64
    }
}

impl fmt::Display for PackName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:x}", Bid(self.hash), self.count)
    }
}

/// Put `blocks` into one object. They must fit: at most [`MOST`], within [`FULL`] unless it is one alone, none empty list.
pub fn build(mut blocks: Vec<(Bid, Bytes)>) -> (PackName, Bytes, Vec<(Bid, Span)>) {
    blocks.sort_unstable_by_key(|(id, _)| *id);
    blocks.dedup_by_key(|(id, _)| *id);
    let total: usize = blocks.iter().map(|(_, value)| value.len()).sum();
    let mut object = BytesMut::with_capacity(total + blocks.len() * ENTRY + MAGIC.len());
    let mut spans = Vec::with_capacity(blocks.len());
    for (id, value) in &blocks {
        spans.push((*id, Span { offset: small(object.len()), len: small(value.len()) }));
        object.put_slice(value);
    }
    let start = object.len();
    for (id, span) in &spans {
        object.put_slice(&id.0);
        object.put_u32_le(span.len);
    }
    object.put_slice(MAGIC);
    let name = PackName { hash: index_hash(&object[start..]), count: small(spans.len()) };
    (name, object.freeze(), spans)
}

/// The spans an index names, for an object of `size` bytes. `None` if it does not verify.
pub fn parse_index(name: PackName, size: u64, index: &[u8]) -> Option<Vec<(Bid, Span)>> {
    let entries = index.strip_suffix(MAGIC)?;
    if index.len() as u64 != name.index_len() || index_hash(index) != name.hash {
        return None;
    }
    let mut offset = 0_u32;
    let mut spans = Vec::with_capacity(name.count as usize);
    for entry in entries.chunks_exact(ENTRY) {
        let (id, len) = entry.split_at_checked(Bid::LEN)?;
        let len = u32::from_le_bytes(len.try_into().ok()?);
        if len as usize > MAX_BLOCK {
            return None;
        }
        spans.push((Bid::from_slice(id)?, Span { offset, len }));
        offset = offset.checked_add(len)?;
    }
    (u64::from(offset) + name.index_len() == size).then_some(spans)
}

/// A length within a pack: far below 4 GiB, as [`build`] asks of its callers.
fn small(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

fn index_hash(index: &[u8]) -> Digest {
    hash(&[b"pack1", index])
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks(lens: &[usize]) -> Vec<(Bid, Bytes)> {
        let value = |n: usize, len| Bytes::from(vec![n as u8; len]);
        lens.iter().enumerate().map(|(n, len)| (Bid(hash(&[&n.to_le_bytes()])), value(n, *len))).collect()
    }

    #[test]
    fn every_block_is_found_in_its_span_and_the_order_says_nothing() {
        let mut given = blocks(&[0, 5, 100_000, 1]);
        let (name, object, spans) = build(given.clone());
        let index = &object[object.len() - name.index_len() as usize..];
        assert_eq!(parse_index(name, object.len() as u64, index).unwrap(), spans);
        given.sort_unstable_by_key(|(id, _)| *id);
        for ((id, value), (named, span)) in given.iter().zip(&spans) {
            assert_eq!((id, &value[..]), (named, &object[span.offset as usize..][..span.len as usize]));
        }
        assert_eq!(build(blocks(&[0, 5, 100_000, 1]).into_iter().rev().collect()).1, object);
    }

    #[test]
    fn a_block_given_twice_is_there_once() {
        let twice: Vec<_> = blocks(&[7]).into_iter().chain(blocks(&[7])).collect();
        assert_eq!(build(twice).0.count(), 1);
    }

    #[test]
    fn names_round_trip_and_others_are_refused() {
        let (name, ..) = build(blocks(&[1, 2, 3]));
        assert_eq!(PackName::parse(&name.to_string()), Some(name));
        let upper = name.to_string().to_uppercase();
        for bad in ["", "x", "-3", &upper, &name.to_string().replace('-', "-0"), &name.to_string()[..64]] {
            assert_eq!(PackName::parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_changed_index_size_or_name_does_not_verify(at in 0_usize..116, bit in 0_u8..8, more in 1_u64..9) {
            let (name, object, _) = build(blocks(&[10, 20, 30]));
            let mut index = object[object.len() - name.index_len() as usize..].to_vec();
            prop_assert_eq!(parse_index(name, object.len() as u64 + more, &index), None);
            index[at] ^= 1 << bit;
            prop_assert_eq!(parse_index(name, object.len() as u64, &index), None);
        }

        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), count in 1_u32..5) {
            let name = PackName { hash: index_hash(&bytes), count };
            let _ = parse_index(name, bytes.len() as u64, &bytes);
        }
    }
}
