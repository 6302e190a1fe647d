//! Forgetting what is gone: in memory now and then, in the file when most of it says nothing any more.
//!
//! Must never change anything when the new file cannot be written whole.

use super::records::Records;
use super::sections::{HEADER, MAGIC};
use super::{Index, MOST_RECORDS, Pack, number, short};
use crate::base::Result;

/// Files up to this many bytes stay as they are.
const LEAST: u64 = 1 << 20;

impl Index {
    pub(super) fn settle_if_due(&mut self) {
        if self.entries.is_due(self.dead) {
            self.settle();
        }
    }

    /// Forget the entries of packs that are gone, and make one run of the others.
    pub(super) fn settle(&mut self) {
        let mut gone: Vec<(u32, u32)> = Vec::new();
        for pack in self.packs.iter().filter(|pack| !pack.there) {
            let end = pack.first + pack.name.count();
            match gone.last_mut().filter(|last| last.1 == pack.first) {
                Some(last) => last.1 = end,
                None => gone.push((pack.first, end)),
            }
        }
        let is_gone = |number: u32| {
            let after = gone.partition_point(|(first, _)| *first <= number);
            after.checked_sub(1).and_then(|at| gone.get(at)).is_some_and(|(_, end)| number < *end)
        };
        self.entries.settle(|entry| gone.is_empty() || !is_gone(number(entry)));
        self.dead = 0;
        if !gone.is_empty() {
            self.packs.retain(|pack| pack.there);
            self.packs.shrink_to(self.packs.len() + self.packs.len() / 8);
            self.names = self.packs.iter().zip(0..).map(|(pack, slot)| (short(&pack.name), slot)).collect();
        }
    }

    /// Write the file anew if more than half of it is dead. It stays as it is when that fails.
    pub fn compact_if_due(&mut self) {
        let len = self.records.len();
        let numbers = self.next > MOST_RECORDS / 2; // those of the dead are free again after it
        if len > LEAST && self.alive * 2 < len || numbers && self.alive + self.alive / 8 < len {
            self.settle();
            if let Err(error) = self.compact() {
                tracing::warn!(error = %error.chain(), "the index of a store stays larger than it has to be");
            }
        }
    }

    /// Settled before.
    pub(super) fn compact(&mut self) -> Result<()> {
        let mut draft = self.records.draft()?;
        let packs = match self.copy_to(&mut draft) {
            Ok(packs) => packs,
            Err(error) => {
                draft.discard();
                return Err(error);
            }
        };
        self.records.replace(draft)?;
        let before = std::mem::replace(&mut self.packs, packs);
        self.next = self.packs.last().map_or(0, |pack| pack.first + pack.name.count());
        let shift = |entry: u64| {
            let slot = before.partition_point(|pack| pack.first <= number(entry)).saturating_sub(1);
            let by = before.get(slot).zip(self.packs.get(slot)).map_or(0, |(old, new)| old.first - new.first);
            entry - u64::from(by)
        };
        self.entries.renumber(shift);
        Ok(())
    }

    /// All sections that say something. Gives the packs as they are there.
    fn copy_to(&self, draft: &mut Records) -> Result<Vec<Pack>> {
        draft.append(MAGIC)?;
        let (mut packs, mut first) = (Vec::with_capacity(self.packs.len()), 0);
        for pack in &self.packs {
            let mut section = vec![0; usize::try_from(pack.section()).unwrap_or(0)];
            self.records.read(pack.at - HEADER as u64, &mut section)?;
            let at = draft.len() + HEADER as u64;
            draft.append(&section)?;
            packs.push(Pack { first, at, ..*pack });
            first += pack.name.count();
        }
        Ok(packs)
    }

    /// Bytes of memory it takes, about; those of the records in memory not counted.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        let names = self.names.len() * 24;
        self.entries.memory() + self.packs.capacity() * size_of::<Pack>() + names
    }
}
