//! What the timekeeper does: settle files that lie still, write the journal, seal.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Volume;
use super::content::MANY_PIECES;
use super::inode::Inode;
use crate::base::Result;
use crate::causal::NodeState;

/// Seal this long after the last seal if anything changed.
const SEAL_AFTER: Duration = Duration::from_secs(10);
/// Seal when the journal has grown by this many bytes.
const JOURNAL_MAX: u64 = 48 << 20;
/// A file nobody wrote to for this long is settled though it is open.
const STILL: i64 = 2_000_000_000;

/// When things were last done.
#[derive(Debug)]
pub(super) struct Tended {
    sealed: Instant,
    pub expired: Option<Instant>,
}

impl Default for Tended {
    fn default() -> Self {
        Self { sealed: Instant::now(), expired: None }
    }
}

impl Volume {
    /// One round. True: something is left for another round.
    pub(super) fn tend(&self) -> Result<bool> {
        if self.read_only {
            return Ok(false);
        }
        self.tell();
        // Settling a big file takes a while: what is there already does not wait for it.
        self.blocks.log().sync(self.commit(None)?)?;
        let waiting = self.settle_still();
        let lsn = self.commit(None)?;
        self.blocks.log().sync(lsn)?;
        let unsealed = self.ns.lock().unsealed.len();
        let due = self.tended.lock().sealed.elapsed() >= SEAL_AFTER
            || unsealed >= self.options.seal_at
            || self.blocks.log().journal_bytes_since_checkpoint() >= JOURNAL_MAX;
        if unsealed > 0 && due {
            self.seal()?;
            self.expire_if_due()?;
            self.collect_if_due()?;
            self.tended.lock().sealed = Instant::now();
            return Ok(waiting || !self.ns.lock().unsealed.is_empty());
        }
        Ok(waiting || unsealed > 0)
    }

    /// Nothing has changed for a while: give memory back.
    pub(super) fn rest(&self) {
        self.blocks.forget_caches();
        self.tree.forget_cache();
        self.ns.lock().table.sweep();
        if let Some(trim) = &self.options.trim {
            trim();
        }
    }

    /// Settle files that were not written to for a while. True: some are still being written.
    fn settle_still(&self) -> bool {
        let now = self.clock.now().0;
        let mut left = false;
        for inode in self.listed() {
            let mut inner = inode.inner.lock();
            let Some(file) = inner.file.as_mut() else {
                drop(inner);
                self.unlist(&inode);
                continue;
            };
            let still = file.touched.is_none_or(|(_, at)| now.saturating_sub(at.0) > STILL || at.0 > now);
            let many = file.pieces.len() > MANY_PIECES;
            drop(inner);
            if (still || many)
                && let Err(error) = self.settle(&inode)
            {
                tracing::debug!("settling failed: {}", error.chain());
            }
            left |= inode.inner.lock().file.is_some();
        }
        left
    }

    /// Settle every file, whatever is going on.
    pub(super) fn settle_all(&self) -> Result<()> {
        for inode in self.listed() {
            let mut tries = 0;
            while !self.settle(&inode)? && tries < 8 {
                tries += 1;
            }
            if inode.inner.lock().file.is_some() && tries == 8 {
                // Written to all the time: what it holds now goes to the journal as pieces.
                self.spill(&inode)?;
                self.commit(Some(&inode))?;
            }
        }
        Ok(())
    }

    fn listed(&self) -> Vec<Arc<Inode>> {
        self.unsettled.lock().values().cloned().collect()
    }

    /// Take a file without live content off the list. The order of the two locks is as everywhere: inode, list.
    fn unlist(&self, inode: &Arc<Inode>) {
        let inner = inode.inner.lock();
        if inner.file.is_none() {
            self.unsettled.lock().remove(&inode.ino);
        }
    }

    /// `bytes` of content are not reachable any more.
    pub(super) fn note_garbage(&self, bytes: u64) {
        self.garbage.fetch_add(bytes, Ordering::Relaxed);
    }

    /// The content of `state` is about to be replaced.
    pub(super) fn note_replaced(&self, state: &NodeState) {
        if let Some((_, version)) = state.shown() {
            self.note_garbage(version.size);
        }
    }

    /// `bytes` of it were collected.
    pub(super) fn forgive_garbage(&self, bytes: u64) {
        self.garbage.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn garbage_bytes(&self) -> u64 {
        self.garbage.load(Ordering::Relaxed)
    }
}
