//! Deleting blocks while others are being stored.
//!
//! Between a garbage collector's decision and the deletion, `put` may answer with the very block that
//! is to go. Must never delete a block that `put` returned since the mark began.

use std::collections::HashSet;

use super::Blocks;
use crate::base::sync::{Mutex, RwLock, RwLockReadGuard};
use crate::base::{Bid, Result};

/// Blocks deleted in one go; `put` waits that long at most.
const BATCH: usize = 512;

/// The ids `put` returned since a mark began, if one is under way.
///
/// Lock order: the outer lock (shared by `put` from its look into the log to its note, exclusive for a
/// deletion), then the inner one.
#[derive(Default)]
pub(super) struct Sweep(RwLock<Option<Mutex<HashSet<Bid>>>>);

/// One `put` under way: no deletion happens meanwhile.
pub(super) struct Turn<'a>(RwLockReadGuard<'a, Option<Mutex<HashSet<Bid>>>>);

impl Sweep {
    pub(super) fn enter(&self) -> Turn<'_> {
        Turn(self.0.read())
    }
}

impl Turn<'_> {
    /// This id was found or stored and will be relied on.
    pub(super) fn note(&self, bid: &Bid) {
        if let Some(noted) = &*self.0 {
            noted.lock().insert(*bid);
        }
    }
}

impl Blocks {
    /// A mark begins: from now on [`Self::sweep`] spares every block that `put` returns. Begin before
    /// reading the roots to mark from. 32 bytes of memory a block put until [`Self::end_mark`].
    pub fn begin_mark(&self) {
        *self.sweep.0.write() = Some(Mutex::default());
    }

    /// Delete the blocks of `ids` that were not put since [`Self::begin_mark`]; returns the bytes freed.
    /// Does nothing outside a mark. Holds up `put` for one batch at a time.
    pub fn sweep(&self, ids: &[Bid]) -> Result<u64> {
        let mut freed = 0;
        for batch in ids.chunks(BATCH) {
            let noted = self.sweep.0.write();
            let Some(noted) = noted.as_ref().map(Mutex::lock) else { break };
            let dead: Vec<Bid> = batch.iter().filter(|bid| !noted.contains(*bid)).copied().collect();
            freed += self.log.delete(&dead)?;
        }
        Ok(freed)
    }

    /// Delete local copies of blocks that somebody else keeps; returns the bytes freed. Holds up `put` for one batch at
    /// a time, so that a block found here stays until whoever found it has its answer. Decoded copies in memory stay.
    pub fn evict(&self, ids: &[Bid]) -> Result<u64> {
        let mut freed = 0;
        for batch in ids.chunks(BATCH) {
            let _alone = self.sweep.0.write();
            freed += self.log.delete(batch)?;
        }
        Ok(freed)
    }

    /// Whether a block is here and stays through a collection that is under way: to be asked before telling others
    /// that they may rely on it.
    pub fn hold(&self, bid: &Bid) -> bool {
        let turn = self.sweep.enter();
        let here = self.log.contains(bid) && !self.is_damaged(bid);
        if here {
            turn.note(bid);
        }
        here
    }

    /// The mark is over, done or given up.
    pub fn end_mark(&self) {
        *self.sweep.0.write() = None;
    }
}

#[cfg(test)]
mod tests;
