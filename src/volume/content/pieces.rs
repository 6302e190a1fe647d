//! What was written over a file's settled content, as non-overlapping pieces by offset.
//!
//! Pure bookkeeping: no I/O, no locks. Where no piece lies, the settled content shows through below
//! `base_end`, and zeros above it. Every operation costs O(log n + pieces touched); files with a hundred
//! thousand pieces are ordinary (a database written at random).

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use bytes::Bytes;

use crate::seal::Ref;

/// Adjacent small writes are gathered into one piece up to this many bytes.
const GATHER: usize = 1 << 20;

/// Where the bytes of a piece are.
#[derive(Debug, Clone)]
pub(in crate::volume) enum Source {
    /// Only in memory.
    Dirty(Vec<u8>),
    /// On its way to the log: `id` tells whether it is still the same when it arrives, `cut` whether the
    /// chunker cut it.
    Sealing { id: u64, data: Bytes, cut: bool },
    /// Part of a block in the log, from `skip` on. Whole blocks were cut by the chunker when `cut`.
    Block { block: Ref, skip: u32, cut: bool },
    /// Zeros that take no space.
    Hole,
}

/// A run of bytes from one source.
#[derive(Debug, Clone)]
pub(in crate::volume) struct Piece {
    pub len: u64,
    pub source: Source,
}

/// A part of a file as a reader sees it.
#[derive(Debug, Clone)]
pub(in crate::volume) enum Segment<'a> {
    /// The settled content at the same offset.
    Base,
    /// Zeros.
    Hole,
    /// `piece`, from `skip` bytes in.
    Piece { piece: &'a Piece, skip: u64 },
}

/// All pieces over one settled content.
#[derive(Debug, Clone, Default)]
pub(in crate::volume) struct Pieces {
    map: BTreeMap<u64, Piece>,
    base_end: u64,
    /// Where the pieces are whose bytes are only in memory, and how many bytes that is.
    unstored: BTreeSet<u64>,
    dirty: u64,
    /// Bytes of pieces that are no holes.
    data: u64,
}

impl Piece {
    /// The part of this piece that is `range` (relative to its start).
    fn slice(&self, range: Range<u64>) -> Self {
        let len = range.end - range.start;
        let (start, end) = (as_usize(range.start), as_usize(range.end));
        let source = match &self.source {
            Source::Dirty(data) => Source::Dirty(data.get(start..end).unwrap_or_default().to_vec()),
            Source::Sealing { id, data, .. } => {
                Source::Sealing { id: *id, data: data.slice(start.min(data.len())..end.min(data.len())), cut: false }
            }
            Source::Block { block, skip, .. } => {
                Source::Block { block: *block, skip: skip + u32::try_from(range.start).unwrap_or(0), cut: false }
            }
            Source::Hole => Source::Hole,
        };
        Self { len, source }
    }

    /// `len` bytes of this piece from `skip` on; the whole of it stays what it is.
    pub fn part(&self, skip: u64, len: u64) -> Self {
        if skip == 0 && len == self.len { self.clone() } else { self.slice(skip..skip + len) }
    }

    /// Bytes this piece keeps in memory because nothing else has them.
    fn dirty_len(&self) -> u64 {
        if matches!(self.source, Source::Dirty(_) | Source::Sealing { .. }) { self.len } else { 0 }
    }

    /// Bytes that are not zeros by nature.
    fn data_len(&self) -> u64 {
        if matches!(self.source, Source::Hole) { 0 } else { self.len }
    }
}

impl Pieces {
    /// No pieces over a settled content of `base_end` bytes.
    pub fn over(base_end: u64) -> Self {
        Self { base_end, ..Self::default() }
    }

    /// Where the settled content stops showing through.
    pub fn base_end(&self) -> u64 {
        self.base_end
    }

    /// Bytes that are only in memory.
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty
    }

    /// Bytes in pieces that are not holes.
    pub fn data_bytes(&self) -> u64 {
        self.data
    }

    /// The pieces whose bytes are only in memory, with their offsets, in order.
    pub fn unstored(&self) -> impl Iterator<Item = (u64, &Piece)> + '_ {
        self.unstored.iter().filter_map(|at| Some((*at, self.map.get(at)?)))
    }

    /// Take the piece at `at` out of the books.
    fn remove(&mut self, at: u64) -> Option<Piece> {
        let piece = self.map.remove(&at)?;
        self.unstored.remove(&at);
        self.dirty -= piece.dirty_len();
        self.data -= piece.data_len();
        Some(piece)
    }

    /// Put a piece into the books where none is.
    fn insert(&mut self, at: u64, piece: Piece) {
        if piece.dirty_len() > 0 {
            self.unstored.insert(at);
        }
        self.dirty += piece.dirty_len();
        self.data += piece.data_len();
        self.map.insert(at, piece);
    }

    /// Turn every dirty piece into one that can be read without copying and recognised later.
    pub fn freeze(&mut self, next_id: impl FnMut() -> u64) {
        self.freeze_in(0..u64::MAX, next_id);
    }

    /// As [`Self::freeze`], for the pieces that start in `range`, and the one it starts in.
    pub fn freeze_in(&mut self, range: Range<u64>, mut next_id: impl FnMut() -> u64) {
        let start = self.unstored.range(..=range.start).next_back().copied().unwrap_or(range.start);
        for at in self.unstored.range(start..range.end) {
            if let Some(piece) = self.map.get_mut(at)
                && let Source::Dirty(data) = &mut piece.source
            {
                let data = Bytes::from(std::mem::take(data));
                piece.source = Source::Sealing { id: next_id(), data, cut: false };
            }
        }
    }

    /// Divide the frozen piece at `offset` into parts of at most `part` bytes.
    pub fn divide(&mut self, offset: u64, part: u64, mut next_id: impl FnMut() -> u64) {
        let Some(piece) = self.map.get(&offset).cloned() else { return };
        let Source::Sealing { data, .. } = &piece.source else { return };
        self.remove(offset);
        let mut at = 0;
        while at < piece.len {
            let len = part.min(piece.len - at);
            let data = data.slice(as_usize(at)..as_usize(at + len));
            self.insert(offset + at, Piece { len, source: Source::Sealing { id: next_id(), data, cut: false } });
            at += len;
        }
    }

    /// Number of pieces.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// All pieces with their offsets, in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Piece)> + '_ {
        self.map.iter().map(|(&at, piece)| (at, piece))
    }

    /// Copy `data` in at `offset`.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        if data.is_empty() {
            return;
        }
        if self.overwrite(offset, data) || self.extend(offset, data) {
            return;
        }
        let len = data.len() as u64;
        self.put(offset, Piece { len, source: Source::Dirty(data.to_vec()) });
    }

    /// Overwrite in place inside one dirty piece.
    fn overwrite(&mut self, offset: u64, data: &[u8]) -> bool {
        let Some((&at, piece)) = self.map.range_mut(..=offset).next_back() else { return false };
        let Source::Dirty(bytes) = &mut piece.source else { return false };
        let start = as_usize(offset - at);
        match start.checked_add(data.len()).and_then(|end| bytes.get_mut(start..end)) {
            Some(slot) => {
                slot.copy_from_slice(data);
                true
            }
            None => false,
        }
    }

    /// Append to the dirty piece that ends where this write starts, if nothing lies after it.
    fn extend(&mut self, offset: u64, data: &[u8]) -> bool {
        let end = offset + data.len() as u64;
        if self.map.range(offset..end).next().is_some() {
            return false;
        }
        let Some((&at, piece)) = self.map.range_mut(..offset).next_back() else { return false };
        let Source::Dirty(bytes) = &mut piece.source else { return false };
        if at + piece.len != offset || bytes.len() + data.len() > GATHER {
            return false;
        }
        bytes.extend_from_slice(data);
        piece.len += data.len() as u64;
        self.dirty += data.len() as u64;
        self.data += data.len() as u64;
        true
    }

    /// Put a piece at `offset`, replacing whatever lay there.
    pub fn put(&mut self, offset: u64, piece: Piece) {
        if piece.len == 0 {
            return;
        }
        self.clear(offset..offset.saturating_add(piece.len));
        self.insert(offset, piece);
    }

    /// Remove all pieces in `range`; what lies below shows again.
    pub fn clear(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.split(range.start);
        self.split(range.end);
        let keys: Vec<u64> = self.map.range(range).map(|(&at, _)| at).collect();
        for at in keys {
            self.remove(at);
        }
    }

    /// Make `at` a boundary between pieces.
    fn split(&mut self, at: u64) {
        let Some((&start, piece)) = self.map.range(..at).next_back() else { return };
        if start + piece.len <= at {
            return;
        }
        let Some(mut piece) = self.remove(start) else { return };
        let tail = piece.slice(at - start..piece.len);
        match &mut piece.source {
            Source::Dirty(data) => {
                data.truncate(as_usize(at - start));
                data.shrink_to_fit();
            }
            Source::Sealing { data, cut, .. } => {
                data.truncate(as_usize(at - start));
                *cut = false;
            }
            Source::Block { cut, .. } => *cut = false,
            Source::Hole => {}
        }
        piece.len = at - start;
        self.insert(start, piece);
        self.insert(at, tail);
    }

    /// Make `range` read as zeros.
    pub fn punch(&mut self, range: Range<u64>) {
        self.clear(range.clone());
        let end = range.end.min(self.base_end);
        if range.start < end {
            self.insert(range.start, Piece { len: end - range.start, source: Source::Hole });
        }
    }

    /// Everything from `size` on is gone.
    pub fn truncate(&mut self, size: u64) {
        self.clear(size..u64::MAX);
        self.base_end = self.base_end.min(size);
    }

    /// The same content said by pieces alone: `self` says what `above`'s base said.
    pub fn under(mut self, above: &Self) -> Self {
        self.truncate(above.base_end);
        for (at, piece) in above.iter() {
            self.put(at, piece.clone());
        }
        self.base_end = 0;
        self
    }

    /// Copies of the pieces in `range`, cut at its ends.
    pub fn extract(&self, range: Range<u64>) -> Vec<(u64, Piece)> {
        let segments = self.segments(range).into_iter();
        segments
            .filter_map(|(at, len, segment)| match segment {
                Segment::Piece { piece, skip } => Some((at, piece.part(skip, len))),
                Segment::Base | Segment::Hole => None,
            })
            .collect()
    }

    /// Set where the settled content stops showing (used when a journal is replayed).
    pub fn set_base_end(&mut self, end: u64) {
        self.base_end = end;
    }

    /// Take out `range` and move what follows down. The base must be detached.
    pub fn collapse(&mut self, range: Range<u64>) {
        self.clear(range.clone());
        let moved = self.take_from(range.end);
        let by = range.end - range.start;
        for (at, piece) in moved {
            self.insert(at - by, piece);
        }
    }

    /// Move everything from `at` on up by `len`. The base must be detached.
    pub fn insert_gap(&mut self, at: u64, len: u64) {
        self.split(at);
        let moved = self.take_from(at);
        for (from, piece) in moved {
            self.insert(from + len, piece);
        }
    }

    /// Take out every piece from `at` on.
    fn take_from(&mut self, at: u64) -> Vec<(u64, Piece)> {
        let keys: Vec<u64> = self.map.range(at..).map(|(&at, _)| at).collect();
        keys.into_iter().filter_map(|at| Some((at, self.remove(at)?))).collect()
    }

    /// The piece starting exactly at `offset`.
    pub fn at(&self, offset: u64) -> Option<&Piece> {
        self.map.get(&offset)
    }

    /// Replace the source of the piece at `offset`, which keeps its length.
    pub fn resolve(&mut self, offset: u64, source: Source) {
        if let Some(piece) = self.remove(offset) {
            self.insert(offset, Piece { source, ..piece });
        }
    }

    /// What a reader sees in `range`, in order and without gaps: `(offset, length, segment)`.
    pub fn segments(&self, range: Range<u64>) -> Vec<(u64, u64, Segment<'_>)> {
        let mut out = Vec::new();
        let mut at = range.start;
        let before = self.map.range(..range.start).next_back();
        for (&start, piece) in before.into_iter().chain(self.map.range(range.clone())) {
            let end = (start + piece.len).min(range.end);
            if end <= at {
                continue;
            }
            let from = start.max(at);
            self.gap(at..from, &mut out);
            out.push((from, end - from, Segment::Piece { piece, skip: from - start }));
            at = end;
        }
        self.gap(at..range.end, &mut out);
        out
    }

    fn gap(&self, range: Range<u64>, out: &mut Vec<(u64, u64, Segment<'_>)>) {
        let base = range.start..range.end.min(self.base_end);
        if !base.is_empty() {
            out.push((base.start, base.end - base.start, Segment::Base));
        }
        let hole = range.start.max(self.base_end)..range.end;
        if !hole.is_empty() {
            out.push((hole.start, hole.end - hole.start, Segment::Hole));
        }
    }
}

/// Lengths within one piece always fit memory.
fn as_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
