//! A file whose appended bytes gather in memory and reach the disk in large pieces, past the page cache.
//!
//! Writing a record at a time through the page cache costs a copy, a fresh page for every 4 KiB and a system
//! call for every record; what is in the log is rarely read again soon, and then from other caches. Small
//! syncs still go through the page cache, where they are fastest. Where the disk has couriers, whole windows are
//! written by them while appending goes on. Must never let a reader miss what was written, nor forget bytes whose
//! write failed: they stay readable until the file is dropped or cut.

mod flights;
mod window;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flights::Flights;
use window::{PAGE, Window};

use super::couriers::{Couriers, Deliver};
use super::disk::DiskFile;
use crate::base::sync::{Condvar, Mutex, MutexGuard};

/// Less than this is written through the page cache.
const SMALL: usize = 64 << 10;
/// Nothing is gathered or under way.
const NOTHING: u64 = u64::MAX;

/// Wraps a file that is mostly appended to.
pub struct Staged {
    core: Arc<Core>,
    couriers: Option<Arc<Couriers>>,
}

struct Core {
    file: Arc<dyn DiskFile>,
    state: Mutex<State>,
    /// A load landed.
    landed: Condvar,
    /// Where the first byte is that the file itself may not have; readable without the lock.
    start: AtomicU64,
}

#[derive(Default)]
struct State {
    window: Window,
    flights: Flights,
}

impl Staged {
    /// `file`, with nothing gathered yet. Full windows are written by `couriers`, or by whoever fills them.
    pub fn new(file: Arc<dyn DiskFile>, couriers: Option<Arc<Couriers>>) -> Self {
        let core = Core { file, state: Mutex::default(), landed: Condvar::new(), start: AtomicU64::new(NOTHING) };
        Self { core: Arc::new(core), couriers }
    }

    /// The window is full: make room in it.
    fn make_room(&self, state: &mut MutexGuard<'_, State>) -> io::Result<()> {
        let Some(couriers) = &self.couriers else { return self.core.flush(state, false) };
        while state.flights.is_full() {
            state.flights.check()?;
            self.core.landed.wait(state);
        }
        state.flights.check()?;
        let State { window, flights } = &mut **state;
        let head = usize::try_from(window.start.next_multiple_of(PAGE) - window.start).unwrap_or(0);
        if head > 0 {
            self.core.file.write_at(&[window.bytes().get(..head).unwrap_or_default()], window.start)?;
        }
        if let Some(load) = window.take_pages(flights.memory()?) {
            flights.add(load);
        }
        self.core.publish(state);
        // Without the lock: where there is no thread any more, the load is written in this call.
        MutexGuard::unlocked(state, || couriers.send(self.core.clone()));
        Ok(())
    }

    fn append(&self, state: &mut MutexGuard<'_, State>, part: &[u8]) -> io::Result<()> {
        let mut rest = part;
        while !rest.is_empty() {
            let n = state.window.push(rest)?;
            self.core.publish(state);
            rest = &rest[n..];
            if !rest.is_empty() {
                self.make_room(state)?;
            }
        }
        Ok(())
    }
}

impl Deliver for Core {
    fn deliver(&self) {
        let Some(load) = self.state.lock().flights.next() else { return };
        let result = self.file.write_pages(load.bytes(), load.start);
        let mut state = self.state.lock();
        state.flights.landed(load, &result);
        self.publish(&state);
        self.landed.notify_all();
    }
}

impl Core {
    /// Write what is gathered: all of it, or whole pages only. On an error everything stays gathered.
    fn flush(&self, state: &mut State, all: bool) -> io::Result<()> {
        let window = &mut state.window;
        let (start, end) = (window.start, window.end());
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
            if !head.is_empty() {
                self.file.write_at(&[head], start)?;
            }
            self.file.write_pages(pages, first)?;
            if all && !tail.is_empty() {
                self.file.write_at(&[tail], last)?;
            }
            window.advance(if all { end } else { last });
        }
        self.publish(state);
        Ok(())
    }

    fn publish(&self, state: &State) {
        let gathered = if state.window.len == 0 { NOTHING } else { state.window.start };
        self.start.store(gathered.min(state.flights.start().unwrap_or(NOTHING)), Ordering::Release);
    }

    /// Wait until nothing is under way. An error if a write failed, now or before.
    fn land(&self, state: &mut MutexGuard<'_, State>) -> io::Result<()> {
        loop {
            state.flights.check()?;
            if state.flights.is_empty() {
                return Ok(());
            }
            self.landed.wait(state);
        }
    }

    /// Write out everything if the range is touched by what is gathered or under way.
    fn settled(&self, from: u64, to: u64) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state.lock();
        if state.flights.touching(from, to).next().is_some() {
            self.land(&mut state)?;
        }
        if state.window.len > 0 && from < state.window.end() && state.window.start < to {
            self.flush(&mut state, true)?;
        }
        Ok(state)
    }

    /// Read what is not in the file alone.
    fn read_mixed(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset.saturating_add(out.len() as u64);
        let state = self.state.lock();
        let window = &state.window;
        let gathered = window.len > 0 && offset < window.end() && window.start < end;
        let covered = gathered && window.start <= offset && end <= window.end();
        let mut known = if covered { 0 } else { self.file.read_at(out, offset)? };
        let mut overlay = |start: u64, bytes: &[u8]| {
            let (from, to) = (offset.max(start), end.min(start + bytes.len() as u64));
            let at = |place: u64, base: u64| usize::try_from(place - base).unwrap_or(0);
            out[at(from, offset)..at(to, offset)].copy_from_slice(&bytes[at(from, start)..at(to, start)]);
            known = known.max(at(to, offset));
        };
        state.flights.touching(offset, end).for_each(|load| overlay(load.start, load.bytes()));
        if gathered {
            overlay(window.start, window.bytes());
        }
        Ok(known)
    }
}

impl DiskFile for Staged {
    fn len(&self) -> io::Result<u64> {
        let state = self.core.state.lock();
        let gathered = if state.window.len > 0 { state.window.end() } else { 0 };
        Ok(self.core.file.len()?.max(gathered).max(state.flights.end().unwrap_or(0)))
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset.saturating_add(out.len() as u64);
        if end <= self.core.start.load(Ordering::Acquire) {
            return self.core.file.read_at(out, offset);
        }
        self.core.read_mixed(out, offset)
    }

    fn read_two(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<usize> {
        let end = offset.saturating_add((head.len() + body.len()) as u64);
        if end <= self.core.start.load(Ordering::Acquire) {
            return self.core.file.read_two(head, body, offset);
        }
        let n = self.read_at(head, offset)?;
        Ok(n + self.read_at(body, offset + n as u64)?)
    }

    fn read_once(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let written = offset.saturating_add(out.len() as u64) <= self.core.start.load(Ordering::Acquire);
        if written { self.core.file.read_once(out, offset) } else { self.read_at(out, offset) }
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(parts.iter().map(|p| p.len() as u64).sum());
        let mut state = self.core.state.lock();
        state.flights.check()?;
        let elsewhere = state.window.len > 0 && state.window.end() != offset;
        if elsewhere || state.flights.touching(offset, NOTHING).next().is_some() {
            drop(state);
            let _settled = self.core.settled(offset, end)?;
            return self.core.file.write_at(parts, offset);
        }
        if state.window.len == 0 {
            state.window.start = offset;
        }
        // An error takes back what this call brought: the caller will not count it as written.
        let before = state.window.end();
        for part in parts {
            if let Err(error) = self.append(&mut state, part) {
                state.window.cut(before);
                self.core.publish(&state);
                return Err(error);
            }
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.core.state.lock();
        state.flights.check()?;
        if state.window.len > 0 {
            self.core.flush(&mut state, true)?;
        }
        self.core.land(&mut state)?;
        drop(state);
        self.core.file.sync_data()
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        self.core.file.start_writeback(offset, len);
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.core.file.allocate(offset, len)
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let _settled = self.core.settled(offset, offset.saturating_add(len))?;
        self.core.file.punch(offset, len)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.core.state.lock();
        while state.flights.touching(len, NOTHING).next().is_some() && state.flights.are_busy() {
            self.core.landed.wait(&mut state);
        }
        state.flights.forget_from(len);
        self.core.publish(&state);
        if state.window.len > 0 && len < state.window.end() {
            state.window.cut(len);
            self.core.publish(&state);
        }
        self.core.file.truncate(len)
    }

    fn allocated(&self) -> io::Result<u64> {
        self.core.file.allocated()
    }

    fn rest(&self) {
        let mut state = self.core.state.lock();
        state.window.rest();
        state.flights.rest();
    }
}

#[cfg(test)]
mod tests;
