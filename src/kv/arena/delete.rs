//! Deleting blocks: a durable tombstone first, then the payload's pages go back to the disk.
//!
//! Must never punch before the tombstone is durable (the hole would look like damage), and must leave
//! record headers in place (scans walk over them).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::append::{Entry, Space};
use super::arena_file::Arena;
use super::log::Log;
use super::record::{HEADER, Type};
use super::table::{Place, spread};
use crate::base::{Bid, Context, Result};

const PAGE: u64 = 4096;
const BYTES: usize = 48;
const ATTEMPTS: u32 = 8;
/// Tombstones in one record.
const BATCH: usize = 16 << 10;

/// One deleted record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// The arena it stands in.
    pub arena: u32,
    /// Where.
    pub place: Place,
    /// What it held.
    pub id: Bid,
}

impl Tombstone {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.arena.to_le_bytes());
        out.extend_from_slice(&self.place.size.to_le_bytes());
        out.extend_from_slice(&self.place.offset.to_le_bytes());
        out.extend_from_slice(&self.id.0);
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let offset = u64::from_le_bytes(bytes.get(8..16)?.try_into().ok()?);
        Some(Self {
            arena: word(0)?,
            place: Place { offset, size: word(4)? },
            id: Bid::from_slice(bytes.get(16..BYTES)?)?,
        })
    }
}

/// The tombstones in a record's payload.
pub fn tombstones(payload: &[u8]) -> impl Iterator<Item = Tombstone> + '_ {
    payload.chunks_exact(BYTES).filter_map(Tombstone::decode)
}

impl Log {
    /// Delete blocks and give their space back; absent ids are skipped. Returns the bytes freed (what
    /// only compaction can free is not counted). Durable when it returns; works on a full disk.
    ///
    /// The caller makes sure that nobody relies on these blocks, also through a `put` of an id that
    /// was found present meanwhile.
    pub fn delete(&self, ids: &[Bid]) -> Result<u64> {
        let _upkeep = self.upkeep.lock();
        let mut freed = 0;
        for batch in ids.chunks(BATCH) {
            // Again while there is something: a disk error meanwhile moves records.
            for _ in 0..ATTEMPTS {
                let mut dead = Vec::new();
                for id in batch {
                    self.copies(id, &mut dead);
                }
                if dead.is_empty() {
                    break;
                }
                self.bury(&dead)?;
                for (arena, tombstone) in dead {
                    freed += punch(&arena, tombstone.place)?;
                }
            }
        }
        Ok(freed)
    }

    /// Every copy of `id`, also the damaged ones an index still names.
    fn copies(&self, id: &Bid, out: &mut Vec<(Arc<Arena>, Tombstone)>) {
        for (number, arena) in self.snapshot().iter() {
            for place in arena.copies(spread(id), id) {
                out.push((Arc::clone(arena), Tombstone { arena: *number, place, id: *id }));
            }
        }
    }

    /// Write tombstones durably and forget the blocks.
    pub(super) fn bury(&self, dead: &[(Arc<Arena>, Tombstone)]) -> Result<()> {
        if dead.is_empty() {
            return Ok(());
        }
        let lsn = self.append_tombstones(dead.iter().map(|(_, t)| t))?;
        for (arena, tombstone) in dead {
            arena.forget(&tombstone.id, tombstone.place);
        }
        self.sync(lsn)
    }

    pub(super) fn append_tombstones<'a>(&self, dead: impl Iterator<Item = &'a Tombstone>) -> Result<super::Lsn> {
        let mut payload = Vec::new();
        dead.for_each(|t| t.encode(&mut payload));
        self.append(&Entry::other(Type::Tombstone, &[&payload]), Space::Reserve)
    }

    /// Write the index files that are missing or outdated, durably. Checkpoints need this: the
    /// tombstones before them are not read again.
    pub(super) fn settle_indexes(&self) -> Result<()> {
        let _upkeep = self.upkeep.lock();
        let active = self.append.lock().active.as_ref().map(|a| a.header.number);
        let mut written = false;
        self.late.store(0, Ordering::Relaxed);
        for (number, arena) in self.snapshot().iter() {
            if Some(*number) != active && arena.needs_index() {
                arena.seal(&*self.disk)?;
                written = true;
            } else if Some(*number) != active {
                arena.settle_asides(&*self.disk);
            }
        }
        if written {
            self.disk.sync_dir().io("sync directory", String::new)?;
        }
        Ok(())
    }
}

/// Free the whole pages inside the payload of the record at `place`.
fn punch(arena: &Arena, place: Place) -> Result<u64> {
    let from = (place.offset + HEADER as u64).next_multiple_of(PAGE);
    let to = place.end() / PAGE * PAGE;
    if to <= from {
        return Ok(0);
    }
    arena.file.punch(from, to - from).io("free deleted block", || arena.name())?;
    Ok(to - from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_round_trip_and_a_cut_one_is_ignored() {
        let one = Tombstone { arena: 3, place: Place { offset: 4096, size: 64 }, id: Bid([8; 32]) };
        let mut bytes = Vec::new();
        one.encode(&mut bytes);
        one.encode(&mut bytes);
        assert_eq!(bytes.len(), 2 * BYTES);
        assert_eq!(tombstones(&bytes[..BYTES + 9]).collect::<Vec<_>>(), [one]);
    }
}
