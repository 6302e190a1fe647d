//! A hint where the last checkpoint is: two checksummed slots, written in turn.
//!
//! Opening starts scanning there. Must never be the only proof of anything: with both slots gone the
//! log is scanned whole and the same state comes out.

use std::sync::Arc;

use super::Lsn;
use super::disk::{Disk, DiskFile};
use crate::base::{Context, Result};

const NAME: &str = "locator";
const SLOT: usize = 64;
const STRIDE: u64 = 4096;
const MAGIC: &[u8; 8] = b"LvLocat1";

/// What a slot says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Hint {
    /// Rises with every write; the higher valid slot counts.
    pub sequence: u64,
    /// Scanning may start here: the last checkpoint covers everything before.
    pub scan_from: Lsn,
    /// The log's end at a clean close; zero while open.
    pub clean_end: Lsn,
    /// Blocks before this were there at an unclean stop and are verified when put again.
    pub suspect_before: Lsn,
    /// The log's end when it was last opened: everything before was durable then.
    pub settled: Lsn,
}

/// The open locator file.
pub struct Locator {
    file: Arc<dyn DiskFile>,
    hint: Hint,
}

impl Locator {
    /// Read the better slot, creating the file if absent. The flag says whether a slot was valid.
    pub fn open(disk: &dyn Disk) -> Result<(Self, bool)> {
        let subject = || NAME.to_owned();
        let file = match disk.open(NAME) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let file = disk.create(NAME).io("create locator", subject)?;
                disk.sync_dir().io("sync directory", subject)?;
                file
            }
            other => other.io("open locator", subject)?,
        };
        let found = [0, 1].into_iter().filter_map(|slot| read_slot(&*file, slot)).max_by_key(|h| h.sequence);
        Ok((Self { file, hint: found.unwrap_or_default() }, found.is_some()))
    }

    /// What is known.
    pub fn hint(&self) -> Hint {
        self.hint
    }

    /// Write the next slot durably. On error the other slot still holds the old hint.
    pub fn store(&mut self, change: impl FnOnce(&mut Hint)) -> Result<()> {
        let mut next = self.hint;
        change(&mut next);
        next.sequence = self.hint.sequence.wrapping_add(1);
        let at = (next.sequence % 2) * STRIDE;
        self.file.write_at(&[&encode(&next)], at).io("write locator", || NAME.to_owned())?;
        self.file.sync_data().io("sync locator", || NAME.to_owned())?;
        self.hint = next;
        Ok(())
    }
}

fn encode(hint: &Hint) -> [u8; SLOT] {
    let mut out = [0; SLOT];
    out[..8].copy_from_slice(MAGIC);
    let words = [hint.sequence, hint.scan_from.0, hint.clean_end.0, hint.suspect_before.0, hint.settled.0];
    for (i, word) in words.iter().enumerate() {
        out[8 + i * 8..16 + i * 8].copy_from_slice(&word.to_le_bytes());
    }
    let crc = crc32c::crc32c(&out[..60]);
    out[60..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn read_slot(file: &dyn DiskFile, slot: u64) -> Option<Hint> {
    let mut bytes = [0; SLOT];
    let n = file.read_at(&mut bytes, slot * STRIDE).ok()?;
    if n != SLOT || &bytes[..8] != MAGIC || crc32c::crc32c(&bytes[..60]).to_le_bytes() != bytes[60..] {
        return None;
    }
    let word = |i: usize| bytes[8 + i * 8..16 + i * 8].try_into().map(u64::from_le_bytes).ok();
    let lsn = |i: usize| word(i).map(Lsn);
    Some(Hint { sequence: word(0)?, scan_from: lsn(1)?, clean_end: lsn(2)?, suspect_before: lsn(3)?, settled: lsn(4)? })
}
