//! Which pack has which block: what the indexes of all packs say.
//!
//! What they say is in a file of this device's ([`sections`]), so that a start reads it there and not from the service; in
//! memory are eight bytes a block: the first 34 bits of its id, and the number of its record. So a block that is in no
//! pack costs no read, and one that is costs one, which verifies the whole id. A block in two packs has two records, and
//! is found in the pack that was added last. The file is a cache: what is damaged or missing is read again from the
//! service. Must never name a pack that is not in it.

#[cfg(test)]
mod bench;
mod compact;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod load;
mod records;
mod sections;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::pack::{PackName, Span};
use crate::base::{Bid, Error, Kind, Result};
use crate::kv::sorted::Sorted;

use records::Records;
use sections::{HEADER, RECORD};

/// Of an entry, the bits that number a record. The others are the first of the id.
const NUMBER_BITS: u32 = 30;
/// So many records, and no more, have numbers: at 44 bytes each, 47 GB.
const MOST_RECORDS: u32 = 1 << NUMBER_BITS;
/// Packs with an id that begins as more than so many others are not taken: no honest one has, and each lookup of such
/// an id would read them all.
const CROWD: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Index {
    path: Option<PathBuf>,
    records: Records,
    entries: Sorted,
    /// In the order of their records. Some may be gone.
    packs: Vec<Pack>,
    /// The first bytes of the name of each that is there, and its place among `packs`.
    names: BTreeSet<(u64, u32)>,
    /// The number of the next record.
    next: u32,
    /// Entries of packs that are gone.
    dead: usize,
    /// Blocks, each once.
    blocks: u64,
    /// Bytes of blocks in packs.
    bytes: u64,
    /// Bytes of sections that say something.
    alive: u64,
    /// It was found damaged: nothing may be told of it before it is whole again.
    doubted: bool,
    /// How often it was.
    renewals: u32,
}

#[derive(Debug, Clone, Copy)]
struct Pack {
    name: PackName,
    /// Number of its first record; the others follow.
    first: u32,
    /// Where that is.
    at: u64,
    /// Bytes of the object.
    size: u64,
    seed: u32,
    there: bool,
}

impl Pack {
    fn section(&self) -> u64 {
        (HEADER + self.name.count() as usize * RECORD) as u64
    }

    /// Bytes of its blocks.
    fn bytes(&self) -> u64 {
        self.size.saturating_sub(self.name.index_len())
    }
}

/// The first bits of an id.
fn prefix(id: &Bid) -> u64 {
    id.0.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first)) >> NUMBER_BITS
}

fn entry(id: &Bid, number: u32) -> u64 {
    prefix(id) << NUMBER_BITS | u64::from(number)
}

fn number(entry: u64) -> u32 {
    u32::try_from(entry & u64::from(MOST_RECORDS - 1)).unwrap_or(0)
}

fn short(name: &PackName) -> u64 {
    name.to_bytes().first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
}

/// The ids in `spans`, each once, ascending.
fn distinct(spans: &[(Bid, Span)]) -> Vec<Bid> {
    let mut ids: Vec<Bid> = spans.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

impl Index {
    /// What the file at `path` says, as far as it is whole; without one, nothing, and all of it is kept in memory.
    /// A file that cannot be used is done without, and the log says so.
    pub fn open(path: Option<&Path>) -> Self {
        let opened = path.map(|path| Records::open(path).and_then(|records| Self::load(records, Some(path))));
        match opened {
            Some(Ok(index)) => return index,
            Some(Err(error)) => {
                tracing::warn!(error = %error.chain(), "the index of a store is kept in memory");
            }
            None => {}
        }
        Self::empty(Records::memory(sections::MAGIC.to_vec()), None)
    }

    fn empty(records: Records, path: Option<&Path>) -> Self {
        Self {
            path: path.map(Path::to_owned),
            records,
            entries: Sorted::default(),
            packs: Vec::new(),
            names: BTreeSet::new(),
            next: 0,
            dead: 0,
            blocks: 0,
            bytes: 0,
            alive: sections::MAGIC.len() as u64,
            doubted: false,
            renewals: 0,
        }
    }

    /// It was found damaged: forget all of it. Nothing is told of it before it is [`Self::completed`].
    pub fn renew(&mut self) {
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path); // if it stays, it is looked at again
        }
        let renewals = self.renewals.wrapping_add(1);
        *self = Self { doubted: true, renewals, ..Self::open(self.path.as_deref()) };
    }

    /// How often it was renewed.
    pub fn renewals(&self) -> u32 {
        self.renewals
    }

    /// All that the service has was added since it was renewed so often. Whether it is whole now.
    pub fn completed(&mut self, renewals: u32) -> bool {
        self.doubted &= self.renewals != renewals;
        !self.doubted
    }

    fn check(&self) -> Result<()> {
        let again = || Error::new(Kind::Unreachable, "look up blocks", "").with_source("the index is being read again");
        if self.doubted { Err(again()) } else { Ok(()) }
    }

    /// Where a block is.
    pub fn find(&self, id: &Bid) -> Result<Option<(PackName, Span)>> {
        Ok(self.copies(id)?.pop())
    }

    /// Everywhere it is, in the order in which the packs were added.
    pub fn copies(&self, id: &Bid) -> Result<Vec<(PackName, Span)>> {
        self.check()?;
        self.places(id)
    }

    fn places(&self, id: &Bid) -> Result<Vec<(PackName, Span)>> {
        let mut found = Vec::new();
        for entry in self.entries.range(entry(id, 0)..=entry(id, MOST_RECORDS - 1)) {
            if let Some(pack) = self.pack_of(number(entry)) {
                let (read, span) = self.record(pack, number(entry))?;
                found.extend((read == *id).then_some((pack.name, span)));
            }
        }
        Ok(found)
    }

    /// The pack that has a record, if it is there.
    fn pack_of(&self, number: u32) -> Option<&Pack> {
        let after = self.packs.partition_point(|pack| pack.first <= number);
        self.packs.get(after.checked_sub(1)?).filter(|pack| pack.there && number - pack.first < pack.name.count())
    }

    fn record(&self, pack: &Pack, number: u32) -> Result<(Bid, Span)> {
        let mut bytes = [0; RECORD];
        self.records.read(pack.at + u64::from(number - pack.first) * RECORD as u64, &mut bytes)?;
        sections::record(pack.seed, &bytes).ok_or_else(damaged)
    }

    /// All records of a pack.
    fn spans(&self, pack: &Pack) -> Result<Vec<(Bid, Span)>> {
        let mut bytes = vec![0; pack.name.count() as usize * RECORD];
        self.records.read(pack.at, &mut bytes)?;
        bytes.chunks_exact(RECORD).map(|bytes| sections::record(pack.seed, bytes).ok_or_else(damaged)).collect()
    }

    fn slot(&self, name: &PackName) -> Option<u32> {
        let mut alike = self.names.range((short(name), 0)..=(short(name), u32::MAX)).map(|(_, slot)| *slot);
        alike.find(|slot| self.packs.get(*slot as usize).is_some_and(|pack| pack.name == *name))
    }

    fn pack(&self, name: &PackName) -> Option<&Pack> {
        self.packs.get(self.slot(name)? as usize)
    }

    /// Whether a pack is known.
    pub fn knows(&self, name: &PackName) -> bool {
        self.slot(name).is_some()
    }

    /// At most `limit` ids behind `after`, ascending; fewer only at the end. One read an id.
    pub fn list(&self, after: Option<Bid>, limit: usize) -> Result<Vec<Bid>> {
        self.check()?;
        let mut entries = self.entries.range(after.map_or(0, |id| entry(&id, 0))..=u64::MAX).peekable();
        let mut ids = Vec::new();
        while ids.len() < limit
            && let Some(first) = entries.next()
        {
            // Those that begin alike are in the order of their records.
            let begin = ids.len();
            let mut next = Some(first);
            while let Some(entry) = next {
                if let Some(pack) = self.pack_of(number(entry)) {
                    ids.push(self.record(pack, number(entry))?.0);
                }
                next = entries.next_if(|entry| entry >> NUMBER_BITS == first >> NUMBER_BITS);
            }
            if begin + 1 < ids.len() || begin == 0 {
                let alike = ids.split_off(begin);
                ids.extend(alike.into_iter().collect::<BTreeSet<_>>().into_iter().filter(|id| after < Some(*id)));
            }
        }
        ids.truncate(limit);
        Ok(ids)
    }

    /// Blocks, and bytes of them.
    pub fn totals(&self) -> (u64, u64) {
        (self.blocks, self.bytes)
    }

    /// A pack is there. Returns whether it was taken: not one whose ids begin alike, see [`CROWD`]. Errors: [`Kind::Full`]
    /// and the like when there is no room for it, and all is as before; else what cannot be read.
    pub fn add(&mut self, name: PackName, size: u64, spans: &[(Bid, Span)]) -> Result<bool> {
        let count = name.count();
        if self.knows(&name) || spans.len() != count as usize {
            return Ok(self.knows(&name));
        }
        let end = self.next.checked_add(count).filter(|end| *end <= MOST_RECORDS);
        let full = || Error::new(Kind::TooBig, "write the index of a store", "").with_source("it has too many blocks");
        let (end, ids) = (end.ok_or_else(full)?, distinct(spans));
        let crowded = |id: &Bid| {
            let known = self.entries.range(entry(id, 0)..=entry(id, MOST_RECORDS - 1)).take(CROWD).count();
            known == CROWD
        };
        if ids.windows(CROWD).any(|ids| prefix(&ids[0]) == prefix(&ids[CROWD - 1])) || ids.iter().any(crowded) {
            return Ok(false);
        }
        let mut fresh = 0;
        for id in &ids {
            fresh += u64::from(self.places(id)?.is_empty());
        }
        let begin = self.records.len();
        self.append(&sections::there(name, size, spans))?;
        let seed = sections::Header { name, size: Some(size) }.seed();
        self.take(Pack { name, first: self.next, at: begin + HEADER as u64, size, seed, there: true });
        for ((id, _), number) in spans.iter().zip(self.next..) {
            self.entries.insert(entry(id, number));
        }
        self.next = end;
        self.blocks += fresh;
        self.settle_if_due();
        Ok(true)
    }

    /// Where the file takes no more, memory does: a full disk keeps nobody from the store. What the file has counts at the
    /// next start.
    fn append(&mut self, section: &[u8]) -> Result<()> {
        let Err(error) = self.records.append(section) else { return Ok(()) };
        if self.path.is_none() || !matches!(error.kind(), Kind::Full | Kind::Io | Kind::Denied | Kind::ReadOnly) {
            return Err(error);
        }
        tracing::warn!(error = %error.chain(), "the index of a store is kept in memory from now on");
        let mut bytes = vec![0; usize::try_from(self.records.len()).unwrap_or(usize::MAX)];
        self.records.read(0, &mut bytes)?;
        (self.records, self.path) = (Records::memory(bytes), None);
        self.records.append(section)
    }

    /// All records of a pack, if it is known and they can be read.
    pub fn spans_of(&self, name: &PackName) -> Option<Vec<(Bid, Span)>> {
        self.spans(self.pack(name)?).ok()
    }

    /// Its records are in the file.
    fn take(&mut self, pack: Pack) {
        self.names.insert((short(&pack.name), u32::try_from(self.packs.len()).unwrap_or(u32::MAX)));
        self.bytes += pack.bytes();
        self.alive += pack.section();
        self.packs.push(pack);
    }

    /// Its records do not count any more.
    fn drop_slot(&mut self, slot: u32) {
        let Some(pack) = self.packs.get_mut(slot as usize) else { return };
        pack.there = false;
        self.names.remove(&(short(&pack.name), slot));
        self.bytes -= pack.bytes();
        self.alive -= pack.section();
        self.dead += pack.name.count() as usize;
    }

    /// A pack is gone.
    pub fn remove(&mut self, name: &PackName) -> Result<()> {
        let Some(slot) = self.slot(name) else { return Ok(()) };
        let ids = self.packs.get(slot as usize).map_or(Ok(Vec::new()), |pack| self.spans(pack))?;
        // Without room for this the pack is there again after a restart, until the service is listed.
        let _ = self.records.append(&sections::Header { name: *name, size: None }.encode());
        self.drop_slot(slot);
        for id in distinct(&ids) {
            let was_last = self.places(&id)?.is_empty();
            self.blocks = self.blocks.saturating_sub(u64::from(was_last));
        }
        self.settle_if_due();
        Ok(())
    }

    /// Forget packs that are not in `listed` as they are known.
    pub fn keep_only(&mut self, listed: &BTreeMap<PackName, u64>) -> Result<()> {
        let gone = |pack: &&Pack| pack.there && listed.get(&pack.name) != Some(&pack.size);
        let gone: Vec<PackName> = self.packs.iter().filter(gone).map(|pack| pack.name).collect();
        gone.iter().try_for_each(|name| self.remove(name))
    }

    /// Bytes of a pack's object; 0 if it is not known.
    pub fn size(&self, name: &PackName) -> u64 {
        self.pack(name).map_or(0, |pack| pack.size)
    }

    /// Packs with less than `size` bytes.
    pub fn small(&self, size: u64) -> Vec<PackName> {
        self.packs.iter().filter(|pack| pack.there && pack.size < size).map(|pack| pack.name).collect()
    }
}

fn damaged() -> Error {
    Error::new(Kind::Corrupt, "read the index of a store", "").with_source("a record is damaged")
}
