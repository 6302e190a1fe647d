//! One arena: its file, its identity, its index, and what is alive in it.
//!
//! Must never report a sync as done after one has failed on this file: the kernel reports a lost
//! write once, so the first failure is remembered for ever.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::DiskFile;
use super::header::{ArenaHeader, arena_name};
use super::record::{self, HEADER, Header};
use super::table::{Place, Table, spread};
use super::Lsn;
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Context, Error, Kind, Result};

/// An open arena.
pub struct Arena {
    /// Identity.
    pub header: ArenaHeader,
    /// The file.
    pub file: Arc<dyn DiskFile>,
    index: RwLock<Table>,
    end: AtomicU64,
    live_bytes: AtomicU64,
    /// Held across `fdatasync`; true once a write or sync failed.
    poisoned: Mutex<bool>,
}

/// What looking at a candidate place found.
enum Look {
    Same,
    Other,
    Unreadable,
}

impl Arena {
    /// Wrap a file whose records end at `end`; the index starts empty.
    pub fn new(header: ArenaHeader, file: Arc<dyn DiskFile>, end: u64) -> Self {
        Self {
            header,
            file,
            index: RwLock::new(Table::default()),
            end: AtomicU64::new(end),
            live_bytes: AtomicU64::new(0),
            poisoned: Mutex::new(false),
        }
    }

    /// Where written records end.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Publish a new end, after the bytes before it were written.
    pub fn set_end(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// The log position behind `offset`.
    pub fn lsn(&self, offset: u64) -> Lsn {
        Lsn::new(self.header.number, offset)
    }

    /// Bytes of live block records.
    pub fn live_bytes(&self) -> u64 {
        self.live_bytes.load(Ordering::Relaxed)
    }

    /// Number of live blocks.
    pub fn blocks(&self) -> u64 {
        self.index.read().len() as u64
    }

    /// Index a block record.
    pub fn add(&self, id: &Bid, place: Place) {
        self.index.write().insert(spread(id), place);
        self.live_bytes.fetch_add(record::size(place.len as usize), Ordering::Relaxed);
    }

    /// Forget a block record; says whether it was indexed.
    pub fn forget(&self, id: &Bid, place: Place) -> bool {
        let removed = self.index.write().remove(spread(id), place.offset);
        if removed {
            self.live_bytes.fetch_sub(record::size(place.len as usize), Ordering::Relaxed);
        }
        removed
    }

    /// All live places in file order. O(n log n).
    pub fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.index.read().iter().collect();
        places.sort_unstable_by_key(|p| p.offset);
        places
    }

    /// Where `id` stands. No disk read unless the index has a candidate; then one small one.
    /// `Corrupt` when the only candidate's header is damaged.
    pub fn find(&self, hash: u64, id: &Bid) -> Result<Option<Place>> {
        let mut damaged = false;
        for place in self.candidates(hash) {
            match self.look(id, place)? {
                Look::Same => return Ok(Some(place)),
                Look::Other => {}
                Look::Unreadable => damaged = true,
            }
        }
        if damaged { Err(self.corrupt(id)) } else { Ok(None) }
    }

    /// The payload of `id`, unverified beyond its header.
    pub fn get(&self, hash: u64, id: &Bid) -> Result<Option<Vec<u8>>> {
        let mut damaged = false;
        for place in self.candidates(hash) {
            match self.read(id, place)? {
                (Look::Same, payload) => return Ok(Some(payload)),
                (Look::Other, _) => {}
                (Look::Unreadable, _) => damaged = true,
            }
        }
        if damaged { Err(self.corrupt(id)) } else { Ok(None) }
    }

    /// The header at a place, if it verifies.
    pub fn header_at(&self, offset: u64) -> Result<Option<Header>> {
        let mut bytes = [0; HEADER];
        self.file.read_at(&mut bytes, offset).io("read record header", || self.name())?;
        Ok(Header::decode(&bytes, self.header.salt, offset))
    }

    fn candidates(&self, hash: u64) -> impl Iterator<Item = Place> + use<> {
        let index = self.index.read();
        let mut found = index.find(hash);
        // Almost always none or one: no allocation then.
        let first = found.next();
        let rest: Vec<Place> = if first.is_some() { found.collect() } else { Vec::new() };
        first.into_iter().chain(rest)
    }

    fn look(&self, id: &Bid, place: Place) -> Result<Look> {
        Ok(judge(self.header_at(place.offset)?, id, place))
    }

    fn read(&self, id: &Bid, place: Place) -> Result<(Look, Vec<u8>)> {
        let mut bytes = vec![0; HEADER + place.len as usize];
        self.file.read_at(&mut bytes, place.offset).io("read block", || self.name())?;
        let look = judge(Header::decode(&bytes, self.header.salt, place.offset), id, place);
        bytes.drain(..HEADER);
        Ok((look, bytes))
    }

    fn corrupt(&self, id: &Bid) -> Error {
        Error::new(Kind::Corrupt, "read block", format!("{id} in {}", self.name()))
    }

    /// The file's name.
    pub fn name(&self) -> String {
        arena_name(self.header.number)
    }

    /// Make everything written so far durable. Fails for ever once it failed.
    pub fn sync(&self) -> Result<()> {
        let mut poisoned = self.poisoned.lock();
        if *poisoned {
            return Err(Error::io("sync arena", self.name(), io::Error::from_raw_os_error(libc::EIO)));
        }
        let result = self.file.sync_data();
        *poisoned = result.is_err();
        result.io("sync arena", || self.name())
    }

    /// Remember that a write failed.
    pub fn poison(&self) {
        *self.poisoned.lock() = true;
    }
}

fn judge(header: Option<Header>, id: &Bid, place: Place) -> Look {
    match header {
        Some(h) if h.id == *id && h.len == place.len && h.kind == record::Type::Block => Look::Same,
        Some(_) => Look::Other,
        None => Look::Unreadable,
    }
}
