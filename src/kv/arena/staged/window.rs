//! The bytes appended to a file and not given to the disk yet, in page-aligned memory.
//!
//! Pure bookkeeping: writes nothing.

use std::io;
use std::ops::Range;

use memmap2::MmapMut;

/// Bytes gathered before they are written.
pub const ROOM: usize = 1 << 20;
/// Direct writes start and end at multiples of this.
pub const PAGE: u64 = 4096;

/// The bytes of the file from `start` on that gather.
#[derive(Default)]
pub struct Window {
    /// Page-aligned; the byte for file offset `o` stands at `start % PAGE + (o - start)`.
    memory: Option<MmapMut>,
    pub start: u64,
    pub len: usize,
}

/// Whole pages of a window that are on their way to the disk.
pub struct Load {
    memory: MmapMut,
    pages: Range<usize>,
    /// Where they belong in the file.
    pub start: u64,
}

impl Load {
    /// The pages.
    pub fn bytes(&self) -> &[u8] {
        self.memory.get(self.pages.clone()).unwrap_or_default()
    }

    /// Offset just behind them.
    pub fn end(&self) -> u64 {
        self.start + self.pages.len() as u64
    }

    /// The memory, to gather in again.
    pub fn into_memory(self) -> MmapMut {
        self.memory
    }
}

impl Window {
    /// Offset just behind the last gathered byte.
    pub fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    fn lead(&self) -> usize {
        usize::try_from(self.start % PAGE).unwrap_or(0)
    }

    /// What has gathered.
    pub fn bytes(&self) -> &[u8] {
        let lead = self.lead();
        self.memory.as_deref().and_then(|m| m.get(lead..lead + self.len)).unwrap_or_default()
    }

    /// Take in as much of `data` as there is room for; returns how much.
    pub fn push(&mut self, data: &[u8]) -> io::Result<usize> {
        let from = self.lead() + self.len;
        let memory = match &mut self.memory {
            Some(memory) => memory,
            none => none.insert(MmapMut::map_anon(ROOM)?),
        };
        let n = data.len().min(memory.len() - from);
        memory[from..from + n].copy_from_slice(&data[..n]);
        self.len += n;
        Ok(n)
    }

    /// Forget the first bytes, up to the page boundary `to` or the end.
    pub fn advance(&mut self, to: u64) {
        let lead = self.lead();
        let gone = usize::try_from(to - self.start).unwrap_or(self.len).min(self.len);
        let rest = lead + gone..lead + self.len;
        if let Some(memory) = self.memory.as_deref_mut() {
            memory.copy_within(rest, usize::try_from(to % PAGE).unwrap_or(0));
        }
        self.start = to;
        self.len -= gone;
    }

    /// Cut the bytes from `end` on off again.
    pub fn cut(&mut self, end: u64) {
        self.len = usize::try_from(end.saturating_sub(self.start)).unwrap_or(0).min(self.len);
    }

    /// Take all whole pages out; what stands before the first boundary must have been written. What follows the
    /// last stays, in `fresh` memory.
    pub fn take_pages(&mut self, mut fresh: MmapMut) -> Option<Load> {
        let (first, last) = (self.start.next_multiple_of(PAGE), self.end() - self.end() % PAGE);
        let from = self.lead() + usize::try_from(first - self.start).ok()?;
        let pages = from..from + usize::try_from(last.checked_sub(first)?).ok()?;
        let rest = pages.end..self.lead() + self.len;
        let memory = self.memory.take()?;
        fresh[..rest.len()].copy_from_slice(&memory[rest.clone()]);
        (self.memory, self.start, self.len) = (Some(fresh), last, rest.len());
        Some(Load { memory, pages, start: first })
    }

    /// Give the memory back if nothing is in it.
    pub fn rest(&mut self) {
        if self.len == 0 {
            self.memory = None;
        }
    }
}
