//! Who belongs to a volume: what a set of records adds up to.
//!
//! The result depends on the set of records only, not on the order in which they came. Must never let an
//! index, once given, mean another device.

use std::collections::{BTreeMap, BTreeSet};

use super::Role;
use super::record::{Entry, Member, Record, is_proven};
use crate::base::{VolumeId, WriterIndex};
use crate::seal::boxed::BOXED;

/// Sealed secrets of one epoch, by reader.
pub type Boxes = BTreeMap<WriterIndex, [u8; BOXED]>;

/// Members, removals and epochs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Everyone ever added, with the role of today.
    added: BTreeMap<WriterIndex, Member>,
    /// Everyone ever removed: one removal on any branch is enough.
    removed: BTreeSet<WriterIndex>,
    /// What those who go on under another index were first.
    first: BTreeMap<WriterIndex, WriterIndex>,
    epochs: BTreeMap<u32, Boxes>,
    /// To how many storage members a large block goes; 0: to all.
    copies: u8,
    /// By the first index of a storage member: the class of its room.
    rooms: BTreeMap<WriterIndex, u8>,
}

/// Most copies that can be asked for.
pub const MAX_COPIES: u8 = 16;
/// Greatest class of room: bytes are counted in 64 bits.
const MAX_CLASS: u8 = 63;

/// Indexes that a member with this index may give to others: its own sixteen bits. Two admins apart from each
/// other therefore never give one index to two devices. Nobody below has a lane: `None`.
pub fn lane(by: WriterIndex) -> Option<std::ops::RangeInclusive<WriterIndex>> {
    let by = u16::try_from(by).ok()?;
    let base = u32::from(by) << 16;
    Some(base.max(1)..=base | 0xffff)
}

impl Table {
    /// Devices that belong, by index.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.added.values().filter(|m| self.belongs(m.writer))
    }

    /// Under which index a device came in: its own, unless it was set back since.
    pub fn first(&self, writer: WriterIndex) -> WriterIndex {
        self.first.get(&writer).copied().unwrap_or(writer)
    }

    /// Every index of the device that has this one, itself too.
    pub fn same(&self, writer: WriterIndex) -> impl Iterator<Item = &Member> {
        let first = self.first(writer);
        self.added.values().filter(move |m| self.first(m.writer) == first)
    }

    fn belongs(&self, writer: WriterIndex) -> bool {
        !self.removed.contains(&writer) && !self.removed.contains(&self.first(writer))
    }

    /// A member, or one that was.
    pub fn ever(&self, writer: WriterIndex) -> Option<&Member> {
        self.added.get(&writer)
    }

    /// Everyone ever added and whether they still belong.
    pub fn everyone(&self) -> impl Iterator<Item = (&Member, bool)> {
        self.added.values().map(|m| (m, self.belongs(m.writer)))
    }

    /// The member with this index.
    pub fn member(&self, writer: WriterIndex) -> Option<&Member> {
        self.added.get(&writer).filter(|m| self.belongs(m.writer))
    }

    /// Every epoch after the first, with its sealed secrets.
    pub fn epochs(&self) -> &BTreeMap<u32, Boxes> {
        &self.epochs
    }

    /// The newest epoch; 0 at first.
    pub fn epoch(&self) -> u32 {
        self.epochs.keys().next_back().copied().unwrap_or(0)
    }

    /// Devices that may read, by index.
    pub fn readers(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|m| m.role.reads())
    }

    /// To how many storage members each large block goes; 0: to all.
    pub fn copies(&self) -> u8 {
        self.copies
    }

    /// The class of a storage member's room, as an admin wrote it down.
    pub fn room(&self, writer: WriterIndex) -> Option<u8> {
        self.rooms.get(&self.first(writer)).copied()
    }

    /// Whether somebody who may read no more was given the newest epoch's secret, as when two admins changed the
    /// members apart from each other: then an admin starts another.
    pub fn is_compromised(&self) -> bool {
        let reads = |writer: &WriterIndex| self.member(*writer).is_some_and(|m| m.role.reads());
        match self.epochs.last_key_value() {
            Some((_, boxes)) => !boxes.keys().all(reads),
            None => self.added.values().any(|m| m.role.reads() && !reads(&m.writer)),
        }
    }

    /// The next index that the member `by` may give.
    pub fn next_writer(&self, by: WriterIndex) -> Option<WriterIndex> {
        self.next_writer_from(by, 0)
    }

    /// The same, from somewhere in the middle: whoever does not know what it gave before does not give it again.
    pub fn next_writer_from(&self, by: WriterIndex, somewhere: u16) -> Option<WriterIndex> {
        let lane = lane(self.first(by))?;
        let middle = *lane.start() | u32::from(somewhere);
        let used = |index: &WriterIndex| {
            self.added.contains_key(index) || self.first.contains_key(index) || self.removed.contains(index)
        };
        let free = |index: &WriterIndex| !used(index);
        (middle..=*lane.end()).chain(lane.clone()).find(free)
    }

    /// The next epoch that the member `by` may start: unlike any that another starts at the same time.
    pub fn next_epoch(&self, by: WriterIndex) -> Option<u32> {
        let next = (self.epoch() >> 16).checked_add(1)?;
        Some(next.checked_shl(16).filter(|_| next <= 0xffff)? | u32::from(u16::try_from(self.first(by)).ok()?))
    }

    /// Whether the member `by` may make this change now.
    pub(super) fn allows(&self, volume: VolumeId, by: WriterIndex, entry: &Entry) -> bool {
        let mine = |writer: &WriterIndex| lane(self.first(by)).is_some_and(|lane| lane.contains(writer));
        let fresh = |writer: &WriterIndex, author: &[u8; 32]| {
            mine(writer) && !self.added.contains_key(writer) && self.added.values().all(|m| m.author != *author)
        };
        match entry {
            Entry::Add(member) => fresh(&member.writer, &member.author),
            Entry::Again { of, writer, author, proof } => {
                let before = self.added.get(of);
                fresh(writer, author) && before.is_some_and(|m| is_proven(volume, &m.author, author, proof))
            }
            Entry::Remove(writer) | Entry::Role(writer, _) => self.added.contains_key(&self.first(*writer)),
            Entry::Copies(copies) => *copies <= MAX_COPIES,
            Entry::Room(writer, class) => self.added.contains_key(&self.first(*writer)) && *class <= MAX_CLASS,
            Entry::Epoch { epoch, .. } => *epoch > self.epoch() && self.next_epoch(by).is_some_and(|e| e == *epoch),
        }
    }

    /// Take over what a record says that is allowed. Where two branches clash, the first in order stays.
    pub(super) fn apply(&mut self, record: &Record) {
        for entry in &record.entries {
            match entry {
                Entry::Add(member) => {
                    self.added.entry(member.writer).or_insert_with(|| member.clone());
                }
                Entry::Remove(writer) => {
                    self.removed.insert(*writer);
                    self.removed.insert(self.first(*writer));
                }
                Entry::Role(writer, role) => {
                    let first = self.first(*writer);
                    let same: Vec<_> = self.same(first).map(|m| m.writer).collect();
                    for writer in same {
                        if let Some(member) = self.added.get_mut(&writer) {
                            member.role = *role;
                        }
                    }
                }
                Entry::Again { of, writer, author, .. } => {
                    // Two admins that were asked at once: one key has one index, and the other stands for it.
                    let taken = self.added.contains_key(writer) || self.added.values().any(|m| m.author == *author);
                    if !self.added.contains_key(writer) {
                        self.first.insert(*writer, self.first(*of));
                    }
                    if let Some(before) = self.added.get(of).filter(|_| !taken) {
                        let again = Member { writer: *writer, author: *author, ..before.clone() };
                        self.added.insert(*writer, again);
                    }
                }
                // Of two branches the later in order counts, as for roles.
                Entry::Copies(copies) => self.copies = *copies,
                Entry::Room(writer, class) => {
                    self.rooms.insert(self.first(*writer), *class);
                }
                Entry::Epoch { epoch, boxes } => {
                    self.epochs.entry(*epoch).or_insert_with(|| boxes.iter().copied().collect());
                }
            }
        }
    }

    /// The index under which `signer` may sign, if it may: an admin's author key, or the founder's own.
    pub(super) fn authority(&self, signer: &[u8; 32], founder: &[u8; 32]) -> Option<WriterIndex> {
        if signer == founder {
            return self.member(0).filter(|m| m.role == Role::Admin).map(|m| m.writer);
        }
        self.members().find(|m| m.role == Role::Admin && m.author == *signer).map(|m| m.writer)
    }
}
