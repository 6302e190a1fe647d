//! A disk in memory that forgets, tears and fails on demand, repeatably from a seed.
//!
//! Data is durable after `sync_data`, names after `sync_dir`; a crash keeps an arbitrary choice of
//! 512-byte sectors of everything else, a prefix of each file's length changes and of the directory's
//! changes. A failed sync drops what it should have written for good, as Linux does.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, Mapping};
use crate::base::sync::Mutex;

const SECTOR: usize = 512;
const PAGE: u64 = 4096;

/// A small generator (splitmix64): tests print its seed.
#[derive(Debug, Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n.max(1)
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// The kinds of calls faults can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    Write,
    Sync,
    Allocate,
    Punch,
    Truncate,
    Directory,
    SyncDir,
}

enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
    Punch(u64, u64),
}

#[derive(Default)]
struct Content {
    durable: Vec<u8>,
    current: Vec<u8>,
    pending: Vec<Pending>,
    pages: BTreeSet<u64>,
}

enum Entry {
    Link(String, usize),
    Unlink(String),
}

#[derive(Default)]
struct State {
    files: Vec<Content>,
    names: BTreeMap<String, usize>,
    durable_names: BTreeMap<String, usize>,
    pending_names: Vec<Entry>,
    /// Calls that change something, so far.
    calls: u64,
    /// Errno for the calls with these numbers.
    faults: BTreeMap<u64, i32>,
    /// Errno for the n-th next call of one kind.
    planned: Option<(Call, u64, i32)>,
    /// From this call on the power is off.
    power_off_at: Option<u64>,
    capacity_pages: Option<usize>,
    log: Vec<Call>,
    reads: u64,
}

/// The disk; clones share it.
#[derive(Clone, Default)]
pub struct SimDisk(Arc<Mutex<State>>);

impl SimDisk {
    /// Fail the `n`-th next changing call (0 is the next) with `errno`.
    pub fn fail_call(&self, n: u64, errno: i32) {
        let mut state = self.0.lock();
        let at = state.calls + n;
        state.faults.insert(at, errno);
    }

    /// Fail the `n`-th next call of one kind.
    pub fn fail_next(&self, call: Call, n: u64, errno: i32) {
        self.0.lock().planned = Some((call, n, errno));
    }

    /// Refuse everything after `n` more changing calls.
    pub fn power_off_after(&self, n: u64) {
        let mut state = self.0.lock();
        state.power_off_at = Some(state.calls + n);
    }

    /// Changing calls so far.
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// Calls of one kind so far.
    pub fn count(&self, call: Call) -> usize {
        self.0.lock().log.iter().filter(|c| **c == call).count()
    }

    /// Reads so far.
    pub fn reads(&self) -> u64 {
        self.0.lock().reads
    }

    /// Limit the disk to this many bytes.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.0.lock().capacity_pages = bytes.map(|b| usize::try_from(b / PAGE).unwrap());
    }

    /// The power fails and comes back: a new disk with what survived.
    pub fn crash(&self, dice: &mut Dice) -> Self {
        let state = self.0.lock();
        let keep = match dice.below(4) {
            0 => 0,
            1 => 100,
            _ => dice.below(101),
        };
        let cut = dice.below(state.pending_names.len() as u64 + 1) as usize;
        let mut names = state.durable_names.clone();
        state.pending_names.iter().take(cut).for_each(|e| apply(&mut names, e));
        let files = state.files.iter().map(|f| survive(f, keep, dice)).collect();
        let next = State { files, durable_names: names.clone(), names, ..State::default() };
        Self(Arc::new(Mutex::new(next)))
    }

    /// Flip one bit of a file, on the medium.
    pub fn flip(&self, name: &str, offset: usize, bit: u8) {
        let mut state = self.0.lock();
        let file = state.names[name];
        let content = &mut state.files[file];
        content.current[offset] ^= 1 << bit;
        if let Some(byte) = content.durable.get_mut(offset) {
            *byte ^= 1 << bit;
        }
    }

    /// Remove a file behind the log's back.
    pub fn vanish(&self, name: &str) {
        let mut state = self.0.lock();
        state.names.remove(name);
        state.durable_names.remove(name);
    }

    /// Current bytes of a file.
    pub fn bytes(&self, name: &str) -> Vec<u8> {
        let state = self.0.lock();
        state.files[state.names[name]].current.clone()
    }
}

fn survive(file: &Content, keep: u64, dice: &mut Dice) -> Content {
    let mut bytes = file.durable.clone();
    let metadata = file.pending.iter().filter(|p| !matches!(p, Pending::Write(..))).count() as u64;
    let mut cut = dice.below(metadata + 1);
    for op in &file.pending {
        match op {
            Pending::Write(offset, data) => {
                // Sectors of one write: cut at sector boundaries of the file.
                let (mut at, offset) = (0, *offset as usize);
                while at < data.len() {
                    let n = (SECTOR - (offset + at) % SECTOR).min(data.len() - at);
                    if dice.below(100) < keep {
                        overwrite(&mut bytes, offset + at, &data[at..at + n]);
                    }
                    at += n;
                }
            }
            _ if cut == 0 => {}
            Pending::Length(len) => {
                cut -= 1;
                bytes.resize(*len as usize, 0);
            }
            Pending::Punch(offset, len) => {
                cut -= 1;
                zero(&mut bytes, *offset, *len);
            }
        }
    }
    let pages = (0..(bytes.len() as u64).div_ceil(PAGE)).collect();
    Content { durable: bytes.clone(), current: bytes, pending: Vec::new(), pages }
}

fn overwrite(bytes: &mut Vec<u8>, offset: usize, data: &[u8]) {
    if bytes.len() < offset + data.len() {
        bytes.resize(offset + data.len(), 0);
    }
    bytes[offset..offset + data.len()].copy_from_slice(data);
}

fn zero(bytes: &mut [u8], offset: u64, len: u64) {
    let end = (offset + len).min(bytes.len() as u64) as usize;
    bytes[(offset as usize).min(end)..end].fill(0);
}

fn apply(names: &mut BTreeMap<String, usize>, entry: &Entry) {
    match entry {
        Entry::Link(name, file) => drop(names.insert(name.clone(), *file)),
        Entry::Unlink(name) => drop(names.remove(name)),
    }
}

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

impl State {
    /// Count a changing call and fail it if planned.
    fn enter(&mut self, call: Call) -> io::Result<()> {
        let number = self.calls;
        self.calls += 1;
        self.log.push(call);
        if self.power_off_at.is_some_and(|at| number >= at) {
            return Err(errno(libc::EIO));
        }
        if let Some((kind, n, code)) = self.planned.as_mut().filter(|p| p.0 == call) {
            let (due, code) = (*n == 0, *code);
            *n = n.saturating_sub(1);
            debug_assert_eq!(*kind, call);
            if due {
                self.planned = None;
                return Err(errno(code));
            }
        }
        self.faults.remove(&number).map_or(Ok(()), |code| Err(errno(code)))
    }

    fn take_pages(&mut self, file: usize, offset: u64, len: u64) -> io::Result<()> {
        let wanted: Vec<u64> = (offset / PAGE..(offset + len).div_ceil(PAGE)).collect();
        let new = wanted.iter().filter(|p| !self.files[file].pages.contains(p)).count();
        let used: usize = self.names.values().map(|f| self.files[*f].pages.len()).sum();
        if self.capacity_pages.is_some_and(|cap| used + new > cap) {
            return Err(errno(libc::ENOSPC));
        }
        self.files[file].pages.extend(wanted);
        Ok(())
    }

    fn change_names(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            apply(&mut self.names, &entry);
            self.pending_names.push(entry);
        }
    }

    fn lookup(&self, name: &str) -> io::Result<usize> {
        self.names.get(name).copied().ok_or_else(|| errno(libc::ENOENT))
    }
}

impl Disk for SimDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.0.lock().lookup(name)?;
        Ok(Arc::new(SimFile(self.clone(), file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        state.enter(Call::Directory)?;
        if state.names.contains_key(name) {
            return Err(errno(libc::EEXIST));
        }
        state.files.push(Content::default());
        let file = state.files.len() - 1;
        state.change_names(vec![Entry::Link(name.to_owned(), file)]);
        Ok(Arc::new(SimFile(self.clone(), file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.enter(Call::Directory)?;
        let file = state.lookup(from)?;
        state.change_names(vec![Entry::Unlink(from.to_owned()), Entry::Link(to.to_owned(), file)]);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.0.lock();
        state.enter(Call::Directory)?;
        state.lookup(name)?;
        state.change_names(vec![Entry::Unlink(name.to_owned())]);
        Ok(())
    }

    fn sync_dir(&self) -> io::Result<()> {
        let mut state = self.0.lock();
        state.enter(Call::SyncDir)?;
        state.pending_names.clear();
        state.durable_names = state.names.clone();
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().names.keys().cloned().collect())
    }

    fn map(&self, name: &str) -> io::Result<Mapping> {
        let state = self.0.lock();
        Ok(Box::new(state.files[state.lookup(name)?].current.clone()))
    }
}

struct SimFile(SimDisk, usize);

impl DiskFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().files[self.1].current.len() as u64)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.0.0.lock();
        state.reads += 1;
        let bytes = &state.files[self.1].current;
        let rest = bytes.get(offset as usize..).unwrap_or(&[]);
        let n = rest.len().min(out.len());
        out[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut state = self.0.0.lock();
        let data = parts.concat();
        let entered = state.enter(Call::Write);
        state.take_pages(self.1, offset, data.len() as u64)?;
        // A failing write may have written a part.
        let n = if entered.is_ok() { data.len() } else { data.len() / 2 };
        let file = &mut state.files[self.1];
        overwrite(&mut file.current, offset as usize, &data[..n]);
        file.pending.push(Pending::Write(offset, data[..n].to_vec()));
        entered
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.0.lock();
        let entered = state.enter(Call::Sync);
        let off = state.power_off_at.is_some_and(|at| state.calls > at);
        let file = &mut state.files[self.1];
        match &entered {
            Ok(()) => file.durable = file.current.clone(),
            Err(_) if off => return entered,
            // Half of the writes made it; the others are forgotten though still readable.
            Err(_) => {
                let half = file.pending.len() / 2;
                for op in &file.pending[..half] {
                    match op {
                        Pending::Write(offset, data) => overwrite(&mut file.durable, *offset as usize, data),
                        Pending::Length(len) => file.durable.resize(*len as usize, 0),
                        Pending::Punch(offset, len) => zero(&mut file.durable, *offset, *len),
                    }
                }
            }
        }
        file.pending.clear();
        entered
    }

    fn start_writeback(&self, _: u64, _: u64) {}

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.enter(Call::Allocate)?;
        state.take_pages(self.1, offset, len)?;
        let file = &mut state.files[self.1];
        if file.current.len() < (offset + len) as usize {
            file.current.resize((offset + len) as usize, 0);
            file.pending.push(Pending::Length(offset + len));
        }
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.enter(Call::Punch)?;
        let file = &mut state.files[self.1];
        zero(&mut file.current, offset, len);
        file.pending.push(Pending::Punch(offset, len));
        file.pages.retain(|p| *p < offset.div_ceil(PAGE) || *p >= (offset + len) / PAGE);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut state = self.0.0.lock();
        state.enter(Call::Truncate)?;
        let file = &mut state.files[self.1];
        file.current.resize(len as usize, 0);
        file.pending.push(Pending::Length(len));
        file.pages.retain(|p| *p < len.div_ceil(PAGE));
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.0.0.lock().files[self.1].pages.len() as u64 * PAGE)
    }
}
