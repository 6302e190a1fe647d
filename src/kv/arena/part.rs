//! Reading a part of a block, by what was kept beside it.
//!
//! Must never look at a record's header for it, nor promise that the bytes are right: the caller verifies
//! both what was kept and what was read, and reads the whole block if either is not as it should be.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::append::{Entry, Space};
use super::arena_file::Arena;
use super::log::Log;
use super::record::HEADER;
use super::table::{Place, spread};
use crate::base::{Bid, Context, Error, Kind, Result};

/// Bytes kept late, in memory until a checkpoint writes them, at most.
const LATE: usize = 16 << 20;

/// A block that can be read in part.
pub struct Parted {
    arena: Arc<Arena>,
    place: Place,
    /// What was kept beside it, unverified.
    pub aside: Vec<u8>,
}

impl Parted {
    /// Fill `out` from byte `at` of the payload on; unverified.
    pub fn read(&self, at: usize, out: &mut [u8]) -> Result<()> {
        let from = (HEADER + at) as u64;
        let short = || Error::new(Kind::Corrupt, "read part of block", self.arena.name());
        if from + out.len() as u64 > u64::from(self.place.size) {
            return Err(short());
        }
        let read = self.arena.file.read_once(out, self.place.offset + from).io("read block", || self.arena.name())?;
        if read == out.len() { Ok(()) } else { Err(short()) }
    }
}

impl Log {
    /// As [`Log::put`], with `aside` (see [`Log::part`]) kept beside the block.
    pub fn put_with(&self, id: &Bid, payload: &[u8], aside: &[u8]) -> Result<super::Lsn> {
        self.put_entry(&Entry { aside, ..Entry::block(*id, &[payload]) }, Space::Ordinary)
    }

    /// The block `id`, if something is kept beside it. No read of its record.
    pub fn part(&self, id: &Bid) -> Option<Parted> {
        let hash = spread(id);
        self.snapshot().values().rev().find_map(|arena| {
            let found = |place| Some((place, arena.aside(&*self.disk, place)?));
            let (place, aside) = arena.candidates(hash).find_map(found)?;
            Some(Parted { arena: Arc::clone(arena), place, aside })
        })
    }

    /// Keep `aside` beside a block that is here. A hint: dropped when too many have come lately.
    pub fn keep_aside(&self, id: &Bid, aside: &[u8]) {
        if aside.is_empty() || self.late.fetch_add(aside.len(), Ordering::Relaxed) > LATE {
            return;
        }
        for arena in self.snapshot().values().rev() {
            if let Some(place) = arena.candidates(spread(id)).next() {
                return arena.keep_aside(place, aside);
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::super::log::Options;
    use super::super::sim::SimDisk;
    use super::*;
    use crate::base::hash;

    fn open(disk: &SimDisk) -> Log {
        let options = Options { arena_size: 64 << 10, reserve: 4 << 10, ..Options::default() };
        Log::open(Arc::new(disk.clone()), options).unwrap().0
    }

    fn block(n: u32) -> (Bid, Vec<u8>) {
        let id = Bid(hash(&[&n.to_le_bytes()]));
        (id, id.0.repeat(100 + n as usize % 7))
    }

    fn is_right(log: &Log, n: u32) -> bool {
        let (id, payload) = block(n);
        log.part(&id).is_some_and(|part| {
            let mut out = [0; 100];
            part.read(77, &mut out).unwrap();
            part.aside == id.0[..9] && out == payload[77..177]
        })
    }

    fn fill(log: &Log, numbers: std::ops::Range<u32>) {
        for (id, payload) in numbers.map(block) {
            log.put_with(&id, &payload, &id.0[..9]).unwrap();
        }
    }

    #[test]
    fn parts_are_read_while_written_and_after_closing() {
        let disk = SimDisk::default();
        let log = open(&disk);
        fill(&log, 0..90);
        assert!((0..90).all(|n| is_right(&log, n)));
        log.checkpoint(b"").unwrap();
        fill(&log, 90..100);
        assert!((0..100).all(|n| is_right(&log, n)));
        log.close().unwrap();
        drop(log);
        let log = open(&disk);
        assert!((0..100).all(|n| is_right(&log, n)));
        assert!(log.part(&block(100).0).is_none());
    }

    #[test]
    fn a_block_without_one_gets_its_aside_later_and_keeps_it() {
        let disk = SimDisk::default();
        let log = open(&disk);
        for (id, payload) in (0..90).map(block) {
            log.put(&id, &payload).unwrap();
        }
        log.checkpoint(b"").unwrap();
        assert!((0..90).all(|n| log.part(&block(n).0).is_none()));
        (0..90).for_each(|n| log.keep_aside(&block(n).0, &block(n).0.0[..9]));
        assert!((0..90).all(|n| is_right(&log, n)));
        log.close().unwrap();
        drop(log);
        let log = open(&disk);
        assert!((0..90).all(|n| is_right(&log, n)));
    }

    #[test]
    fn a_deleted_block_has_no_part_and_compaction_takes_asides_along() {
        let disk = SimDisk::default();
        let log = open(&disk);
        fill(&log, 0..90);
        log.checkpoint(b"").unwrap();
        let dead: Vec<Bid> = (0..90).filter(|n| n % 10 > 0).map(|n| block(n).0).collect();
        log.delete(&dead).unwrap();
        log.checkpoint(b"").unwrap();
        assert!(log.part(&block(1).0).is_none());
        assert!(log.compact().unwrap().arenas > 0);
        assert!((0..9).all(|n| is_right(&log, n * 10)));
    }

    #[test]
    fn reading_beyond_the_record_is_refused() {
        let disk = SimDisk::default();
        let log = open(&disk);
        fill(&log, 0..1);
        let part = log.part(&block(0).0).unwrap();
        assert_eq!(part.read(3000, &mut [0; 300]).unwrap_err().kind(), Kind::Corrupt);
    }
}
