//! Small reads: a few KiB of a block without opening all of it.
//!
//! Must never return what was not verified, and never decide that a block is damaged: whatever is not as it
//! should be, the block is read whole, and that way reports.

use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Blocks;
use crate::base::{Error, Kind, Result};
use crate::cas::cache::Key;
use crate::seal::{BlockType, Ref};

/// Reads of more bytes than this open the block whole.
const SMALL: usize = 32 << 10;
/// Blocks up to this many bytes are opened whole.
const SMALL_BLOCK: u32 = 48 << 10;
/// Blocks remembered as read in part a moment ago.
const REMEMBERED: usize = 64;

thread_local! {
    static GROUPS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Which blocks were read in part a moment ago: a second small read of one opens it whole, more will follow.
pub(super) struct Lately([AtomicU64; REMEMBERED]);

impl Default for Lately {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; REMEMBERED])
    }
}

impl Lately {
    /// Whether `r` was noted a moment ago. Notes it.
    fn has(&self, r: &Ref) -> bool {
        let name = r.bid.0.first_chunk().map_or(0, |part| u64::from_le_bytes(*part));
        let slot = usize::try_from(name % REMEMBERED as u64).ok().and_then(|at| self.0.get(at));
        slot.is_some_and(|slot| slot.swap(name, Ordering::Relaxed) == name)
    }
}

impl Blocks {
    /// Fill `out` with the plain bytes of a block of data from `skip` on, as [`Blocks::get`] would give them.
    /// Small reads of a block that is not cached verify and decrypt only what they touch. Same errors; also
    /// [`Kind::Corrupt`] if the block ends before.
    pub fn read(&self, r: &Ref, skip: usize, out: &mut [u8]) -> Result<()> {
        if is_small(r, out) {
            if let Some(plain) = self.plain.peek(&Key::new(BlockType::Data, 0, r)) {
                return copy(r, &plain, skip, out);
            }
            if !self.lately.has(r) {
                return match self.read_part(r, skip, out) {
                    Some(()) => Ok(()),
                    None => copy(r, &self.get_noting(r)?, skip, out),
                };
            }
        }
        copy(r, &self.get(BlockType::Data, 0, r)?, skip, out)
    }

    fn read_part(&self, r: &Ref, skip: usize, out: &mut [u8]) -> Option<()> {
        let stored = self.log.part(&r.bid)?;
        let part = self.sealer.part(r, &stored.aside, skip..skip.checked_add(out.len())?)?;
        GROUPS.with_borrow_mut(|groups| {
            groups.resize(part.sealed.len(), 0);
            stored.read(part.sealed.start, groups).ok()?;
            let range = part.open(groups)?;
            out.copy_from_slice(groups.get(range).filter(|plain| plain.len() == out.len())?);
            Some(())
        })
    }

    /// As [`Blocks::get`], keeping what lets the next small read of the block be one.
    fn get_noting(&self, r: &Ref) -> Result<bytes::Bytes> {
        let open = |sealed: &mut Vec<u8>| {
            let (opened, aside) = self.sealer.reopen_noting(r, sealed)?;
            self.log.keep_aside(&r.bid, &aside);
            Ok(opened)
        };
        let key = Key::new(BlockType::Data, 0, r);
        self.plain.get_or(key, || self.local_or_elsewhere(BlockType::Data, 0, r, open))
    }
}

fn is_small(r: &Ref, out: &[u8]) -> bool {
    out.len() <= SMALL && r.len > SMALL_BLOCK
}

fn copy(r: &Ref, plain: &[u8], skip: usize, out: &mut [u8]) -> Result<()> {
    let end = skip.checked_add(out.len());
    let found = end.and_then(|end| plain.get(skip..end));
    out.copy_from_slice(found.ok_or_else(|| Error::new(Kind::Corrupt, "read block", format!("{} is short", r.bid)))?);
    Ok(())
}

#[cfg(test)]
mod tests;
