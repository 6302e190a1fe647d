//! The log's public face: put, get, journal, sync, checkpoint.
//!
//! Must never hold a lock across a read of a block, so readers do not wait for the writer.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::Lsn;
use super::append::{Appender, Entry, Space};
use super::arena_file::Arena;
use super::commit::Commit;
use super::disk::Disk;
use super::heal::Doubt;
use super::locator::Locator;
use super::record::Type;
use super::table::{Place, spread};
use crate::base::port::{Entropy, System};
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Context, Error, Kind, Result, limits};

/// How a log is laid out and behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// An arena is closed when it reaches this many bytes. At most 256 MiB.
    pub arena_size: u64,
    /// Bytes kept free in the active arena for journal, checkpoints, tombstones and
    /// [`Log::put_reserved`] once the disk is full.
    pub reserve: u64,
    /// Where salts come from.
    pub entropy: Arc<dyn Entropy>,
}

impl Default for Options {
    fn default() -> Self {
        Self { arena_size: 256 << 20, reserve: 4 << 20, entropy: Arc::new(System) }
    }
}

/// Counts of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Live blocks.
    pub blocks: u64,
    /// Bytes of their records.
    pub live_bytes: u64,
    /// Bytes of storage occupied by arenas, reserves included.
    pub disk_bytes: u64,
    /// Number of arenas.
    pub arenas: u64,
}

/// The arenas by number. Replaced whole, so readers take a snapshot and no lock.
pub(super) type Arenas = BTreeMap<u32, Arc<Arena>>;

/// The log. All methods take `&self` and may be called from many threads.
///
/// Lock order: `upkeep`, `append`, `locator`, then `commit`, `arenas` and an arena's own locks, each alone.
pub struct Log {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(super) arenas: RwLock<Arc<Arenas>>,
    pub(super) append: Mutex<Appender>,
    pub(super) commit: Commit,
    pub(super) locator: Mutex<Locator>,
    /// `Lsn` behind the last append.
    pub(super) end: AtomicU64,
    /// Journal bytes since the last checkpoint.
    pub(super) journal_bytes: AtomicU64,
    /// What must be verified before it is relied on.
    pub(super) doubt: Mutex<Doubt>,
    /// Held by delete, compact, scrub and the writing of index files.
    pub(super) upkeep: Mutex<()>,
    /// Bytes of asides that came after their blocks since the last checkpoint.
    pub(super) late: AtomicUsize,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("end", &self.end()).finish_non_exhaustive()
    }
}

impl Log {
    /// Whether a block is here. Absent ids cost no disk read; present ones a read of 56 bytes.
    /// A block whose record header is damaged counts as absent.
    pub fn contains(&self, id: &Bid) -> bool {
        self.find(id).is_ok_and(|found| found.is_some())
    }

    /// The payload stored under `id`, as stored: the caller verifies it against the id.
    ///
    /// [`Kind::Corrupt`] when its record header is damaged.
    pub fn get(&self, id: &Bid) -> Result<Option<Vec<u8>>> {
        let hash = spread(id);
        let mut damaged = None;
        for arena in self.snapshot().values().rev() {
            match arena.get(hash, id) {
                Ok(None) => {}
                Err(e) if e.kind() == Kind::Corrupt => damaged = Some(e),
                other => return other,
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// Append a block unless it is here. Returns the position to [`Log::sync`] to.
    ///
    /// One write system call and no copy of the payload. Errors: [`Kind::TooBig`], [`Kind::Full`],
    /// [`Kind::Io`]; after an error the block is not stored.
    pub fn put(&self, id: &Bid, payload: &[u8]) -> Result<Lsn> {
        self.put_with(id, payload, &[])
    }

    /// As [`Log::put`], for what must still be written on a full disk so that deleting can work:
    /// may use the reserve.
    pub fn put_reserved(&self, id: &Bid, payload: &[u8]) -> Result<Lsn> {
        self.put_entry(&Entry::block(*id, &[payload]), Space::Reserve)
    }

    pub(super) fn put_entry(&self, entry: &Entry<'_>, space: Space) -> Result<Lsn> {
        let (id, payload) = (&entry.id, *entry.parts.first().unwrap_or(&&[][..]));
        if payload.len() > limits::MAX_BLOCK {
            return Err(Error::new(Kind::TooBig, "store block", id.to_string()));
        }
        match self.find(id).unwrap_or(None) {
            None => self.append(entry, space),
            Some((arena, place)) if self.is_trusted(&arena, place) => Ok(arena.lsn(place.end())),
            Some((arena, place)) => self.check_or_heal(id, payload, &arena, place, space),
        }
    }

    /// Append a journal entry: after a crash it is there whole or not at all, and only if everything
    /// appended before it is there too. At most 64 MiB. May use the reserve of a full disk.
    pub fn append_journal(&self, payload: &[u8]) -> Result<Lsn> {
        let lsn = self.append(&Entry::other(Type::Journal, &[payload]), Space::Reserve)?;
        self.journal_bytes.fetch_add(payload.len() as u64, Ordering::Relaxed);
        Ok(lsn)
    }

    /// Payload bytes of journal entries appended since the last checkpoint.
    pub fn journal_bytes_since_checkpoint(&self) -> u64 {
        self.journal_bytes.load(Ordering::Relaxed)
    }

    /// The position behind the last append.
    pub fn end(&self) -> Lsn {
        Lsn(self.end.load(Ordering::Acquire))
    }

    /// Store a checkpoint that covers every journal entry appended before this call; durable, with
    /// everything before it, when it returns.
    pub fn checkpoint(&self, payload: &[u8]) -> Result<()> {
        self.checkpoint_covering(self.end(), payload)
    }

    /// Store a checkpoint that covers the journal up to `covers` (a value [`Log::end`] or an append
    /// returned): entries appended later are still replayed, also those before the checkpoint itself.
    pub fn checkpoint_covering(&self, covers: Lsn, payload: &[u8]) -> Result<()> {
        let before = self.journal_bytes_since_checkpoint();
        self.settle_indexes()?;
        let parts = [payload];
        let entry = Entry { covers: Some(covers), ..Entry::other(Type::Checkpoint, &parts) };
        let lsn = self.append(&entry, Space::Reserve)?;
        self.sync(lsn)?;
        let covers = self.append.lock().translate(covers);
        self.locator.lock().store(|hint| hint.scan_from = hint.scan_from.max(covers))?;
        self.journal_bytes.fetch_sub(before, Ordering::Relaxed);
        Ok(())
    }

    /// Make everything durable and mark the log as cleanly closed. The log must not be used after.
    pub fn close(&self) -> Result<()> {
        let end = self.end();
        self.sync(end)?;
        self.trim()?;
        self.settle_indexes()?;
        if let Some(last) = self.snapshot().values().next_back() {
            last.write_index(&*self.disk)?;
            last.settle_asides(&*self.disk);
            self.disk.sync_dir().io("sync directory", String::new)?;
        }
        self.locator.lock().store(|hint| hint.clean_end = end)
    }

    /// Visit every live block: its id and the bytes its record takes. Blocks added
    /// meanwhile may be missed.
    pub fn for_each(&self, visit: impl FnMut(Bid, u32)) -> Result<()> {
        self.for_each_from(0, visit).map(drop)
    }

    /// The same in arenas numbered `first` and higher. Returns the number to go on from: whatever is stored after this
    /// call began is in that arena or a later one, also what compaction moves.
    pub fn for_each_from(&self, first: u32, mut visit: impl FnMut(Bid, u32)) -> Result<u32> {
        let arenas = self.snapshot();
        for (_, arena) in arenas.range(first..) {
            for (id, place) in arena.listing()? {
                visit(id, place.size);
            }
        }
        Ok(arenas.last_key_value().map_or(0, |(number, _)| *number))
    }

    /// The arenas numbered `first` and higher, and the bytes of each one's live blocks: to go through a large log in
    /// pieces with [`Log::listing_of`], as [`Log::for_each_from`] does at once.
    pub fn arenas_from(&self, first: u32) -> Vec<(u32, u64)> {
        self.snapshot().range(first..).map(|(number, arena)| (*number, arena.live_bytes())).collect()
    }

    /// Every live block of one arena: its id and the bytes its record takes. Nothing of an arena that is gone.
    pub fn listing_of(&self, number: u32) -> Result<Vec<(Bid, u32)>> {
        let Some(arena) = self.snapshot().get(&number).cloned() else { return Ok(Vec::new()) };
        Ok(arena.listing()?.into_iter().map(|(id, place)| (id, place.size)).collect())
    }

    /// Counts. Costs one system call per arena.
    pub fn stat(&self) -> Stat {
        let mut stat = Stat::default();
        for arena in self.snapshot().values() {
            stat.blocks += arena.blocks();
            stat.live_bytes += arena.live_bytes();
            stat.disk_bytes += arena.file.allocated().unwrap_or(0);
            stat.arenas += 1;
        }
        stat
    }

    pub(super) fn snapshot(&self) -> Arc<Arenas> {
        Arc::clone(&self.arenas.read())
    }

    /// Where `id` stands, newest arena first. `Corrupt` only if no intact copy was found.
    pub(super) fn find(&self, id: &Bid) -> Result<Option<(Arc<Arena>, Place)>> {
        let hash = spread(id);
        let mut damaged = None;
        for arena in self.snapshot().values().rev() {
            match arena.find(hash, id) {
                Ok(Some(place)) => return Ok(Some((Arc::clone(arena), place))),
                Ok(None) => {}
                Err(e) => damaged = Some(e),
            }
        }
        damaged.map_or(Ok(None), Err)
    }

    /// Add an arena to the snapshot.
    pub(super) fn publish(&self, arena: Arc<Arena>) {
        let mut arenas = self.arenas.write();
        Arc::make_mut(&mut arenas).insert(arena.header.number, arena);
    }
}
