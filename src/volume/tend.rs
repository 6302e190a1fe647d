//! What the timekeeper does: settle files that lie still, write the journal, seal.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::Volume;
use super::api::Ino;
use super::content::{MANY_PIECES, SCATTERED};
use super::inode::Inode;
use crate::base::Result;
use crate::causal::NodeState;

/// Seal this long after the last seal if anything changed.
const SEAL_AFTER: Duration = Duration::from_secs(10);
/// Seal when the journal has grown by this many bytes.
const JOURNAL_MAX: u64 = 48 << 20;
/// A file nobody wrote to for this long is settled though it is open.
const STILL: u64 = 2_000_000_000;

/// Pieces that are left unsettled on closing, in all files together: the checkpoint carries them (some 100 bytes each).
const PUT_AWAY: usize = 1 << 17;

/// When things were last done.
#[derive(Debug)]
pub(super) struct Tended {
    sealed: Instant,
    /// Bytes stored until then since the volume was opened.
    stored: u64,
    /// Freed memory went back to the system.
    trimmed: Instant,
    pub expired: Option<Instant>,
}

impl Default for Tended {
    fn default() -> Self {
        Self { sealed: Instant::now(), stored: 0, trimmed: Instant::now(), expired: None }
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
        if unsealed > 0 && due || self.has_long_tail() {
            let stored = self.blocks.stat().sealed_bytes;
            self.seal()?;
            self.expire_if_due()?;
            self.collect_if_due()?;
            let mut tended = self.tended.lock();
            (tended.sealed, tended.stored) = (Instant::now(), stored);
            let trim = tended.trimmed.elapsed() >= SEAL_AFTER;
            if trim {
                tended.trimmed = Instant::now();
            }
            drop(tended);
            // What a busy time has left free goes back to the system now and then.
            if trim {
                self.trim();
            }
            return Ok(waiting || !self.ns.lock().unsealed.is_empty());
        }
        Ok(waiting || unsealed > 0)
    }

    /// Whether so much was stored since the last seal, perhaps for one big file that is still being written, that
    /// reading it again after a crash would take long.
    pub(super) fn has_long_tail(&self) -> bool {
        self.blocks.stat().sealed_bytes.saturating_sub(self.tended.lock().stored) >= self.options.tail_max
    }

    /// Nothing has changed for a while: give memory back.
    pub(super) fn rest(&self) {
        self.blocks.forget_caches();
        self.tree.forget_cache();
        self.ns.lock().table.sweep();
        self.trim();
    }

    fn trim(&self) {
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
            // A little ahead: written to since `now`. Far ahead: the clock was set back.
            let still = file.touched.is_none_or(|(_, at)| now.abs_diff(at.0) > STILL);
            let many = file.pieces.len() > MANY_PIECES;
            drop(inner);
            if (still || many)
                && let Err(error) = self.settle_unless(&inode, || self.closed.load(Ordering::Relaxed))
            {
                tracing::debug!("settling failed: {}", error.chain());
            }
            left |= inode.inner.lock().file.is_some();
        }
        left
    }

    /// Settle every file, whatever is going on.
    pub(super) fn settle_all(&self) -> Result<()> {
        self.settle_but(&HashSet::new())
    }

    fn settle_but(&self, these: &HashSet<Ino>) -> Result<()> {
        for inode in self.listed().into_iter().filter(|inode| !these.contains(&inode.ino)) {
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

    /// Before closing: everything becomes durable. A file in many pieces is journaled as it is and settled after the
    /// next start: settling it costs what lies between its pieces too, and whoever unmounts is waiting.
    pub(super) fn put_away(&self) -> Result<()> {
        let (mut room, mut away) = (PUT_AWAY, HashSet::new());
        for inode in self.listed() {
            let pieces = inode.inner.lock().file.as_ref().map_or(0, |file| file.pieces.len());
            if pieces > SCATTERED && pieces <= room && !self.is_streamed(&inode) {
                self.spill(&inode)?;
                self.commit(Some(&inode))?;
                room -= pieces;
                away.insert(inode.ino);
            }
        }
        self.settle_but(&away)?;
        let lsn = self.commit(None)?;
        self.blocks.log().sync(lsn)
    }

    pub(super) fn listed(&self) -> Vec<Arc<Inode>> {
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
