//! Membership: who belongs to a volume and what they may do, as records signed by its admins.
//!
//! Each record names those it follows, so a membership is a hash chain, or, where two admins changed it apart
//! from each other, a graph that later records join again. Readable by storage. Layout: `docs/membership.md`.
//! Must never count a record whose signer was not an admin where it follows on, and never undo a removal.

mod placing;
mod record;
mod table;

use std::collections::BTreeSet;

use super::author::AuthorKey;
use super::cursor::Cursor;
use crate::base::port::Time;
use crate::base::{Digest, Error, Kind, Result, VolumeId, WriterIndex, hash};

pub use placing::{EVERYWHERE, Place, Placement, Share};
pub use record::{Entry, MAX_DEVICE_NAME, MAX_RECORD, Member, Record, is_proven, prove};
pub(super) use record::{name, put_name};
pub use table::{Boxes, MAX_COPIES, Table};

/// Most records of one membership.
pub const MAX_RECORDS: usize = 4096;
/// Most changes of one storage member's room that are written down because it says so: one that says now this and now
/// that must not fill the membership.
const MOST_ROOMS: usize = 32;

/// What a device may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything, and let others in and out.
    Admin,
    /// Read and write.
    Writer,
    /// Read.
    Reader,
    /// Keep and pass on what it cannot read.
    Storage,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Admin, Self::Writer, Self::Reader, Self::Storage];

    /// As stored.
    pub fn byte(self) -> u8 {
        match self {
            Self::Admin => 0,
            Self::Writer => 1,
            Self::Reader => 2,
            Self::Storage => 3,
        }
    }

    /// From what is stored.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.byte() == byte)
    }

    /// As people write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Writer => "writer",
            Self::Reader => "reader",
            Self::Storage => "storage",
        }
    }

    /// From what people write.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }

    /// Whether heads of such a device count.
    pub fn writes(self) -> bool {
        matches!(self, Self::Admin | Self::Writer)
    }

    /// Whether it is given epoch secrets.
    pub fn reads(self) -> bool {
        self != Self::Storage
    }
}

/// The membership of one volume: verified records and what they add up to.
#[derive(Debug, Clone)]
pub struct Membership {
    volume: VolumeId,
    founder: [u8; 32],
    /// By (number, hash): parents come before children.
    records: Vec<Record>,
    table: Table,
}

impl Membership {
    /// The first record of a volume: `founder` (index 0, an admin) comes in, signed with the genesis's admin key.
    pub fn found(volume: VolumeId, key: &AuthorKey, founder: Member, time: Time) -> Result<Self> {
        let invalid = || Error::new(Kind::Invalid, "found the membership", volume.to_string());
        let record = Record::sign(volume, key, &[], 0, time, vec![Entry::Add(founder)]).ok_or_else(invalid)?;
        let mut membership = Self { volume, founder: key.public(), records: Vec::new(), table: Table::default() };
        if membership.take(record) { Ok(membership) } else { Err(invalid()) }
    }

    /// Decode and verify the membership of `volume`, whose genesis names `founder`. [`Kind::Corrupt`] unless
    /// every record counts.
    pub fn open(volume: VolumeId, founder: [u8; 32], bytes: &[u8]) -> Result<Self> {
        let corrupt = || Error::new(Kind::Corrupt, "open the membership", volume.to_string());
        let mut membership = Self { volume, founder, records: Vec::new(), table: Table::default() };
        let records = split(bytes).ok_or_else(corrupt)?;
        for bytes in records {
            let record = Record::open(volume, bytes).ok_or_else(corrupt)?;
            if !membership.take(record) {
                return Err(corrupt());
            }
        }
        if membership.records.is_empty() { Err(corrupt()) } else { Ok(membership) }
    }

    /// All records as stored and sent: `length 4 || record`, parents first.
    pub fn bytes(&self) -> Vec<u8> {
        join(&self.records)
    }

    /// The same, in pieces of at most `limit` bytes (at least one record each), for messages.
    pub fn pieces(&self, limit: usize) -> Vec<Vec<u8>> {
        let mut pieces: Vec<Vec<u8>> = vec![Vec::new()];
        for record in &self.records {
            let full = pieces.last().is_some_and(|p| !p.is_empty() && p.len() + 4 + record.bytes.len() > limit);
            if full {
                pieces.push(Vec::new());
            }
            if let Some(piece) = pieces.last_mut() {
                put(piece, record);
            }
        }
        pieces
    }

    /// Take over the records in `bytes` that are new, from whomever they come. Gives how many. Those that do
    /// not verify or follow nothing known are left out: [`Kind::Corrupt`] if there is such a one, after the
    /// others were taken.
    pub fn merge(&mut self, bytes: &[u8]) -> Result<usize> {
        let volume = self.volume;
        let corrupt = || Error::new(Kind::Corrupt, "take over members", volume.to_string());
        let records = split(bytes).ok_or_else(corrupt)?;
        let (mut new, mut bad) = (0, false);
        for bytes in records {
            match Record::open(self.volume, bytes) {
                Some(record) if self.has(&record.hash) => {}
                Some(record) if self.take(record.clone()) => new += 1,
                _ => bad = true,
            }
        }
        if bad { Err(corrupt()) } else { Ok(new) }
    }

    /// Sign and add a record that follows all there are. [`Kind::NotPermitted`] if `key` is no admin's,
    /// [`Kind::Invalid`] if an entry makes no sense or there is no room.
    pub fn append(&mut self, key: &AuthorKey, entries: Vec<Entry>, time: Time) -> Result<()> {
        if self.table.authority(&key.public(), &self.founder).is_none() {
            let error = Error::new(Kind::NotPermitted, "change the members", self.volume.to_string());
            return Err(error.with_source("only an admin's device can"));
        }
        let volume = self.volume;
        let invalid = || Error::new(Kind::Invalid, "change the members", volume.to_string());
        let tips: Vec<_> = self.tips().into_iter().take(record::MAX_PARENTS).collect();
        let number = self.records.iter().filter(|r| tips.contains(&r.hash)).map(|r| r.number).max().unwrap_or(0);
        let number = number.checked_add(1).ok_or_else(invalid)?;
        let record = Record::sign(self.volume, key, &tips, number, time, entries).ok_or_else(invalid)?;
        if self.take(record) { Ok(()) } else { Err(invalid()) }
    }

    /// Who belongs.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// One hash that is equal where the records are.
    pub fn digest(&self) -> Digest {
        let tips: Vec<Digest> = self.tips().into_iter().collect();
        let parts: Vec<&[u8]> = tips.iter().map(<[u8; 32]>::as_slice).collect();
        hash(&parts)
    }

    /// When the member with this index was added, by the clock of the admin who did.
    pub fn added_at(&self, writer: WriterIndex) -> Option<Time> {
        let adds = |r: &&Record| r.entries.iter().any(|e| matches!(e, Entry::Add(m) if m.writer == writer));
        self.records.iter().find(adds).map(|r| r.time)
    }

    /// The entry by which an admin's device writes down that a storage member has `bytes` of room; `None` if that is known,
    /// or was changed too often to be believed once more.
    pub fn room_entry(&self, writer: WriterIndex, bytes: u64) -> Option<Entry> {
        let class = u8::try_from(bytes.checked_ilog2()?).ok()?;
        let about = |e: &&Entry| matches!(e, Entry::Room(of, _) if *of == writer);
        let before = self.records.iter().flat_map(|r| &r.entries).filter(about).count();
        let new = self.table.room(writer) != Some(class) && before < MOST_ROOMS;
        new.then_some(Entry::Room(writer, class))
    }

    fn has(&self, hash: &Digest) -> bool {
        self.records.iter().any(|r| r.hash == *hash)
    }

    /// Records that none follows.
    fn tips(&self) -> BTreeSet<Digest> {
        let followed: BTreeSet<_> = self.records.iter().flat_map(|r| r.parents.iter().copied()).collect();
        self.records.iter().map(|r| r.hash).filter(|hash| !followed.contains(hash)).collect()
    }

    /// Add a record whose signature holds, if it counts where it follows on.
    fn take(&mut self, record: Record) -> bool {
        if self.records.len() >= MAX_RECORDS || self.has(&record.hash) || !self.counts(&record) {
            return false;
        }
        let key = |r: &Record| (r.number, r.hash);
        let at = self.records.partition_point(|r| key(r) < key(&record));
        self.records.insert(at, record);
        self.table = fold(&self.records);
        true
    }

    fn counts(&self, record: &Record) -> bool {
        if record.parents.is_empty() {
            return self.records.is_empty() && record.number == 0 && self.is_founding(record);
        }
        let Some(before) = self.ancestors(record) else { return false };
        let last = before.iter().map(|r| r.number).max();
        if last.and_then(|n| n.checked_add(1)) != Some(record.number) {
            return false;
        }
        let mut table = fold(before);
        let Some(by) = table.authority(&record.signer, &self.founder) else { return false };
        record.entries.iter().all(|entry| {
            let allowed = table.allows(self.volume, by, entry);
            table.apply(&Record { entries: vec![entry.clone()], ..record.clone() });
            allowed
        })
    }

    fn is_founding(&self, record: &Record) -> bool {
        let admin = |m: &Member| m.writer == 0 && m.role == Role::Admin;
        record.signer == self.founder && matches!(record.entries.as_slice(), [Entry::Add(member)] if admin(member))
    }

    /// Everything `record` follows, near and far, in order; `None` if a parent is not known.
    fn ancestors(&self, record: &Record) -> Option<Vec<&Record>> {
        let mut wanted: BTreeSet<Digest> = record.parents.iter().copied().collect();
        let mut found = Vec::new();
        for known in self.records.iter().rev() {
            if wanted.remove(&known.hash) {
                wanted.extend(known.parents.iter().copied());
                found.push(known);
            }
        }
        found.reverse();
        wanted.is_empty().then_some(found)
    }
}

fn fold<'a>(records: impl IntoIterator<Item = &'a Record>) -> Table {
    let mut table = Table::default();
    records.into_iter().for_each(|record| table.apply(record));
    table
}

fn put(out: &mut Vec<u8>, record: &Record) {
    // A record is at most MAX_RECORD bytes long.
    out.extend_from_slice(&u32::try_from(record.bytes.len()).unwrap_or(0).to_le_bytes());
    out.extend_from_slice(&record.bytes);
}

fn join(records: &[Record]) -> Vec<u8> {
    let mut out = Vec::new();
    for record in records {
        put(&mut out, record);
    }
    out
}

fn split(bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut cursor = Cursor::new(bytes);
    let mut records = Vec::new();
    while !cursor.is_empty() {
        let len = usize::try_from(cursor.number()?).ok().filter(|n| *n <= MAX_RECORD)?;
        records.push(cursor.bytes(len)?);
        if records.len() > MAX_RECORDS {
            return None;
        }
    }
    Some(records)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
