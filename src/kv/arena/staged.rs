//! A file whose appended bytes gather in memory and reach the disk in large pieces, past the page cache.
//!
//! Writing a record at a time through the page cache costs a copy, a fresh page for every 4 KiB and a system
//! call for every record; what is in the log is rarely read again soon, and then from other caches. Small
//! syncs still go through the page cache, where they are fastest. Must never let a reader miss what was
//! written, nor forget bytes whose write failed: they stay readable until the file is dropped or cut.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::MmapMut;

use super::disk::DiskFile;
use crate::base::sync::{Mutex, MutexGuard};

/// Bytes gathered before they are written.
const ROOM: usize = 1 << 20;
const PAGE: u64 = 4096;
/// Less than this is written through the page cache.
const SMALL: usize = 64 << 10;
/// Nothing is gathered.
const NOTHING: u64 = u64::MAX;

/// Wraps a file that is mostly appended to.
pub struct Staged {
    file: Arc<dyn DiskFile>,
    window: Mutex<Window>,
    /// Where the window starts, readable without its lock.
    start: AtomicU64,
}

/// The bytes of the file from `start` on that are not written yet.
#[derive(Default)]
struct Window {
    /// Page-aligned; the byte for file offset `o` stands at `start % PAGE + (o - start)`.
    memory: Option<MmapMut>,
    start: u64,
    len: usize,
}

impl Window {
    fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    fn lead(&self) -> usize {
        usize::try_from(self.start % PAGE).unwrap_or(0)
    }

    fn bytes(&self) -> &[u8] {
        let lead = self.lead();
        self.memory.as_deref().and_then(|m| m.get(lead..lead + self.len)).unwrap_or_default()
    }

    /// Take in as much of `data` as there is room for; returns how much.
    fn push(&mut self, data: &[u8]) -> io::Result<usize> {
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

    /// Forget the first bytes, up to the page boundary `to`.
    fn advance(&mut self, to: u64) {
        let lead = self.lead();
        let gone = usize::try_from(to - self.start).unwrap_or(self.len).min(self.len);
        let rest = lead + gone..lead + self.len;
        if let Some(memory) = self.memory.as_deref_mut() {
            memory.copy_within(rest, usize::try_from(to % PAGE).unwrap_or(0));
        }
        self.start = to;
        self.len -= gone;
    }
}

impl Staged {
    /// `file`, with nothing gathered yet.
    pub fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, window: Mutex::default(), start: AtomicU64::new(NOTHING) }
    }

    /// Write what is gathered: all of it, or whole pages only. On an error everything stays gathered.
    fn flush(&self, window: &mut Window, all: bool) -> io::Result<()> {
        let (start, end, lead) = (window.start, window.end(), window.lead());
        let (first, last) = (start.next_multiple_of(PAGE), end - end % PAGE);
        let bytes = window.bytes();
        if bytes.len() < SMALL || first >= last {
            if all {
                self.file.write_at(&[bytes], start)?;
                window.advance(end);
            }
        } else {
            let (head, rest) = bytes.split_at(usize::try_from(first - start).unwrap_or(0));
            let (pages, tail) = rest.split_at(usize::try_from(last - first).unwrap_or(0));
            debug_assert_eq!((lead + head.len()) % usize::try_from(PAGE).unwrap_or(1), 0);
            if !head.is_empty() {
                self.file.write_at(&[head], start)?;
            }
            self.file.write_pages(pages, first)?;
            if all && !tail.is_empty() {
                self.file.write_at(&[tail], last)?;
            }
            window.advance(if all { end } else { last });
        }
        self.publish(window);
        Ok(())
    }

    fn publish(&self, window: &Window) {
        self.start.store(if window.len == 0 { NOTHING } else { window.start }, Ordering::Release);
    }

    /// Write out everything if the window touches `range`.
    fn settled(&self, from: u64, to: u64) -> io::Result<MutexGuard<'_, Window>> {
        let mut window = self.window.lock();
        if window.len > 0 && from < window.end() && window.start < to {
            self.flush(&mut window, true)?;
        }
        Ok(window)
    }

    fn append(&self, window: &mut Window, part: &[u8]) -> io::Result<()> {
        let mut rest = part;
        while !rest.is_empty() {
            let n = window.push(rest)?;
            self.publish(window);
            rest = &rest[n..];
            if !rest.is_empty() {
                self.flush(window, false)?;
            }
        }
        Ok(())
    }
}

impl DiskFile for Staged {
    fn len(&self) -> io::Result<u64> {
        let window = self.window.lock();
        Ok(self.file.len()?.max(if window.len > 0 { window.end() } else { 0 }))
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset.saturating_add(out.len() as u64);
        if end <= self.start.load(Ordering::Acquire) {
            return self.file.read_at(out, offset);
        }
        let window = self.window.lock();
        let (from, to) = (offset.max(window.start), end.min(window.end()));
        if window.len == 0 || from >= to {
            drop(window);
            return self.file.read_at(out, offset);
        }
        let covered = from == offset && to == end;
        let below = if covered { 0 } else { self.file.read_at(out, offset)? };
        let at = usize::try_from(from - window.start).unwrap_or(0);
        let here = usize::try_from(from - offset).unwrap_or(0)..usize::try_from(to - offset).unwrap_or(0);
        let there = at..at + here.len();
        out[here.clone()].copy_from_slice(&window.bytes()[there]);
        Ok(below.max(here.end))
    }

    fn read_two(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset.saturating_add((head.len() + body.len()) as u64);
        if end <= self.start.load(Ordering::Acquire) {
            return self.file.read_two(head, body, offset);
        }
        let n = self.read_at(head, offset)?;
        Ok(n + self.read_at(body, offset + n as u64)?)
    }

    fn read_once(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let written = offset.saturating_add(out.len() as u64) <= self.start.load(Ordering::Acquire);
        if written { self.file.read_once(out, offset) } else { self.read_at(out, offset) }
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let len: usize = parts.iter().map(|p| p.len()).sum();
        let mut window = self.window.lock();
        if window.len == 0 {
            window.start = offset;
        } else if window.end() != offset {
            drop(window);
            let _settled = self.settled(offset, offset.saturating_add(len as u64))?;
            return self.file.write_at(parts, offset);
        }
        // An error takes back what this call brought: the caller will not count it as written.
        let before = window.end();
        for part in parts {
            if let Err(error) = self.append(&mut window, part) {
                window.len = usize::try_from(before.saturating_sub(window.start)).unwrap_or(0).min(window.len);
                self.publish(&window);
                return Err(error);
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut window = self.window.lock();
        if window.len > 0 {
            self.flush(&mut window, true)?;
        }
        drop(window);
        self.file.sync_data()
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.file.start_writeback(offset, len);
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.allocate(offset, len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let _settled = self.settled(offset, offset.saturating_add(len))?;
        self.file.punch(offset, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut window = self.window.lock();
        if window.len > 0 && len < window.end() {
            window.len = usize::try_from(len.saturating_sub(window.start)).unwrap_or(0);
            self.publish(&window);
        }
        self.file.truncate(len)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.file.allocated()
    }

    fn rest(&self) {
        let mut window = self.window.lock();
        if window.len == 0 {
            window.memory = None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
mod tests {
    use super::super::disk::Disk;
    use super::super::sim::{Call, Dice, SimDisk};
    use super::*;

    fn staged() -> (SimDisk, Staged) {
        let disk = SimDisk::default();
        let file = disk.create("f").unwrap();
        (disk, Staged::new(file))
    }

    fn noise(dice: &mut Dice, len: usize) -> Vec<u8> {
        (0..len).map(|_| dice.next() as u8).collect()
    }

    #[test]
    fn it_reads_like_a_plain_buffer_whatever_is_written_where() {
        for seed in 0..60 {
            let mut dice = Dice(seed);
            let (_, file) = staged();
            let mut model: Vec<u8> = Vec::new();
            for _ in 0..60 {
                let len = if dice.one_in(4) { dice.below(700_000) } else { dice.below(9_000) } as usize;
                match dice.below(8) {
                    0..=4 => {
                        let data = noise(&mut dice, len);
                        let (a, b) = data.split_at(len / 3);
                        file.write_at(&[a, b], model.len() as u64).unwrap();
                        model.extend(&data);
                    }
                    5 => {
                        let at = dice.below(model.len() as u64 + 1) as usize;
                        let data = noise(&mut dice, len);
                        file.write_at(&[&data], at as u64).unwrap();
                        model.resize(model.len().max(at + len), 0);
                        model[at..at + len].copy_from_slice(&data);
                    }
                    6 => file.sync_data().unwrap(),
                    _ => {
                        let at = dice.below(model.len() as u64 + 1) as usize;
                        file.truncate(at as u64).unwrap();
                        model.truncate(at);
                    }
                }
                let at = dice.below(model.len() as u64 + 1) as usize;
                let mut out = vec![0; (len + 60).min(model.len() - at)];
                assert_eq!(file.read_at(&mut out, at as u64).unwrap(), out.len(), "seed {seed}");
                assert!(out == model[at..at + out.len()], "seed {seed}");
                assert_eq!(file.len().unwrap(), model.len() as u64, "seed {seed}");
            }
        }
    }

    #[test]
    fn what_was_written_before_a_sync_survives_a_power_cut() {
        let mut dice = Dice(7);
        let (disk, file) = staged();
        disk.sync_dir().unwrap();
        let data = noise(&mut dice, 3_000_001);
        data.chunks(100_000).fold(0, |at, part| {
            file.write_at(&[part], at).unwrap();
            at + part.len() as u64
        });
        file.sync_data().unwrap();
        disk.crash(&mut dice);
        let mut out = vec![0; data.len()];
        disk.open("f").unwrap().read_at(&mut out, 0).unwrap();
        assert!(out == data);
    }

    #[test]
    fn bytes_whose_write_failed_can_still_be_read() {
        let mut dice = Dice(8);
        let (disk, file) = staged();
        let data = noise(&mut dice, 300_000);
        file.write_at(&[&data], 0).unwrap();
        disk.fail_next(Call::Write, 0, libc::EIO);
        assert!(file.sync_data().is_err());
        let mut out = vec![0; data.len()];
        assert_eq!(file.read_at(&mut out, 0).unwrap(), out.len());
        assert!(out == data);
    }

    #[test]
    fn a_refused_append_leaves_what_was_there() {
        let mut dice = Dice(9);
        let (disk, file) = staged();
        let data = noise(&mut dice, 900_000);
        file.write_at(&[&data], 0).unwrap();
        disk.fail_next(Call::Write, 0, libc::ENOSPC);
        assert!(file.write_at(&[&noise(&mut dice, 400_000)], 900_000).is_err());
        assert_eq!(file.len().unwrap(), 900_000);
        let mut out = vec![0; data.len()];
        file.read_at(&mut out, 0).unwrap();
        assert!(out == data);
    }
}
