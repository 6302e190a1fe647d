//! The index of a closed arena: a mapped file that finds a place from an id's hash.
//!
//! Buckets of about eight entries in hash order; an entry is 8 bytes (18 bits of fingerprint, 26 of
//! offset, 20 of size), the directory half a byte a block: 8.5 bytes a block are touched by lookups.
//! The ids follow in the same order (32 bytes a block), read only when blocks are listed. Must never
//! be the only source of anything: it is rebuilt from the arena when missing or damaged.

use std::collections::HashSet;

use super::disk::{Disk, Mapping};
use super::header::ArenaHeader;
use super::record::Salt;
use super::table::{Place, spread};
use crate::base::{Bid, Context, Result};

const MAGIC: &[u8; 8] = b"LvIndex1";
const HEADER: usize = 64;
const PER_BUCKET: usize = 8;
const UNIT_BITS: u32 = 26;
const SIZE_BITS: u32 = 20;
/// Largest offset an index can hold, exclusive.
pub const MAX_OFFSET: u64 = 8 << UNIT_BITS;

/// A mapped index, and which of its entries have been deleted since it was written.
pub struct Sealed {
    map: Mapping,
    count: usize,
    buckets: usize,
    end: u64,
    dead: HashSet<u64>,
    dead_bytes: u64,
    live_bytes: u64,
}

/// The file name of the index of arena `number`.
pub fn index_name(number: u32) -> String {
    format!("{number:08x}.index")
}

/// Write the index of the arena `header` with records up to `end`, durably, replacing an older one.
/// The caller syncs the directory when it matters.
pub fn write(disk: &dyn Disk, header: &ArenaHeader, end: u64, blocks: &[(Bid, Place)]) -> Result<()> {
    let name = index_name(header.number);
    let draft = format!("{name}.new");
    let _ = disk.remove(&draft);
    let bytes = encode(header.number, header.salt, end, blocks);
    let file = disk.create(&draft).io("create index", || name.clone())?;
    file.write_at(&[&bytes], 0).io("write index", || name.clone())?;
    file.sync_data().io("sync index", || name.clone())?;
    disk.rename(&draft, &name).io("rename index", || name.clone())
}

/// The bytes of an index file.
pub fn encode(number: u32, salt: Salt, end: u64, blocks: &[(Bid, Place)]) -> Vec<u8> {
    let buckets = blocks.len().div_ceil(PER_BUCKET).max(1);
    let mut sorted: Vec<(usize, u64, &Bid, Place)> =
        blocks.iter().map(|(id, place)| (bucket(spread(id), buckets), spread(id), id, *place)).collect();
    sorted.sort_unstable_by_key(|(b, _, _, place)| (*b, place.offset));
    let mut out = vec![0; HEADER];
    let mut next = 0;
    for b in 0..=buckets {
        while sorted.get(next).is_some_and(|e| e.0 < b) {
            next += 1;
        }
        out.extend_from_slice(&u32::try_from(next).unwrap_or(u32::MAX).to_le_bytes());
    }
    for (_, hash, _, place) in &sorted {
        out.extend_from_slice(&pack(*hash, *place).to_le_bytes());
    }
    let ids_at = out.len();
    for (_, _, id, _) in &sorted {
        out.extend_from_slice(&id.0);
    }
    let live: u64 = blocks.iter().map(|(_, p)| u64::from(p.size)).sum();
    let count = u32::try_from(blocks.len()).unwrap_or(u32::MAX);
    let hot_crc = crc32c::crc32c(&out[HEADER..ids_at]);
    let ids_crc = crc32c::crc32c(&out[ids_at..]);
    out[..8].copy_from_slice(MAGIC);
    out[8..12].copy_from_slice(&number.to_le_bytes());
    out[12..16].copy_from_slice(&count.to_le_bytes());
    out[16..24].copy_from_slice(&salt);
    out[24..32].copy_from_slice(&end.to_le_bytes());
    out[32..40].copy_from_slice(&live.to_le_bytes());
    out[40..44].copy_from_slice(&hot_crc.to_le_bytes());
    out[44..48].copy_from_slice(&ids_crc.to_le_bytes());
    let crc = crc32c::crc32c(&out[..60]);
    out[60..64].copy_from_slice(&crc.to_le_bytes());
    out
}

fn bucket(hash: u64, buckets: usize) -> usize {
    usize::try_from(((hash >> 32) * buckets as u64) >> 32).unwrap_or(0)
}

fn fingerprint(hash: u64) -> u64 {
    hash & ((1 << (64 - UNIT_BITS - SIZE_BITS)) - 1)
}

fn pack(hash: u64, place: Place) -> u64 {
    fingerprint(hash) << (UNIT_BITS + SIZE_BITS) | (place.offset / 8) << SIZE_BITS | u64::from(place.size / 8)
}

fn unpack(entry: u64) -> Place {
    let unit = entry >> SIZE_BITS & ((1 << UNIT_BITS) - 1);
    let size = (entry & ((1 << SIZE_BITS) - 1)) * 8;
    Place { offset: unit * 8, size: u32::try_from(size).unwrap_or(0) }
}

impl Sealed {
    /// Map the index of an arena. `None` when it is missing, damaged, or of another arena.
    pub fn open(disk: &dyn Disk, header: &ArenaHeader) -> Option<Self> {
        let map = disk.map(&index_name(header.number)).ok()?;
        let head: [u8; HEADER] = map.get(..HEADER)?.try_into().ok()?;
        let word = |at: usize| head[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let long = |at: usize| head[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let ours = &head[..8] == MAGIC && word(60) == crc32c::crc32c(&head[..60]);
        if !ours || word(8) != header.number || head[16..24] != header.salt {
            return None;
        }
        let count = word(12) as usize;
        let buckets = count.div_ceil(PER_BUCKET).max(1);
        let (end, live_bytes) = (long(24), long(32));
        let sealed = Self { count, buckets, end, dead: HashSet::new(), dead_bytes: 0, live_bytes, map };
        let hot = sealed.map.get(HEADER..sealed.ids_at())?;
        let whole = sealed.map.len() == sealed.ids_at() + count * Bid::LEN;
        (whole && crc32c::crc32c(hot) == word(40)).then_some(sealed)
    }

    fn entries_at(&self) -> usize {
        HEADER + (self.buckets + 1) * 4
    }

    fn ids_at(&self) -> usize {
        self.entries_at() + self.count * 8
    }

    /// Records up to here are covered.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Live blocks.
    pub fn len(&self) -> usize {
        self.count - self.dead.len()
    }

    /// Bytes of live records.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes - self.dead_bytes
    }

    /// Whether blocks were deleted since the file was written.
    pub fn is_outdated(&self) -> bool {
        !self.dead.is_empty()
    }

    fn entry(&self, i: usize) -> Option<u64> {
        let at = self.entries_at() + i * 8;
        self.map.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn bound(&self, bucket: usize) -> usize {
        let at = HEADER + bucket * 4;
        let bytes = self.map.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u32::from_le_bytes) as usize
    }

    /// Places whose fingerprint matches `hash`: the right one if the block is here; a wrong one in
    /// one of 30 000 lookups of absent blocks.
    pub fn find(&self, hash: u64) -> impl Iterator<Item = Place> + '_ {
        let bucket = bucket(hash, self.buckets);
        (self.bound(bucket)..self.bound(bucket + 1).min(self.count))
            .filter_map(|i| self.entry(i))
            .filter(move |e| e >> (UNIT_BITS + SIZE_BITS) == fingerprint(hash))
            .map(unpack)
            .filter(|p| !self.dead.contains(&p.offset))
    }

    /// Mark the block at `place` deleted; says whether it was live.
    pub fn remove(&mut self, hash: u64, place: Place) -> bool {
        if !self.find(hash).any(|p| p.offset == place.offset) {
            return false;
        }
        self.dead_bytes += u64::from(place.size);
        self.dead.insert(place.offset)
    }

    /// Every live place, in hash order.
    pub fn places(&self) -> impl Iterator<Item = Place> + '_ {
        (0..self.count).filter_map(|i| self.entry(i)).map(unpack).filter(|p| !self.dead.contains(&p.offset))
    }

    /// Every live block with its place. `None` when the list of ids is damaged.
    pub fn blocks(&self) -> Option<Vec<(Bid, Place)>> {
        let ids = self.map.get(self.ids_at()..)?;
        let crc = self.map.get(44..48)?.try_into().map(u32::from_le_bytes).ok()?;
        if crc32c::crc32c(ids) != crc {
            return None;
        }
        let pairs = ids.chunks_exact(Bid::LEN).zip(0..self.count);
        let all = pairs.filter_map(|(id, i)| Some((Bid::from_slice(id)?, unpack(self.entry(i)?))));
        Some(all.filter(|(_, p)| !self.dead.contains(&p.offset)).collect())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::base::hash;

    fn blocks(n: u32) -> Vec<(Bid, Place)> {
        let place = |i: u32| Place { offset: u64::from(i + 1) * 512, size: 256 + i % 100 * 8 };
        (0..n).map(|i| (Bid(hash(&[&i.to_le_bytes()])), place(i))).collect()
    }

    fn open(bytes: Vec<u8>) -> Sealed {
        let count = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        let buckets = count.div_ceil(PER_BUCKET).max(1);
        Sealed { map: Box::new(bytes), count, buckets, end: 0, dead: HashSet::new(), dead_bytes: 0, live_bytes: 0 }
    }

    #[test]
    fn every_block_is_found_and_hardly_any_other() {
        for n in [0, 1, 7, 8, 9, 5000] {
            let all = blocks(n);
            let index = open(encode(1, [0; 8], 9, &all));
            for (id, place) in &all {
                assert!(index.find(spread(id)).any(|p| p == *place));
            }
            let strangers = (0..100_000u32).map(|i| spread(&Bid(hash(&[b"x", &i.to_le_bytes()]))));
            assert!(strangers.filter(|h| index.find(*h).next().is_some()).count() < 30, "n = {n}");
            assert_eq!(index.places().count(), n as usize);
            let mut listed = index.blocks().unwrap();
            listed.sort_by_key(|b| b.1.offset);
            assert_eq!(listed, all);
        }
    }

    #[test]
    fn a_block_takes_eight_and_a_half_bytes_and_its_id() {
        let bytes = encode(1, [0; 8], 9, &blocks(8000));
        assert_eq!((bytes.len() - HEADER - 4) * 2, 8000 * 81);
    }

    #[test]
    fn deleted_blocks_are_gone_once() {
        let all = blocks(100);
        let mut index = open(encode(1, [0; 8], 9, &all));
        let (id, place) = all[50];
        assert!(index.remove(spread(&id), place));
        assert!(!index.remove(spread(&id), place));
        assert_eq!((index.find(spread(&id)).count(), index.len(), index.blocks().unwrap().len()), (0, 99, 99));
    }

    #[test]
    fn the_largest_block_at_the_largest_offset_fits() {
        let size = u32::try_from(crate::kv::arena::record::size(crate::base::limits::MAX_BLOCK)).unwrap();
        let place = Place { offset: MAX_OFFSET - 8, size };
        assert_eq!(unpack(pack(u64::MAX, place)), place);
    }
}
