//! The writing end: room, records, the next arena, and what happens when the disk fails.
//!
//! Must never write to an arena after a write or sync of it failed, and must never start an arena
//! before the one in front of it is durable up to where the new one says.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Lsn;
use super::ahead::Ahead;
use super::arena_file::Arena;
use super::disk::DiskFile;
use super::header::{ArenaHeader, FIRST, arena_name};
use super::log::Log;
use super::record::{self, ALIGN, Header, MAX_PAYLOAD, Salt, Type};
use super::scan::{Depth, Scanner, Step};
use super::staged::Staged;
use super::table::{Place, spread};
use crate::base::{Bid, Context, Error, Kind, Result};

/// What fills a record up to the next boundary, at most.
const PAD: [u8; 8] = [0; 8];

/// What to append.
pub struct Entry<'a> {
    pub kind: Type,
    pub id: Bid,
    /// The payload, in pieces that are written one after another.
    pub parts: &'a [&'a [u8]],
    /// Append a block even if it is here: the copy here is bad or about to go.
    pub again: bool,
    /// What a checkpoint covers; goes in front of the payload.
    pub covers: Option<Lsn>,
    /// Kept beside a block, not in the log.
    pub aside: &'a [u8],
}

impl<'a> Entry<'a> {
    /// A block.
    pub fn block(id: Bid, parts: &'a [&'a [u8]]) -> Self {
        Self { kind: Type::Block, id, parts, again: false, covers: None, aside: &[] }
    }

    /// A record without an id.
    pub fn other(kind: Type, parts: &'a [&'a [u8]]) -> Self {
        Self { kind, id: Bid([0; 32]), parts, again: false, covers: None, aside: &[] }
    }
}

/// Which space an append may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Leaves the reserve alone.
    Ordinary,
    /// May use the reserve.
    Reserve,
}

/// State of the writing end, under the log's append lock.
pub struct Appender {
    /// The arena written to.
    pub active: Option<Arc<Arena>>,
    /// The last arena failed: it must be replaced before anything else is written.
    pub broken: bool,
    /// Number and end of the arena before the next one, when there is no active one.
    pub previous: (u32, u64),
    /// Number of the next arena.
    pub next_number: u32,
    ahead: Ahead,
    moves: Vec<Move>,
}

/// Records rewritten behind a failure: those of arena `old` from `from` on are in `new`.
struct Move {
    old: u32,
    from: u64,
    new: u32,
}

impl Move {
    fn translate(&self, lsn: Lsn) -> Lsn {
        let moved = lsn.arena() == self.old && lsn.offset() > self.from;
        if moved { Lsn::new(self.new, FIRST + lsn.offset() - self.from) } else { lsn }
    }
}

impl Appender {
    /// A writing end that continues `active`, or starts an arena behind `previous`.
    pub fn new(active: Option<Arc<Arena>>, previous: (u32, u64), next_number: u32, allocated: u64) -> Self {
        let ahead = Ahead::new(allocated, active.as_ref().map_or(FIRST, |a| a.end()));
        Self { active, broken: false, previous, next_number, ahead, moves: Vec::new() }
    }

    /// Where what ended at `lsn` ends now.
    pub fn translate(&self, lsn: Lsn) -> Lsn {
        self.moves.iter().fold(lsn, |lsn, m| m.translate(lsn))
    }

    fn switch_to(&mut self, arena: Arc<Arena>, allocated: u64) {
        let moves = std::mem::take(&mut self.moves);
        *self = Self { moves, ..Self::new(Some(arena), (0, 0), self.next_number + 1, allocated) };
    }
}

impl Log {
    /// Append one record.
    pub(super) fn append(&self, entry: &Entry<'_>, space: Space) -> Result<Lsn> {
        let covers_len = entry.covers.map_or(0, |_| 8);
        let len = entry.parts.iter().map(|p| p.len()).sum::<usize>() + covers_len;
        if len > MAX_PAYLOAD {
            return Err(Error::new(Kind::TooBig, "append record", format!("{len} bytes")));
        }
        // Outside the lock where possible: the checksum is most of the work.
        let crc = entry.parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        let mut appender = self.append.lock();
        let arena = self.make_room(&mut appender, record::size(len), space)?;
        if entry.kind == Type::Block
            && !entry.again
            && let Some(place) = arena.find(spread(&entry.id), &entry.id).unwrap_or(None)
        {
            return Ok(arena.lsn(place.end()));
        }
        let durable = self.commit.durable();
        let durable_units = if durable.arena() == arena.header.number { durable.offset() / ALIGN } else { 0 };
        let mut header = Header {
            kind: entry.kind,
            len: u32::try_from(len).unwrap_or(u32::MAX),
            payload_crc: crc,
            id: entry.id,
            durable: u32::try_from(durable_units).unwrap_or(0),
        };
        let Some(covers) = entry.covers else {
            let lsn = self.write(&mut appender, &arena, &header, entry.parts, durable)?;
            arena.keep_aside(Place::new(arena.end() - header.size(), &header), entry.aside);
            return Ok(lsn);
        };
        let covers = appender.translate(covers).0.to_le_bytes();
        let parts = [&[&covers[..]], entry.parts].concat();
        header.payload_crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        self.write(&mut appender, &arena, &header, &parts, durable)
    }

    fn write(
        &self,
        appender: &mut Appender,
        arena: &Arc<Arena>,
        header: &Header,
        parts: &[&[u8]],
        durable: Lsn,
    ) -> Result<Lsn> {
        let offset = arena.end();
        let end = offset + header.size();
        if let Err(e) = write_record(&*arena.file, header, arena.header.salt, offset, parts) {
            arena.poison();
            appender.broken = true;
            return Err(Error::io("write record", arena.name(), e));
        }
        arena.set_end(end);
        let lsn = arena.lsn(end);
        self.end.store(lsn.0, Ordering::Release);
        if header.kind == Type::Block {
            arena.add(&header.id, Place::new(offset, header));
        }
        appender.ahead.appended(arena, end, durable);
        Ok(lsn)
    }

    /// An active arena with room for `size` bytes.
    fn make_room(&self, appender: &mut Appender, size: u64, space: Space) -> Result<Arc<Arena>> {
        if appender.broken {
            self.replace(appender)?;
        }
        let mut arena = match &appender.active {
            Some(arena) => Arc::clone(arena),
            None => self.start_arena(appender)?,
        };
        // Only while no newer arena may have come to count.
        let fits_reserve = |a: &Appender, arena: &Arena| {
            space == Space::Reserve && a.active.is_some() && arena.end() + size <= a.ahead.reserved()
        };
        if arena.end() + size > self.options.arena_size && arena.end() > FIRST {
            match self.roll(appender, &arena) {
                Ok(next) => arena = next,
                Err(e) if e.kind() == Kind::Full && fits_reserve(appender, &arena) => return Ok(arena),
                Err(e) => return Err(e),
            }
        }
        let wanted = arena.end() + size + self.options.reserve;
        match appender.ahead.reserve(&arena, wanted, self.options.arena_size / 16) {
            Err(e) if e.kind() == Kind::Full && fits_reserve(appender, &arena) => Ok(arena),
            other => other.map(|()| arena),
        }
    }

    /// Close the active arena and start the next. The old one is durable before the new one exists.
    fn roll(&self, appender: &mut Appender, arena: &Arc<Arena>) -> Result<Arc<Arena>> {
        if let Err(e) = arena.sync() {
            appender.broken = true;
            return Err(e);
        }
        let end = arena.end();
        self.commit.advance(arena.lsn(end));
        appender.previous = (arena.header.number, end);
        let next = self.start_arena(appender)?;
        arena.file.rest();
        // Failing here costs space or speed, nothing else: the next checkpoint tries again.
        let _ = arena.file.truncate(end);
        Ok(next)
    }

    /// Create an empty arena behind `appender.previous` and write to it from now on.
    fn start_arena(&self, appender: &mut Appender) -> Result<Arc<Arena>> {
        let header = self.next_header(appender, appender.previous);
        let file = self.create_file(&header)?;
        let allocated = FIRST + self.options.reserve;
        file.allocate(0, allocated).io("reserve space", || arena_name(header.number))?;
        // From here on the new header may be on the disk, whatever is reported: nothing may be
        // appended behind the end it names.
        appender.active = None;
        let arena = self.finish_arena(header, file, FIRST)?;
        appender.switch_to(Arc::clone(&arena), allocated);
        Ok(arena)
    }

    /// Write the header, which makes the arena count, and publish it.
    fn finish_arena(&self, header: ArenaHeader, file: Arc<dyn DiskFile>, end: u64) -> Result<Arc<Arena>> {
        let name = || arena_name(header.number);
        file.write_at(&[&header.page()], 0).io("write arena header", name)?;
        file.sync_data().io("sync arena header", name)?;
        self.disk.sync_dir().io("sync directory", name)?;
        let arena = Arc::new(Arena::new(header, file, end));
        self.publish(Arc::clone(&arena));
        self.commit.advance(arena.lsn(end));
        self.end.fetch_max(arena.lsn(end).0, Ordering::AcqRel);
        Ok(arena)
    }

    fn next_header(&self, appender: &Appender, previous: (u32, u64)) -> ArenaHeader {
        let mut salt: Salt = [0; 8];
        self.options.entropy.fill(&mut salt);
        ArenaHeader { number: appender.next_number, previous: previous.0, previous_end: previous.1, salt }
    }

    /// A new file under the arena's name; what a failed attempt left there holds nothing.
    fn create_file(&self, header: &ArenaHeader) -> Result<Arc<dyn DiskFile>> {
        let name = arena_name(header.number);
        match self.disk.create(&name) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                self.disk.remove(&name).io("remove unfinished arena", || name.clone())?;
                self.disk.create(&name)
            }
            other => other,
        }
        .map(|file| Arc::new(Staged::new(file, self.disk.couriers())) as Arc<dyn DiskFile>)
        .io("create arena", || name.clone())
    }

    /// A sync of `arena` failed: stop using it and rewrite what it did not make durable.
    pub(super) fn abandon(&self, arena: &Arc<Arena>) {
        let mut appender = self.append.lock();
        let active = appender.active.as_ref().is_some_and(|a| a.header.number == arena.header.number);
        if active {
            appender.broken = true;
            // An error here is met again, and reported, by whoever appends or syncs next.
            let _ = self.replace(&mut appender);
        }
    }

    /// Put a new arena in the place of the broken one and rewrite into it, from the old one's pages
    /// as far as they still verify, every record that was not durable. All of it is on the disk
    /// before the new header makes it count, so at no moment is less durable than before.
    fn replace(&self, appender: &mut Appender) -> Result<()> {
        let Some(old) = appender.active.clone() else {
            appender.broken = false;
            return Ok(());
        };
        let durable = self.commit.durable();
        let from = if durable.arena() == old.header.number { durable.offset() } else { FIRST };
        let header = self.next_header(appender, (old.header.number, from));
        let file = self.create_file(&header)?;
        let span = old.end().saturating_sub(from);
        let allocated = FIRST + span + self.options.reserve;
        file.allocate(0, allocated).io("reserve space", || arena_name(header.number))?;
        let shift = Move { old: old.header.number, from, new: header.number };
        let (moved, end) = rewrite(&old, &shift, &*file, header.salt)?;
        file.sync_data().io("sync rewritten records", || arena_name(header.number))?;
        let arena = self.finish_arena(header, file, end)?;
        for (id, before, place) in &moved {
            arena.add(id, *place);
            arena.keep_aside(*place, &old.aside(&*self.disk, *before).unwrap_or_default());
        }
        for (id, place, _) in &moved {
            old.forget(id, *place);
        }
        let _ = old.file.truncate(from);
        old.set_end(from);
        appender.moves.push(shift);
        appender.switch_to(arena, allocated);
        Ok(())
    }

    /// Give back what was reserved ahead of the end.
    pub(super) fn trim(&self) -> Result<()> {
        let mut appender = self.append.lock();
        let Some(arena) = appender.active.clone().filter(|_| !appender.broken) else { return Ok(()) };
        arena.file.truncate(arena.end()).io("trim arena", || arena.name())?;
        appender.ahead.trimmed(arena.end());
        arena.sync()
    }
}

/// Blocks copied from one arena to another: id, old place, new place.
type Moved = Vec<(Bid, Place, Place)>;

/// Copy the records of `old` from `from` on; every one must verify.
fn rewrite(old: &Arena, shift: &Move, file: &dyn DiskFile, salt: Salt) -> Result<(Moved, u64)> {
    let mut scanner = Scanner::new(&*old.file, old.header.salt, shift.from, old.end(), Depth::Contents);
    let (mut moved, mut end) = (Moved::new(), FIRST);
    loop {
        match scanner.step().io("read back records", || old.name())? {
            Step::End => return Ok((moved, end)),
            Step::Record { offset, mut header, mut payload } => {
                header.durable = 0;
                if header.kind == Type::Checkpoint
                    && let Some(covers) = payload.first_chunk_mut::<8>()
                {
                    *covers = shift.translate(Lsn(u64::from_le_bytes(*covers))).0.to_le_bytes();
                    header.payload_crc = crc32c::crc32c(&payload);
                }
                write_record(file, &header, salt, end, &[&payload]).io("rewrite record", || old.name())?;
                if header.kind == Type::Block {
                    moved.push((header.id, Place::new(offset, &header), Place::new(end, &header)));
                }
                end += header.size();
            }
            Step::Damaged { .. } | Step::Broken { .. } => {
                return Err(Error::new(Kind::Io, "read back records", format!("{}: lost; reopen the log", old.name())));
            }
        }
    }
}

fn write_record(file: &dyn DiskFile, header: &Header, salt: Salt, offset: u64, parts: &[&[u8]]) -> std::io::Result<()> {
    let head = header.encode(salt, offset);
    let used: u64 = record::HEADER as u64 + u64::from(header.len);
    let pad = &PAD[..usize::try_from(header.size() - used).unwrap_or(0)];
    match parts {
        [one] => file.write_at(&[&head, one, pad], offset),
        [one, two] => file.write_at(&[&head, one, two, pad], offset),
        many => file.write_at(&[&[&head[..]], many, &[pad]].concat(), offset),
    }
}
