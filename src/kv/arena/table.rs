//! The in-memory index of an unsealed arena: open addressing, 16 bytes a slot.
//!
//! Maps a 64-bit hash of an id to places; whoever asks compares the id at the place. Must never
//! hold ids (a million of them would be 32 MB).

use super::record::Header;
use crate::base::Bid;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place {
    /// Byte offset of the record in its arena, a multiple of 8.
    pub offset: u64,
    /// Bytes of the whole record, a multiple of 8.
    pub size: u32,
}

impl Place {
    /// The place of a record.
    pub fn new(offset: u64, header: &Header) -> Self {
        Self { offset, size: u32::try_from(header.size()).unwrap_or(u32::MAX) }
    }

    /// Offset behind the record.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.size)
    }
}

#[derive(Clone, Copy)]
struct Slot {
    hash: u64,
    /// Offset / 8; 0 is an empty slot (records never stand there), `GONE` a removed one.
    unit: u32,
    size: u32,
}

const EMPTY: Slot = Slot { hash: 0, unit: 0, size: 0 };
const GONE: u32 = u32::MAX;

/// Hash table of places.
#[derive(Default)]
pub struct Table {
    slots: Vec<Slot>,
    used: usize,
    live: usize,
}

/// Spread an id over 64 bits. Real ids are uniform already; those of tests need not be.
pub fn spread(id: &Bid) -> u64 {
    id.0.chunks_exact(8).fold(0x9e37_79b9_7f4a_7c15, |h: u64, chunk| {
        let word = chunk.try_into().map_or(0, u64::from_le_bytes);
        let mixed = (h ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93);
        (mixed ^ (mixed >> 32)).wrapping_mul(0xff51_afd7_ed55_8ccd) ^ (mixed >> 29)
    })
}

impl Table {
    /// Number of places.
    pub fn len(&self) -> usize {
        self.live
    }

    /// Add a place. Several may share a hash.
    pub fn insert(&mut self, hash: u64, place: Place) {
        if (self.used + 1) * 4 > self.slots.len() * 3 {
            self.grow();
        }
        let unit = u32::try_from(place.offset / 8).unwrap_or(GONE);
        self.insert_slot(Slot { hash, unit, size: place.size });
    }

    fn insert_slot(&mut self, slot: Slot) {
        let mask = self.slots.len() - 1;
        let mut at = start(slot.hash, mask);
        while self.slots[at].unit != 0 {
            at = (at + 1) & mask;
        }
        self.slots[at] = slot;
        self.used += 1;
        self.live += 1;
    }

    fn grow(&mut self) {
        let capacity = ((self.live + 1) * 2).next_power_of_two().max(64);
        let old = std::mem::replace(&mut self.slots, vec![EMPTY; capacity]);
        (self.used, self.live) = (0, 0);
        for slot in old.into_iter().filter(|s| s.unit != 0 && s.unit != GONE) {
            self.insert_slot(slot);
        }
    }

    /// All places under `hash`.
    pub fn find(&self, hash: u64) -> impl Iterator<Item = Place> + '_ {
        let mask = self.slots.len().wrapping_sub(1);
        let first = start(hash, mask);
        (0..self.slots.len())
            .map(move |i| &self.slots[(first + i) & mask])
            .take_while(|s| s.unit != 0)
            .filter(move |s| s.hash == hash && s.unit != GONE)
            .map(Slot::place)
    }

    /// Forget the place at `offset`; says whether it was there.
    pub fn remove(&mut self, hash: u64, offset: u64) -> bool {
        let mask = self.slots.len().wrapping_sub(1);
        let first = start(hash, mask);
        for i in 0..self.slots.len() {
            let slot = &mut self.slots[(first + i) & mask];
            if slot.unit == 0 {
                return false;
            }
            if slot.hash == hash && slot.unit != GONE && slot.place().offset == offset {
                slot.unit = GONE;
                self.live -= 1;
                return true;
            }
        }
        false
    }

    /// Every place, in no order.
    pub fn iter(&self) -> impl Iterator<Item = Place> + '_ {
        self.slots.iter().filter(|s| s.unit != 0 && s.unit != GONE).map(Slot::place)
    }
}

impl Slot {
    fn place(&self) -> Place {
        Place { offset: u64::from(self.unit) * 8, size: self.size }
    }
}

#[allow(clippy::cast_possible_truncation)]
fn start(hash: u64, mask: usize) -> usize {
    hash as usize & mask
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn slots_stay_small() {
        assert_eq!(size_of::<Slot>(), 16);
    }

    #[test]
    fn places_are_found_until_removed_also_when_hashes_collide() {
        let mut table = Table::default();
        assert_eq!(table.find(1).count(), 0);
        for i in 1..=1000u64 {
            table.insert(i % 10, Place { offset: i * 8, size: 8 });
        }
        assert_eq!(table.find(3).count(), 100);
        assert!(table.remove(3, 13 * 8));
        assert!(!table.remove(3, 13 * 8));
        assert_eq!((table.find(3).count(), table.len(), table.iter().count()), (99, 999, 999));
    }

    #[test]
    fn removing_and_adding_for_ever_does_not_fill_the_table() {
        let mut table = Table::default();
        for i in 1..100_000u64 {
            table.insert(i, Place { offset: i * 8, size: 8 });
            assert!(table.remove(i, i * 8));
        }
        assert!(table.slots.len() <= 128, "{}", table.slots.len());
    }
}
