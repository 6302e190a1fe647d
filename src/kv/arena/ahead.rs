//! What is done ahead of the records of the active arena: space reserved, zeros written, writeback started.

use super::Lsn;
use super::arena_file::Arena;
use super::disk::DiskFile;
use crate::base::{Context, Result};

/// Space is reserved in the file in steps of at most this many bytes.
const STEP: u64 = 4 << 20;
/// Writeback starts each time this many bytes have gathered.
const WRITEBACK: u64 = 8 << 20;
/// Zeros written ahead when small syncs come in a row, so that they need not commit metadata.
const AHEAD: u64 = 1 << 20;
/// A sync of fewer bytes than this is small.
const SMALL_SYNC: u64 = 128 << 10;
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// How far ahead of the records each of them went.
pub struct Ahead {
    reserved: u64,
    zeroed: u64,
    written_back: u64,
    /// Durable position seen by the last append, and how many small syncs came in a row.
    last_durable: Lsn,
    small_syncs: u32,
}

impl Ahead {
    /// Of an arena whose records end at `end` and whose file has space up to `reserved`.
    pub fn new(reserved: u64, end: u64) -> Self {
        Self { reserved, zeroed: 0, written_back: end, last_durable: Lsn::ZERO, small_syncs: 0 }
    }

    /// Up to where records can be written without running out of space.
    pub fn reserved(&self) -> u64 {
        self.reserved
    }

    /// What was reserved behind `end` was given back.
    pub fn trimmed(&mut self, end: u64) {
        self.reserved = end;
    }

    /// Reserve space up to `wanted`, in steps of `step` where there is room for steps.
    pub fn reserve(&mut self, arena: &Arena, wanted: u64, step: u64) -> Result<()> {
        if wanted <= self.reserved {
            return Ok(());
        }
        let (from, step) = (self.reserved, STEP.min(step));
        let reached = match arena.file.allocate(from, wanted + step - from) {
            Err(e) if e.raw_os_error() == Some(libc::ENOSPC) => {
                arena.file.allocate(from, wanted - from).map(|()| wanted)
            }
            other => other.map(|()| wanted + step),
        };
        self.reserved = reached.io("reserve space", || arena.name())?;
        Ok(())
    }

    /// A record was appended that ends at `end`, and everything before `durable` is on the disk: do what helps the
    /// next sync, zeros ahead for small ones, early writeback for big ones.
    pub fn appended(&mut self, arena: &Arena, end: u64, durable: Lsn) {
        if durable != self.last_durable {
            let same = durable.arena() == self.last_durable.arena();
            let small = same && durable.offset() - self.last_durable.offset() < SMALL_SYNC;
            self.small_syncs = if small { self.small_syncs + 1 } else { 0 };
            self.last_durable = durable;
        }
        if self.small_syncs >= 2 && end > self.zeroed {
            let stop = (end + AHEAD).min(self.reserved);
            if write_zeros(&*arena.file, end, stop).is_ok() {
                self.zeroed = stop;
            }
        }
        if end - self.written_back >= WRITEBACK {
            arena.file.start_writeback(self.written_back, end - self.written_back);
            self.written_back = end;
        }
    }
}

fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> std::io::Result<()> {
    let mut at = from;
    while at < to {
        let n = (to - at).min(ZEROS.len() as u64);
        file.write_at(&[&ZEROS[..usize::try_from(n).unwrap_or(0)]], at)?;
        at += n;
    }
    Ok(())
}
