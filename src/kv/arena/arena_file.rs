//! One arena: its file, its identity, its index, and what is alive in it.
//!
//! Must never report a sync as done after one has failed on this file: the kernel reports a lost
//! write once, so the first failure is remembered for ever.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Lsn;
use super::aside::Asides;
use super::disk::Disk;
use super::disk::DiskFile;
use super::header::{ArenaHeader, arena_name};
use super::index::{self, Sealed};
use super::record::{self, HEADER, Header};
use super::scan::{Depth, Scanner};
use super::table::{Place, Table, spread};
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Context, Error, Kind, Result};

/// An open arena.
pub struct Arena {
    /// Identity.
    pub header: ArenaHeader,
    /// The file.
    pub file: Arc<dyn DiskFile>,
    index: RwLock<Index>,
    asides: Asides,
    end: AtomicU64,
    /// Held across `fdatasync`; true once a write or sync failed.
    poisoned: Mutex<bool>,
}

/// How blocks are found.
enum Index {
    /// In memory, growing.
    Open { table: Table, live_bytes: u64 },
    /// Mapped, shrinking.
    Sealed(Sealed),
}

impl Index {
    fn find(&self, hash: u64) -> Candidates {
        match self {
            Self::Open { table, .. } => Candidates::gather(table.find(hash)),
            Self::Sealed(sealed) => Candidates::gather(sealed.find(hash)),
        }
    }
}

/// The places a lookup must look at: almost always none or one, and then nothing is allocated.
struct Candidates(Option<Place>, Vec<Place>);

impl Candidates {
    fn gather(mut found: impl Iterator<Item = Place>) -> Self {
        let first = found.next();
        let rest = if first.is_some() { found.collect() } else { Vec::new() };
        Self(first, rest)
    }

    fn each(self) -> impl Iterator<Item = Place> {
        self.0.into_iter().chain(self.1)
    }
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
            index: RwLock::new(Index::Open { table: Table::default(), live_bytes: 0 }),
            asides: Asides::default(),
            end: AtomicU64::new(end),
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
        match &*self.index.read() {
            Index::Open { live_bytes, .. } => *live_bytes,
            Index::Sealed(sealed) => sealed.live_bytes(),
        }
    }

    /// Number of live blocks.
    pub fn blocks(&self) -> u64 {
        match &*self.index.read() {
            Index::Open { table, .. } => table.len() as u64,
            Index::Sealed(sealed) => sealed.len() as u64,
        }
    }

    /// Index a block record. A sealed index knows its records already.
    pub fn add(&self, id: &Bid, place: Place) {
        if let Index::Open { table, live_bytes } = &mut *self.index.write() {
            table.insert(spread(id), place);
            *live_bytes += u64::from(place.size);
        }
    }

    /// Forget a block record; says whether it was indexed.
    pub fn forget(&self, id: &Bid, place: Place) -> bool {
        match &mut *self.index.write() {
            Index::Open { table, live_bytes } => {
                let removed = table.remove(spread(id), place.offset);
                *live_bytes -= if removed { u64::from(place.size) } else { 0 };
                removed
            }
            Index::Sealed(sealed) => sealed.remove(spread(id), place),
        }
    }

    /// All live places in file order. O(n log n).
    pub fn places(&self) -> Vec<Place> {
        let mut places: Vec<Place> = match &*self.index.read() {
            Index::Open { table, .. } => table.iter().collect(),
            Index::Sealed(sealed) => sealed.places().collect(),
        };
        places.sort_unstable_by_key(|p| p.offset);
        places
    }

    /// All live blocks with their places, in file order; blocks with unreadable headers are left out
    /// unless the index file knows their ids.
    pub fn listing(&self) -> Result<Vec<(Bid, Place)>> {
        let known = match &*self.index.read() {
            Index::Sealed(sealed) => sealed.blocks(),
            Index::Open { .. } => None,
        };
        if let Some(mut known) = known {
            known.sort_unstable_by_key(|b| b.1.offset);
            return Ok(known);
        }
        let mut scanner = Scanner::new(&*self.file, self.header.salt, 0, self.end(), Depth::Headers);
        let mut all = Vec::new();
        for place in self.places() {
            if let Some(header) = scanner.header_at(place.offset).io("list blocks", || self.name())? {
                all.push((header.id, place));
            }
        }
        Ok(all)
    }

    /// All live places in file order, with ids as far as they can be known.
    pub fn census(&self) -> Vec<(Option<Bid>, Place)> {
        let known: HashMap<u64, Bid> =
            self.listing().unwrap_or_default().into_iter().map(|(id, p)| (p.offset, id)).collect();
        self.places().into_iter().map(|p| (known.get(&p.offset).copied(), p)).collect()
    }

    /// Every place that is, or by its fingerprint and an unreadable header may be, a copy of `id`.
    pub fn copies(&self, hash: u64, id: &Bid) -> Vec<Place> {
        let other = |place: &Place| matches!(self.look(id, *place), Ok(Look::Other));
        self.candidates(hash).filter(|p| !other(p)).collect()
    }

    /// Whether the index file on disk is missing or names deleted blocks.
    pub fn needs_index(&self) -> bool {
        match &*self.index.read() {
            Index::Open { .. } => true,
            Index::Sealed(sealed) => sealed.is_outdated(),
        }
    }

    /// Write the index file and use it. Nothing may be appended to this arena any more, and no
    /// deletion may run at the same time.
    pub fn seal(&self, disk: &dyn Disk) -> Result<()> {
        self.write_index(disk)?;
        if let Some(sealed) = Sealed::open(disk, &self.header) {
            *self.index.write() = Index::Sealed(sealed);
        }
        self.settle_asides(disk);
        Ok(())
    }

    /// Write the asides the disk does not have yet.
    pub fn settle_asides(&self, disk: &dyn Disk) {
        if self.asides.is_outdated() {
            self.asides.write(disk, &self.header, self.places().into_iter().map(|p| p.offset));
        }
    }

    /// Keep `bytes` beside the block at `place`.
    pub fn keep_aside(&self, place: Place, bytes: &[u8]) {
        self.asides.keep(place.offset, bytes);
    }

    /// What is kept beside the block at `place`, unverified.
    pub fn aside(&self, disk: &dyn Disk, place: Place) -> Option<Vec<u8>> {
        self.asides.get(disk, &self.header, place.offset)
    }

    /// Write the index file but keep the one in memory.
    pub fn write_index(&self, disk: &dyn Disk) -> Result<()> {
        index::write(disk, &self.header, self.end(), &self.listing()?)
    }

    /// Take what the index file knows; returns up to which offset it covers this arena.
    /// `complete`: nothing is going to be appended.
    pub fn load_index(&self, disk: &dyn Disk, complete: bool) -> Option<u64> {
        let sealed = Sealed::open(disk, &self.header).filter(|s| s.end() <= self.end())?;
        let end = sealed.end();
        if complete && end == self.end() {
            *self.index.write() = Index::Sealed(sealed);
            return Some(end);
        }
        for (id, place) in sealed.blocks()? {
            self.add(&id, place);
        }
        Some(end)
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

    /// Where a block with this hash may stand.
    pub fn candidates(&self, hash: u64) -> impl Iterator<Item = Place> + use<> {
        self.index.read().find(hash).each()
    }

    fn look(&self, id: &Bid, place: Place) -> Result<Look> {
        Ok(judge(self.header_at(place.offset)?, id, place))
    }

    fn read(&self, id: &Bid, place: Place) -> Result<(Look, Vec<u8>)> {
        let mut head = [0; HEADER];
        let mut payload = vec![0; (place.size as usize).saturating_sub(HEADER)];
        self.file.read_two(&mut head, &mut payload, place.offset).io("read block", || self.name())?;
        let header = Header::decode(&head, self.header.salt, place.offset);
        payload.truncate(header.map_or(0, |h| h.len as usize));
        Ok((judge(header, id, place), payload))
    }

    /// The record at `place` if header and payload verify.
    pub fn read_intact(&self, place: Place) -> Result<Option<(Bid, Vec<u8>)>> {
        let Some(header) = self.header_at(place.offset)? else { return Ok(None) };
        let (look, payload) = self.read(&header.id, place)?;
        let intact = matches!(look, Look::Same) && crc32c::crc32c(&payload) == header.payload_crc;
        Ok(intact.then_some((header.id, payload)))
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
        Some(h) if h.id == *id && h.size() == u64::from(place.size) && h.kind == record::Type::Block => Look::Same,
        Some(_) => Look::Other,
        None => Look::Unreadable,
    }
}
