//! What was written over a file's settled content, as non-overlapping pieces by offset.
//!
//! Pure bookkeeping: no I/O, no locks. Where no piece lies, the settled content shows through below
//! `base_end`, and zeros above it. Every operation costs O(log n + pieces touched).

use std::collections::BTreeMap;
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
    dirty: u64,
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

    /// Bytes this piece keeps in memory because nothing else has them.
    fn dirty_len(&self) -> u64 {
        if matches!(self.source, Source::Dirty(_) | Source::Sealing { .. }) { self.len } else { 0 }
    }
}

impl Pieces {
    /// No pieces over a settled content of `base_end` bytes.
    pub fn over(base_end: u64) -> Self {
        Self { map: BTreeMap::new(), base_end, dirty: 0 }
    }

    /// Where the settled content stops showing through.
    pub fn base_end(&self) -> u64 {
        self.base_end
    }

    /// Bytes that are only in memory.
    pub fn dirty_bytes(&self) -> u64 {
        self.dirty
    }

    /// Turn every dirty piece into one that can be read without copying and recognised later.
    pub fn freeze(&mut self, mut next_id: impl FnMut() -> u64) {
        for piece in self.map.values_mut() {
            if let Source::Dirty(data) = &mut piece.source {
                let data = Bytes::from(std::mem::take(data));
                piece.source = Source::Sealing { id: next_id(), data, cut: false };
            }
        }
    }

    /// Divide the frozen piece at `offset` into parts of at most `part` bytes.
    pub fn divide(&mut self, offset: u64, part: u64, mut next_id: impl FnMut() -> u64) {
        let Some(piece) = self.map.get(&offset).cloned() else { return };
        let Source::Sealing { data, .. } = &piece.source else { return };
        let mut at = 0;
        while at < piece.len {
            let len = part.min(piece.len - at);
            let data = data.slice(as_usize(at)..as_usize(at + len));
            self.map.insert(offset + at, Piece { len, source: Source::Sealing { id: next_id(), data, cut: false } });
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
        true
    }

    /// Put a piece at `offset`, replacing whatever lay there.
    pub fn put(&mut self, offset: u64, piece: Piece) {
        if piece.len == 0 {
            return;
        }
        self.clear(offset..offset.saturating_add(piece.len));
        self.dirty += piece.dirty_len();
        self.map.insert(offset, piece);
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
            if let Some(piece) = self.map.remove(&at) {
                self.dirty -= piece.dirty_len();
            }
        }
    }

    /// Make `at` a boundary between pieces.
    fn split(&mut self, at: u64) {
        let Some((&start, piece)) = self.map.range_mut(..at).next_back() else { return };
        if start + piece.len <= at {
            return;
        }
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
        self.map.insert(at, tail);
    }

    /// Make `range` read as zeros.
    pub fn punch(&mut self, range: Range<u64>) {
        self.clear(range.clone());
        let end = range.end.min(self.base_end);
        if range.start < end {
            self.map.insert(range.start, Piece { len: end - range.start, source: Source::Hole });
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
                Segment::Piece { piece, skip: 0 } if len == piece.len => Some((at, piece.clone())),
                Segment::Piece { piece, skip } => Some((at, piece.slice(skip..skip + len))),
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
        let moved = self.map.split_off(&range.end);
        let by = range.end - range.start;
        self.map.extend(moved.into_iter().map(|(at, piece)| (at - by, piece)));
    }

    /// Move everything from `at` on up by `len`. The base must be detached.
    pub fn insert_gap(&mut self, at: u64, len: u64) {
        self.split(at);
        let moved = self.map.split_off(&at);
        self.map.extend(moved.into_iter().map(|(from, piece)| (from + len, piece)));
    }

    /// The piece starting exactly at `offset`.
    pub fn at(&self, offset: u64) -> Option<&Piece> {
        self.map.get(&offset)
    }

    /// Replace the source of the piece at `offset`, which keeps its length.
    pub fn resolve(&mut self, offset: u64, source: Source) {
        if let Some(piece) = self.map.get_mut(&offset) {
            self.dirty -= piece.dirty_len();
            piece.source = source;
            self.dirty += piece.dirty_len();
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
