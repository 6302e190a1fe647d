//! Streaming: a file written front to back is cut and stored while it is still being written.
//!
//! One worker cuts (fast), all workers store the chunks (the slow part). Everything left of the frontier has
//! been cut; a write left of it simply makes a dirty piece again, which settling will cut anew.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use super::file::File;
use super::pieces::{Piece, Segment, Source};
use crate::base::Result;
use crate::cas::{Chunker, manifest};
use crate::seal::BlockType;
use crate::volume::Volume;
use crate::volume::inode::Inode;
use crate::volume::work::Task;

/// Cut this much at a time.
const STRIDE: u64 = 4 << 20;
/// Begin streaming a file when this much of it is waiting.
pub(in crate::volume) const BEGIN: u64 = 4 << 20;

impl Volume {
    /// Cut what can be cut and queue the chunks. Where the unwritten bytes are scattered, spill them instead.
    pub(in crate::volume) fn advance(&self, inode: &Arc<Inode>) -> Result<()> {
        let mut any = false;
        while let Some(chunks) = self.cut_stride(inode)? {
            any = true;
            for (offset, id, data) in chunks {
                self.work.push(Task::Chunk { inode: inode.clone(), offset, id, data });
            }
        }
        let is_scattered = |f: &File| bytes(astray(f, self.is_stuck(f))) >= BEGIN;
        let scattered = !any && inode.inner.lock().file.as_deref().is_some_and(is_scattered);
        if scattered { self.spill(inode) } else { Ok(()) }
    }

    /// Memory is short: cut what can be cut; where nothing can be and nothing is on its way, spill.
    pub(in crate::volume) fn relieve(&self, inode: &Arc<Inode>) -> Result<()> {
        self.advance(inode)?;
        let is_stuck = |f: &File| !self.is_ready(f) && self.is_stuck(f);
        let stuck = inode.inner.lock().file.as_deref().is_some_and(is_stuck);
        if stuck { self.spill(inode) } else { Ok(()) }
    }

    /// Whether memory is short and nothing of this file is on its way to the log.
    fn is_stuck(&self, file: &File) -> bool {
        self.gauge.is_full() && bytes(waiting_pieces(file)) == file.pieces.dirty_bytes()
    }

    /// Whether there is enough where the next bytes are expected for a cut.
    fn is_ready(&self, file: &File) -> bool {
        expected(file).is_some_and(|at| waiting(file, at) >= self.chunker.longest(at) as u64)
    }

    /// Cut and store everything that can be cut, with the help of the workers, and return when it is stored
    /// but for what a worker has in hand.
    pub(in crate::volume) fn store_cut(&self, inode: &Arc<Inode>) -> Result<()> {
        while let Some(chunks) = self.cut_stride(inode)? {
            for (offset, id, data) in chunks {
                self.work.push(Task::Chunk { inode: inode.clone(), offset, id, data });
            }
        }
        while let Some(Task::Chunk { inode, offset, id, data }) = self.work.take_chunk() {
            self.store_chunk(&inode, offset, id, &data)?;
        }
        Ok(())
    }

    /// Store one chunk.
    pub(in crate::volume) fn store_chunk(&self, inode: &Arc<Inode>, offset: u64, id: u64, data: &Bytes) -> Result<()> {
        let _storing = self.storing.read();
        match self.blocks.put(BlockType::Data, 0, data) {
            Ok(block) => {
                self.gauge.report(None);
                self.arrived(inode, offset, id, block);
                Ok(())
            }
            Err(error) => {
                self.background_failed(inode, &error);
                Err(error)
            }
        }
    }

    /// Cut up to [`STRIDE`] bytes from the frontier on; `None` when there is not enough in one run. Nothing when
    /// another thread was faster: try again.
    fn cut_stride(&self, inode: &Arc<Inode>) -> Result<Option<Vec<(u64, u64, Bytes)>>> {
        let Some((start, seen)) = self.frontier(inode)? else { return Ok(None) };
        let mut inner = inode.inner.lock();
        let Some(file) = inner.file.as_mut() else { return Ok(None) };
        if file.frontier != seen {
            return Ok(Some(Vec::new()));
        }
        let mut run = Run::take(file, start, || self.next_piece());
        let mut chunks = Vec::new();
        while let Some((at, data)) = run.cut(&self.chunker) {
            let (len, id) = (data.len() as u64, self.next_piece());
            file.pieces.put(at, Piece { len, source: Source::Sealing { id, data: data.clone(), cut: true } });
            chunks.push((at, id, data));
        }
        file.frontier = Some(run.at);
        self.gauge.add(file.held_change());
        Ok(if chunks.is_empty() { None } else { Some(chunks) })
    }

    /// Where cutting goes on: at the frontier if bytes wait there, else at the boundary of the settled chunk
    /// in which the longest waiting run begins (its head is read in as a piece). Also what the frontier was.
    fn frontier(&self, inode: &Arc<Inode>) -> Result<Option<(u64, Option<u64>)>> {
        let (run, seen, base, base_size, base_end) = {
            let inner = inode.inner.lock();
            let Some(file) = &inner.file else { return Ok(None) };
            if self.is_ready(file) {
                return Ok(expected(file).map(|at| (at, file.frontier)));
            }
            let mut runs = astray(file, self.is_stuck(file));
            let Some(run) = runs.find(|(at, _)| waiting(file, *at) >= BEGIN / 2) else { return Ok(None) };
            (run.0, file.frontier, file.base.clone(), file.base_size, file.pieces.base_end())
        };
        if run > base_end {
            // Behind other pieces, not at a boundary perhaps: settling finds its way back to these cuts.
            return Ok(Some((run, seen)));
        }
        let from = run.saturating_sub(u64::from(run == base_end && run > 0));
        let span = manifest::extents(&self.blocks, &base, base_size, from).next().transpose()?;
        let Some(span) = span.filter(|s| s.start < run && matches!(s.extent, manifest::Extent::Data(_))) else {
            return Ok(Some((run, seen)));
        };
        let head = self.read_content(inode, span.start, usize::try_from(run - span.start).unwrap_or(0))?;
        let mut inner = inode.inner.lock();
        let Some(file) = inner.file.as_mut() else { return Ok(None) };
        let all_base =
            file.pieces.segments(span.start..run).iter().all(|(.., segment)| matches!(segment, Segment::Base));
        if !all_base || head.len() as u64 != run - span.start {
            return Ok(None);
        }
        file.pieces.put(span.start, Piece { len: head.len() as u64, source: Source::Dirty(head) });
        Ok(Some((span.start, seen)))
    }
}

/// Where a writer that goes front to back is expected to have left the next bytes: at the frontier, or behind what
/// was spilled there. Amortised O(1): what was passed once is not looked at again.
fn expected(file: &File) -> Option<u64> {
    let begin = file.frontier.or((file.base_size == 0).then_some(0))?;
    let (of, passed) = file.passed.get();
    let mut at = if of == file.frontier { passed.max(begin) } else { begin };
    'stored: loop {
        let from = at;
        for (start, len, segment) in file.pieces.segments(at..at.saturating_add(STRIDE)) {
            match segment {
                Segment::Piece { piece, .. } if !is_waiting(piece) && start == at => at += len,
                _ => break 'stored,
            }
        }
        if at == from {
            break;
        }
    }
    file.passed.set((file.frontier, at));
    Some(at)
}

/// The waiting pieces in front of which nothing is on its way. Those behind the place where the next bytes are expected
/// have overtaken these: to cut or spill them now would be to store what has to be cut anew once the gap is filled.
/// Unless the file is `stuck`.
fn astray(file: &File, stuck: bool) -> impl Iterator<Item = (u64, &Piece)> {
    let expected = if stuck { None } else { expected(file) };
    waiting_pieces(file).filter(move |(at, _)| expected.is_none_or(|expected| *at < expected))
}

/// The pieces that wait and are not on their way.
fn waiting_pieces(file: &File) -> impl Iterator<Item = (u64, &Piece)> {
    file.pieces.unstored().filter(|(_, piece)| is_waiting(piece))
}

fn bytes<'p>(pieces: impl Iterator<Item = (u64, &'p Piece)>) -> u64 {
    pieces.map(|(_, piece)| piece.len).sum()
}

fn is_waiting(piece: &Piece) -> bool {
    matches!(piece.source, Source::Dirty(_) | Source::Sealing { cut: false, .. })
}

/// Bytes in memory from `at` on without a gap, counted up to [`STRIDE`].
fn waiting(file: &File, at: u64) -> u64 {
    let mut end = at;
    for (from, len, segment) in file.pieces.segments(at..at.saturating_add(STRIDE)) {
        match segment {
            Segment::Piece { piece, .. } if is_waiting(piece) && from == end => end += len,
            _ => break,
        }
    }
    end - at
}

/// Bytes that wait in one run of frozen pieces. Cutting copies only the chunks that lie across a border.
struct Run {
    at: u64,
    left: usize,
    parts: VecDeque<Bytes>,
}

impl Run {
    /// What waits from `start` on, up to [`STRIDE`].
    fn take(file: &mut File, start: u64, next_id: impl FnMut() -> u64) -> Self {
        let end = start + waiting(file, start);
        file.pieces.freeze_in(start..end, next_id);
        let mut run = Self { at: start, left: 0, parts: VecDeque::new() };
        for (_, len, segment) in file.pieces.segments(start..end) {
            let Segment::Piece { piece: Piece { source: Source::Sealing { data, .. }, .. }, skip } = segment else {
                break;
            };
            let (Ok(from), Ok(len)) = (usize::try_from(skip), usize::try_from(len)) else { break };
            run.parts.push_back(data.slice(from..from + len));
            run.left += len;
        }
        run
    }

    /// The next chunk and where it starts; `None` if what is left is too little to be sure of a cut.
    fn cut(&mut self, chunker: &Chunker) -> Option<(u64, Bytes)> {
        let longest = chunker.longest(self.at);
        if self.left < longest {
            return None;
        }
        let next = self.parts.get(1).cloned().unwrap_or_default();
        let first = self.parts.front_mut()?;
        let len = if let Some(len) = chunker.cut_across(self.at, [first, &next]) {
            len
        } else {
            // Many small pieces.
            let joined = self.join(longest);
            self.parts.push_front(joined);
            chunker.cut_across(self.at, [self.parts.front()?, &[]])?
        };
        let chunk = match self.parts.front_mut() {
            Some(first) if first.len() > len => first.split_to(len),
            _ => self.join(len),
        };
        self.at += len as u64;
        self.left -= len;
        Some((self.at - len as u64, chunk))
    }

    /// Take out the next `len` bytes in one buffer.
    fn join(&mut self, len: usize) -> Bytes {
        if self.parts.front().is_some_and(|first| first.len() == len) {
            return self.parts.pop_front().unwrap_or_default();
        }
        let mut joined = Vec::with_capacity(len);
        while let Some(part) = self.parts.front_mut().filter(|_| joined.len() < len) {
            joined.extend_from_slice(&part.split_to(part.len().min(len - joined.len())));
            if part.is_empty() {
                self.parts.pop_front();
            }
        }
        joined.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cas::Chunking;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_run_is_cut_where_its_bytes_in_one_buffer_are(sizes in prop::collection::vec(1_usize..9000, 1..12), seed: u8) {
            let chunking = Chunking::Cdc { min: 256, avg: 1024, max: 4096 };
            let Ok(chunker) = Chunker::new(&[seed; 32], chunking) else { return Err(TestCaseError::fail("parameters")) };
            let mut whole = vec![0; sizes.iter().sum()];
            crate::base::keyed_xof(&[seed; 32], &[b"run"], &mut whole);
            let mut rest = Bytes::from(whole.clone());
            let parts = sizes.iter().map(|size| rest.split_to(*size)).collect();
            let mut run = Run { at: 0, left: whole.len(), parts };
            let mut at = 0;
            while let Some((start, chunk)) = run.cut(&chunker) {
                let data = whole.get(at..).unwrap_or_default();
                prop_assert_eq!(start, at as u64);
                prop_assert_eq!(Some(&chunk[..]), data.get(..chunker.cut_at(start, data, false)));
                at += chunk.len();
            }
            prop_assert!(whole.len() - at < 4096);
        }
    }
}
