//! Compaction: the live blocks of nearly empty arenas move to the end of the log, the files go.
//!
//! Must never remove an arena before its live blocks, and the tombstones it holds for older arenas,
//! are durable elsewhere, nor one the next recovery would scan.

use std::sync::Arc;

use super::append::{Entry, Space};
use super::arena_file::Arena;
use super::aside::aside_name;
use super::delete::{Tombstone, tombstones};
use super::header::FIRST;
use super::index::index_name;
use super::log::{Arenas, Log};
use super::record::Type;
use super::scan::{Depth, Scanner, Step};
use crate::base::{Context, Result};

/// An arena is rewritten below this share of live bytes, in percent.
const LIVE_PERCENT: u64 = 30;

/// What a compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Arenas removed.
    pub arenas: u64,
    /// Bytes of live records moved.
    pub moved_bytes: u64,
    /// Arenas left alone because a block in them is damaged.
    pub damaged: u64,
}

impl Log {
    /// Rewrite closed arenas that are less than 30 % alive. Only arenas in front of the last
    /// checkpoint qualify. Stops at the first error; what was done stays done.
    pub fn compact(&self) -> Result<Compacted> {
        let mut done = Compacted::default();
        let oldest_kept = self.locator.lock().hint().scan_from.arena();
        for arena in self.snapshot().values() {
            let sparse =
                arena.live_bytes() * 100 < arena.end().saturating_sub(FIRST) * LIVE_PERCENT || arena.end() == FIRST;
            let active = self.append.lock().active.as_ref().is_some_and(|a| a.header.number == arena.header.number);
            if sparse && !active && arena.header.number < oldest_kept {
                self.compact_one(arena, &mut done)?;
            }
        }
        Ok(done)
    }

    /// The old places stay indexed until the file goes: an index written meanwhile must not forget
    /// blocks whose new copies are not durable yet.
    fn compact_one(&self, arena: &Arc<Arena>, done: &mut Compacted) -> Result<()> {
        let _upkeep = self.upkeep.lock();
        let mut moved = 0;
        for place in arena.places() {
            let Some((id, payload)) = arena.read_intact(place)? else {
                done.damaged += 1;
                return Ok(());
            };
            let aside = arena.aside(&*self.disk, place).unwrap_or_default();
            self.append(&Entry { again: true, aside: &aside, ..Entry::block(id, &[&payload]) }, Space::Ordinary)?;
            moved += u64::from(place.size);
        }
        self.carry_tombstones(arena)?;
        self.sync(self.end())?;
        self.drop_arena(arena)?;
        done.arenas += 1;
        done.moved_bytes += moved;
        Ok(())
    }

    /// Append again the tombstones in `arena` that name records of other arenas still here.
    fn carry_tombstones(&self, arena: &Arena) -> Result<()> {
        let mut scanner = Scanner::new(&*arena.file, arena.header.salt, FIRST, arena.end(), Depth::Headers);
        let arenas = self.snapshot();
        let mut carried: Vec<Tombstone> = Vec::new();
        loop {
            match scanner.step().io("scan arena", || arena.name())? {
                Step::Record { header, payload, .. } if header.kind == Type::Tombstone => {
                    let needed = |t: &Tombstone| t.arena != arena.header.number && arenas.contains_key(&t.arena);
                    carried.extend(tombstones(&payload).filter(needed));
                }
                Step::Record { .. } | Step::Damaged { .. } => {}
                Step::Broken { offset } => drop(scanner.resync(offset + 8).io("scan arena", || arena.name())?),
                Step::End => break,
            }
        }
        if !carried.is_empty() {
            self.append_tombstones(carried.iter())?;
        }
        Ok(())
    }

    fn drop_arena(&self, arena: &Arena) -> Result<()> {
        let number = arena.header.number;
        // The predecessor's end was written down only here: make its length say the same. This one's
        // too, should its removal not last.
        for end in [self.snapshot().get(&arena.header.previous).map(|a| &**a), Some(arena)].into_iter().flatten() {
            end.file.truncate(end.end()).io("trim arena", || end.name())?;
            end.file.sync_data().io("sync arena", || end.name())?;
        }
        self.disk.remove(&arena.name()).io("remove arena", || arena.name())?;
        Arc::<Arenas>::make_mut(&mut self.arenas.write()).remove(&number);
        let _ = self.disk.remove(&index_name(number));
        let _ = self.disk.remove(&aside_name(number));
        self.disk.sync_dir().io("sync directory", || arena.name())
    }
}
