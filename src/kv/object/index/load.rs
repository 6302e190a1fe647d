//! From the file to memory: one pass over it, then one sort.
//!
//! Must never believe anything behind the first byte that is wrong.

use std::path::Path;

use super::records::Records;
use super::sections::{MAGIC, RECORD, scan};
use super::{Index, MOST_RECORDS, NUMBER_BITS, Pack, entry, number};
use crate::base::Result;
use crate::kv::sorted::Sorted;

impl Index {
    /// What `records` say; what is torn or damaged is cut off, what is not of this version replaced.
    pub(super) fn load(mut records: Records, path: Option<&Path>) -> Result<Self> {
        let mut magic = [0; MAGIC.len()];
        if records.len() < MAGIC.len() as u64 || records.read(0, &mut magic).is_err() || magic != *MAGIC {
            records.cut(0)?;
            records.append(MAGIC)?;
        }
        let mut index = Self::empty(Records::memory(Vec::new()), path);
        let most = usize::try_from(records.len()).unwrap_or(usize::MAX) / RECORD;
        let mut entries = Vec::with_capacity(most.min(MOST_RECORDS as usize));
        let end = scan(&records, |header, at, spans| {
            let Some(size) = header.size else {
                if let Some(slot) = index.slot(&header.name) {
                    index.drop_slot(slot);
                }
                return true;
            };
            let first = index.next;
            let next = first.checked_add(header.records()).filter(|next| *next <= MOST_RECORDS);
            let Some(next) = next.filter(|_| !index.knows(&header.name)) else { return false };
            index.next = next;
            let pack = Pack { name: header.name, first, at, size, seed: header.seed(), there: true };
            index.take(pack);
            entries.extend(spans.iter().zip(first..).map(|((id, _), number)| entry(id, number)));
            true
        });
        if end < records.len() {
            records.cut(end)?;
        }
        index.records = records;
        index.entries = Sorted::new(entries);
        index.settle();
        index.blocks = index.entries.len() as u64 - index.repeated()?;
        index.compact_if_due();
        Ok(index)
    }

    /// Entries beyond the first of the same id. Reads only of ids that begin alike. Settled before.
    fn repeated(&self) -> Result<u64> {
        let (mut repeated, mut alike) = (0, Vec::new());
        let mut entries = self.entries.range(0..=u64::MAX).peekable();
        while let Some(entry) = entries.next() {
            let more = entries.peek().is_some_and(|next| next >> NUMBER_BITS == entry >> NUMBER_BITS);
            if (more || !alike.is_empty())
                && let Some(pack) = self.pack_of(number(entry))
            {
                alike.push(self.record(pack, number(entry))?.0);
            }
            if !more && !alike.is_empty() {
                let all = alike.len();
                alike.sort_unstable();
                alike.dedup();
                repeated += (all - alike.len()) as u64;
                alike.clear();
            }
        }
        Ok(repeated)
    }
}
