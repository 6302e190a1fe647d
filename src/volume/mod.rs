//! The live volume: file operations over an overlay, a journal and sealed trees.
//!
//! Rank 4. Synchronous and thread-safe; knows nothing of FUSE, sockets or the command line.
//!
//! Reads merge three layers: pieces of unsettled files and changed names in memory, over the sealed trees.
//! Writes change memory, then (settling) content becomes blocks, then (the journal) states become durable,
//! then (sealing) the trees take them over. Lock order: sealing, journal, a file's settling, storing, namespace, one inode.

pub mod api;
mod author;
mod brake;
mod check;
mod collect;
mod content;
mod copies;
mod elsewhere;
mod evict;
mod exchange;
mod expected;
mod figures;
mod filesystem;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod golden;
mod heads;
mod incoming;
mod inode;
mod journal;
mod lineage;
mod merge;
mod names;
mod namespace;
mod news;
mod notes;
mod offer;
mod ops;
mod options;
mod promises;
mod ranges;
mod reach;
mod reborn;
mod recovery;
mod room;
mod row;
mod sealing;
mod showing;
mod staging;
mod stat;
mod store;
mod table;
mod tend;
mod totals;
mod trash;
mod versions;
mod view;
mod work;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

pub use check::{Checked, Hit};
pub use collect::{Collected, Progress};
pub use copies::{Conflict, ConflictBase, ConflictVersion};
pub use elsewhere::Elsewhere;
pub use exchange::Announcement;
pub use expected::Expected;
pub use figures::Figures;
pub use filesystem::{FileSystem, Filler, Invalidate};
pub use merge::Merged;
pub use notes::Observer;
pub use offer::Offer;
pub use options::{Label, Options, Setup};
pub use reborn::Reborn;
pub use recovery::Opened;
pub use row::Totals;
pub use versions::Presence;

use crate::base::port::{Clock, Entropy};
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Error, Kind, Result, VolumeId, WriterIndex};
use crate::cas::{Blocks, Chunker};
use crate::seal::{LocalSealer, Sealer};
use crate::tree::Tree;
use api::Ino;
use content::Gauge;
use inode::Inode;
use namespace::Namespace;
use ops::Listings;
use table::Spread;
use work::{Bell, Threads, Work};

/// An open volume. Shared by `Arc`; [`Volume::close`] before dropping, or what was not synced is only in the
/// journal as far as the timekeeper came.
pub struct Volume {
    id: VolumeId,
    options: Options,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    blocks: Arc<Blocks>,
    tree: Tree,
    chunker: Chunker,
    sealer: Arc<Sealer>,
    local: LocalSealer,
    /// Lock order: `collecting`, `sealing`, `journal`, one inode's `settling`, `storing`, then `ns`, then one inode's
    /// own lock; `unsettled` and the gauge last.
    sealing: Mutex<()>,
    /// Held for reading from storing a block to referring to it; a collection begins in between.
    storing: RwLock<()>,
    collecting: Mutex<()>,
    /// Collections that began to delete.
    sweeps: AtomicU64,
    journal: Mutex<()>,
    ns: Mutex<Namespace>,
    /// Files with live content, by number.
    unsettled: Mutex<HashMap<Ino, Arc<Inode>, Spread>>,
    gauge: Gauge,
    brake: brake::Brake,
    room: room::Room,
    listings: Listings,
    work: Arc<Work>,
    bell: Arc<Bell>,
    threads: Threads,
    piece: AtomicU64,
    nudges: AtomicU64,
    garbage: AtomicU64,
    closed: AtomicBool,
    read_only: bool,
    /// This device is a member that may only read.
    only_reads: AtomicBool,
    dir: std::path::PathBuf,
    tended: Mutex<tend::Tended>,
    listeners: notes::Listeners,
    /// The last head as signed.
    announced: Mutex<Arc<[u8]>>,
    /// Blocks that others were told to rely on. Taken last.
    promises: Mutex<promises::Promises>,
    /// Taken last.
    lineage: Mutex<lineage::Lineage>,
    label: Label,
    /// Others know changes of this device that it does not.
    set_back: AtomicBool,
    /// Somebody else may have what is not here.
    others: AtomicBool,
    readers: content::Readers,
    /// Taken last.
    news: Mutex<news::Gathered>,
    /// The writers this device is and was. Taken last.
    own: RwLock<Vec<WriterIndex>>,
    /// The author's public key, for those who must not wait for `ns`. Taken last.
    public: RwLock<[u8; 32]>,
    /// Blocks may be fetched: absence is no damage once anybody else may have them.
    lazy: bool,
    /// Stores keep blocks as well.
    stored: AtomicBool,
    elsewhere: elsewhere::Rule,
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Volume({})", self.id)
    }
}

impl Volume {
    /// The volume's id.
    pub fn id(&self) -> VolumeId {
        self.id
    }

    /// The volume's block store.
    pub fn blocks(&self) -> &Arc<Blocks> {
        &self.blocks
    }

    /// Whether another device has, or ever had, this volume: then content may be elsewhere.
    pub fn is_shared(&self) -> bool {
        self.ns.lock().shared
    }

    /// Whether what is not here may be with others.
    fn is_lazy(&self) -> bool {
        self.lazy && (self.is_shared() || self.stored.load(Ordering::Acquire))
    }

    /// Stores beside the log keep blocks from now on: what is not here may be there.
    pub fn keep_in_stores(&self) {
        self.stored.store(true, Ordering::Release);
        self.others.store(self.lazy, Ordering::Release);
    }

    /// As [`Self::is_lazy`], for those who ask all the time.
    fn has_others(&self) -> bool {
        self.others.load(Ordering::Acquire)
    }

    /// Whether a person or a program may change something here.
    fn check_writable(&self) -> Result<()> {
        self.check_open()?;
        if self.only_reads.load(Ordering::Acquire) {
            let error = Error::new(Kind::ReadOnly, "change volume", self.id.to_string());
            return Err(error.with_source("this device may only read it"));
        }
        Ok(())
    }

    /// Whether what others changed can be taken in here.
    fn check_open(&self) -> Result<()> {
        if self.read_only || self.closed.load(Ordering::Acquire) {
            return Err(Error::new(Kind::ReadOnly, "change volume", self.id.to_string()));
        }
        Ok(())
    }

    /// This device may only read, or may write after all: then operations that change something fail with
    /// [`Kind::ReadOnly`]. What others do comes in either way.
    pub fn only_read(&self, only: bool) {
        self.only_reads.store(only, Ordering::Release);
    }

    /// An id that tells one piece of live content from any other.
    fn next_piece(&self) -> u64 {
        self.piece.fetch_add(1, Ordering::Relaxed)
    }

    /// Everything acknowledged so far is durable when this returns.
    pub fn sync_all(&self) -> Result<()> {
        self.settle_all()?;
        let lsn = self.commit(None)?;
        self.blocks.log().sync(lsn)
    }

    /// Seal, stop the threads, close the log. Later changes fail. The first error is returned; everything
    /// that can still be done is done.
    pub fn close(&self) -> Result<()> {
        if self.closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let synced = self.put_away().and_then(|()| self.seal());
        self.save_lineage(true);
        self.bell.close();
        self.work.close();
        self.threads.join();
        if let Err(error) = self.blocks.flush_index() {
            tracing::warn!("the dedup index was not saved; it will be learnt again: {}", error.chain());
        }
        synced.and_then(|()| self.blocks.log().close())
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.bell.close();
        self.work.close();
    }
}
