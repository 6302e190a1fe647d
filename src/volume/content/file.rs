//! One file with unsettled changes.

use std::cell::Cell;
use std::ops::Range;

use super::pieces::{Pieces, Segment};
use super::since::Since;
use crate::base::port::Time;
use crate::base::{Error, Kind, Result};
use crate::cas::manifest::Content;
use crate::causal::{Dot, NodeState, Version};
use crate::volume::journal::Over;
use crate::volume::stat::Stat;

/// Changed ranges remembered for the next journal entry; beyond this everything is restated.
const MAX_FRESH: usize = 1024;

/// The live content of a file: the settled content, pieces over it, and what was journaled of them.
#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // independent facts, each with its own life
pub(in crate::volume) struct File {
    pub base: Content,
    pub base_size: u64,
    /// The versions of the node that a new one replaces: those of the bytes that were read here.
    pub over: Vec<Dot>,
    /// Another device's version came since: what lies below is not what the node shows.
    pub detached: bool,
    base_allocated: u64,
    pub pieces: Pieces,
    /// Live size in bytes.
    pub size: u64,
    /// Modification time of the settled content.
    mtime: Time,
    /// Modification time and time of change, once anything changed.
    pub touched: Option<(Time, Time)>,
    /// What changed since the last plan to settle it was made.
    pub(super) since: Option<Since>,
    /// Ranges that changed since they were last journaled.
    pub fresh: Vec<Range<u64>>,
    /// The next journal entry must restate every piece.
    pub restate: bool,
    /// The journal holds pieces of this file: they must outlive a checkpoint.
    pub journaled: bool,
    /// Up to here a streaming writer's data has been cut into chunks.
    pub frontier: Option<u64>,
    /// Behind that frontier everything up to here was stored without being cut when it was last looked at.
    pub passed: Cell<(Option<u64>, u64)>,
    /// A task for this file is queued.
    pub queued: bool,
    /// Listed among the volume's unsettled files.
    pub listed: bool,
    /// The error of a background write, to be told to the next fsync or close.
    pub failed: Option<Kind>,
    /// What was last told to the gauge.
    reported: u64,
}

impl File {
    /// The live view of a settled state, without changes yet.
    pub fn of(state: &NodeState) -> Result<Box<Self>> {
        let (base, base_size) = match state.shown() {
            Some((_, version)) => (decode(&version.data)?, version.size),
            None => (Content::Empty, 0),
        };
        Ok(Box::new(Self {
            base,
            base_size,
            over: state.shown().map(|(_, shown)| equal_versions(state, shown)).unwrap_or_default(),
            detached: false,
            base_allocated: state.shown().map_or(0, |(_, v)| allocated(&v.data)),
            pieces: Pieces::over(base_size),
            size: base_size,
            mtime: Stat::of(state).mtime,
            touched: None,
            since: None,
            fresh: Vec::new(),
            restate: false,
            journaled: false,
            frontier: None,
            passed: Cell::default(),
            queued: false,
            listed: false,
            failed: None,
            reported: 0,
        }))
    }

    /// The live view over a content that is not the one `state` shows.
    pub fn over(state: &NodeState, over: &Over) -> Result<Box<Self>> {
        let mut file = Self::of(state)?;
        file.base = decode(&over.data)?;
        file.base_size = over.size;
        file.base_allocated = allocated(&over.data);
        file.pieces = Pieces::over(over.size);
        file.size = over.size;
        file.over.clone_from(&over.dots);
        file.detached = true;
        Ok(file)
    }

    /// What the pieces lie over, for the journal.
    pub fn base_of(&self) -> Result<Over> {
        let data = encode(&self.base, self.base_allocated)?;
        Ok(Over { data, size: self.base_size, dots: self.over.clone() })
    }

    /// Note that `range` changed at `now`. The modification time stays: programs' times come by `setattr`.
    pub fn changed(&mut self, range: Range<u64>, now: Time) {
        if let Some(since) = &mut self.since {
            since.changed(range.clone());
        }
        self.touched = Some((self.touched.map_or(self.mtime, |(mtime, _)| mtime), now));
        let full = self.fresh.len() >= MAX_FRESH;
        match self.fresh.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ if self.restate => {}
            _ if full => self.restate_all(),
            _ => self.fresh.push(range),
        }
    }

    /// Content beyond `size` is gone.
    pub fn shrunk(&mut self, size: u64) {
        if let Some(since) = &mut self.since {
            since.low = since.low.min(size);
        }
    }

    /// Content was moved about: no plan made before holds.
    pub fn shifted(&mut self) {
        if let Some(since) = &mut self.since {
            since.void = true;
        }
    }

    /// Take the settled result of a plan (its content, of which `allocated` bytes are not holes, and size) as
    /// the base, and keep as pieces only what changed `since`.
    pub(super) fn rebase(&mut self, content: &(Content, u64), size: u64, since: &Since) {
        let mut pieces = Pieces::over(size.min(since.low));
        for range in since.ranges() {
            for (at, len, segment) in self.pieces.segments(range.start..range.end.min(self.size.max(range.start))) {
                match segment {
                    Segment::Piece { piece, skip } => pieces.put(at, piece.part(skip, len)),
                    Segment::Hole => pieces.punch(at..at + len),
                    Segment::Base => {}
                }
            }
        }
        (self.base, self.base_size, self.base_allocated) = (content.0.clone(), size, content.1);
        self.pieces = pieces;
        self.frontier = None;
        self.passed = Cell::default();
        self.restate_all();
    }

    /// The next journal entry says everything anew.
    pub fn restate_all(&mut self) {
        self.fresh.clear();
        self.restate = true;
    }

    /// Whether anything is not in the settled state yet.
    pub fn is_changed(&self) -> bool {
        self.touched.is_some()
    }

    /// Bytes that are data rather than holes, live.
    pub fn allocated(&self) -> u64 {
        let base = self.base_allocated.min(self.pieces.base_end());
        (base + self.pieces.data_bytes()).min(self.size)
    }

    /// The change of memory held since the last call, in bytes.
    pub fn held_change(&mut self) -> i64 {
        let now = self.pieces.dirty_bytes();
        let change = i64::try_from(now).unwrap_or(i64::MAX) - i64::try_from(self.reported).unwrap_or(i64::MAX);
        self.reported = now;
        change
    }
}

/// The versions of a node with the bytes of `version`.
fn equal_versions(state: &NodeState, version: &Version) -> Vec<Dot> {
    state.content.0.iter().filter(|(_, v)| v.data == version.data).map(|(dot, _)| *dot).collect()
}

/// The content of a version.
pub(in crate::volume) fn decode(data: &[u8]) -> Result<Content> {
    if data.is_empty() {
        return Ok(Content::Empty);
    }
    let decoded: std::result::Result<(Content, u64), _> = postcard::from_bytes(data);
    decoded.map(|(content, _)| content).map_err(|e| Error::new(Kind::Corrupt, "decode content", "").with_source(e))
}

/// Bytes of a version that are data rather than holes.
pub(in crate::volume) fn allocated(data: &[u8]) -> u64 {
    postcard::from_bytes::<(Content, u64)>(data).map_or(0, |(_, allocated)| allocated)
}

/// A version's data for `content`, of which `allocated` bytes are not holes.
pub(in crate::volume) fn encode(content: &Content, allocated: u64) -> Result<Vec<u8>> {
    if *content == Content::Empty {
        return Ok(Vec::new());
    }
    postcard::to_stdvec(&(content, allocated)).map_err(|e| Error::new(Kind::Other, "encode content", "").with_source(e))
}

#[cfg(test)]
mod tests;
