//! Is there room on the disk for what is being written?
//!
//! Content reaches the log after the write that brought it was answered, so a full disk must be noticed
//! before: a write that could not be stored is refused with "no space" while its program can still be told.

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::base::{Context, Error, Kind, Result};

/// Always left free, for journal entries, tree nodes and deletions: a twelfth of the disk, within these bounds.
const RESERVE: std::ops::RangeInclusive<u64> = 6 << 20..=24 << 20;
/// Look at the disk again after this many bytes were promised.
const STRIDE: i64 = 32 << 20;

/// An allowance of bytes that surely fit.
#[derive(Debug, Default)]
pub(super) struct Room {
    allowance: AtomicI64,
}

impl Room {
    /// Promise `len` bytes beside the `held` ones that still wait for the disk under `dir`.
    /// [`Kind::Full`] if they would not fit.
    pub fn take(&self, len: u64, held: u64, dir: &Path) -> Result<()> {
        let len = i64::try_from(len).unwrap_or(i64::MAX);
        if self.allowance.fetch_sub(len, Ordering::Relaxed) > len {
            return Ok(());
        }
        let disk = look(dir)?;
        let free = i64::try_from(disk.free).unwrap_or(i64::MAX);
        let left = free.saturating_sub_unsigned(reserve(disk.size).saturating_add(held));
        if left < len {
            self.allowance.store(0, Ordering::Relaxed);
            return Err(Error::new(Kind::Full, "write", "the disk of the volume's home is full"));
        }
        self.allowance.store(left.min(STRIDE), Ordering::Relaxed);
        Ok(())
    }
}

/// A filesystem's bytes: all, and those free to this user.
struct Space {
    size: u64,
    free: u64,
}

fn look(dir: &Path) -> Result<Space> {
    let vfs = rustix::fs::statvfs(dir)
        .map_err(std::io::Error::from)
        .io("look at free space", || dir.display().to_string())?;
    let bytes = |blocks: u64| blocks.saturating_mul(vfs.f_frsize.max(1));
    Ok(Space { size: bytes(vfs.f_blocks), free: bytes(vfs.f_bavail) })
}

/// What of a disk of `size` bytes is never promised.
fn reserve(size: u64) -> u64 {
    (size / 12).clamp(*RESERVE.start(), *RESERVE.end())
}

/// Bytes free to this user on the filesystem of `dir`.
pub(super) fn free_bytes(dir: &Path) -> Result<u64> {
    look(dir).map(|space| space.free)
}

/// Whether the next large write to `dir` would be refused. False when nobody can tell.
pub(super) fn is_full(dir: &Path) -> bool {
    look(dir).is_ok_and(|space| space.free < reserve(space.size).saturating_add(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_refused_and_what_can_is_not() {
        let room = Room::default();
        let dir = std::env::temp_dir();
        assert!(room.take(1, 0, &dir).is_ok());
        assert_eq!(room.take(1 << 60, 0, &dir).map_err(|e| e.kind()), Err(Kind::Full));
        assert_eq!(room.take(1, 1 << 60, &dir).map_err(|e| e.kind()), Err(Kind::Full));
        assert!(room.take(1, 0, &dir).is_ok(), "room that was there stays there");
    }
}
