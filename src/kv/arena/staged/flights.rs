//! The loads of one file that are being written, and what became of them.
//!
//! Pure bookkeeping. Must never forget a load whose write failed: its bytes stay readable.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use memmap2::MmapMut;

use super::window::{Load, ROOM};

/// Loads of one file that may be under way.
const MOST: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Writing,
    Failed,
}

/// The loads under way, by offset.
#[derive(Default)]
pub struct Flights {
    list: VecDeque<(Arc<Load>, Phase)>,
    spare: Option<MmapMut>,
    failed: Option<i32>,
}

impl Flights {
    /// Nothing is under way and nothing failed.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// No more may start now.
    pub fn is_full(&self) -> bool {
        self.list.len() >= MOST
    }

    /// The error of the first write that failed, for every call from then on.
    pub fn check(&self) -> io::Result<()> {
        self.failed.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// Where the first begins.
    pub fn start(&self) -> Option<u64> {
        self.list.iter().map(|(load, _)| load.start).min()
    }

    /// Where the last ends.
    pub fn end(&self) -> Option<u64> {
        self.list.iter().map(|(load, _)| load.end()).max()
    }

    /// Those that touch a range.
    pub fn touching(&self, from: u64, to: u64) -> impl Iterator<Item = &Load> {
        self.list.iter().map(|(load, _)| &**load).filter(move |load| load.start < to && from < load.end())
    }

    /// Memory to gather in.
    pub fn memory(&mut self) -> io::Result<MmapMut> {
        self.spare.take().map_or_else(|| MmapMut::map_anon(ROOM), Ok)
    }

    /// Something is to be written.
    pub fn add(&mut self, load: Load) {
        self.list.push_back((Arc::new(load), Phase::Waiting));
    }

    /// The next that waits; it counts as being written from here on.
    pub fn next(&mut self) -> Option<Arc<Load>> {
        let (load, phase) = self.list.iter_mut().find(|(_, phase)| *phase == Phase::Waiting)?;
        *phase = Phase::Writing;
        Some(load.clone())
    }

    /// `load` was written, or not.
    pub fn landed(&mut self, load: Arc<Load>, result: &io::Result<()>) {
        let Some(at) = self.list.iter().position(|(l, _)| Arc::ptr_eq(l, &load)) else { return };
        if let Err(error) = result {
            self.failed.get_or_insert(error.raw_os_error().unwrap_or(libc::EIO));
            if let Some((_, phase)) = self.list.get_mut(at) {
                *phase = Phase::Failed;
            }
            return;
        }
        self.list.remove(at);
        self.spare = Arc::into_inner(load).map(Load::into_memory).or(self.spare.take());
    }

    /// Something is still being written.
    pub fn are_busy(&self) -> bool {
        self.list.iter().any(|(_, phase)| *phase != Phase::Failed)
    }

    /// What lies wholly behind `len` and could not be written is not wanted any more.
    pub fn forget_from(&mut self, len: u64) {
        self.list.retain(|(load, phase)| *phase != Phase::Failed || load.start < len);
    }

    /// Give memory back.
    pub fn rest(&mut self) {
        self.spare = None;
    }
}
