//! Streaming: a file written front to back is cut and stored while it is still being written.
//!
//! One worker cuts (fast), all workers store the chunks (the slow part). Everything left of the frontier has
//! been cut; a write left of it simply makes a dirty piece again, which settling will cut anew.

use std::sync::Arc;

use bytes::Bytes;

use super::file::File;
use super::pieces::{Piece, Segment, Source};
use crate::base::Result;
use crate::cas::manifest;
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
        let scattered = !any && inode.inner.lock().file.as_ref().is_some_and(|f| scattered_bytes(f) >= BEGIN);
        if scattered { self.spill(inode) } else { Ok(()) }
    }

    /// Memory is short: cut what can be cut; where nothing can be and nothing is on its way, spill.
    pub(in crate::volume) fn relieve(&self, inode: &Arc<Inode>) -> Result<()> {
        self.advance(inode)?;
        let rest = inode.inner.lock().file.as_ref().is_some_and(|f| scattered_bytes(f) == f.pieces.dirty_bytes());
        if rest { self.spill(inode) } else { Ok(()) }
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

    /// Cut up to [`STRIDE`] bytes from the frontier on; `None` when there is not enough in one run.
    fn cut_stride(&self, inode: &Arc<Inode>) -> Result<Option<Vec<(u64, u64, Bytes)>>> {
        let Some(start) = self.frontier(inode)? else { return Ok(None) };
        let mut inner = inode.inner.lock();
        let Some(file) = inner.file.as_mut() else { return Ok(None) };
        let Some(run) = take_run(file, start) else { return Ok(None) };
        let mut chunks = Vec::new();
        let (mut at, mut rest) = (start, run);
        while rest.len() >= self.chunker.longest(at) {
            let len = self.chunker.cut_at(at, &rest, false);
            let data = rest.split_to(len);
            let id = self.next_piece();
            file.pieces
                .put(at, Piece { len: len as u64, source: Source::Sealing { id, data: data.clone(), cut: true } });
            chunks.push((at, id, data));
            at += len as u64;
        }
        file.frontier = Some(at);
        self.gauge.add(file.held_change());
        Ok(if chunks.is_empty() { None } else { Some(chunks) })
    }

    /// Where cutting goes on: at the frontier if bytes wait there, else at the boundary of the settled chunk
    /// in which the longest waiting run begins (its head is read in as a piece).
    fn frontier(&self, inode: &Arc<Inode>) -> Result<Option<u64>> {
        let (run, base, base_size, base_end) = {
            let inner = inode.inner.lock();
            let Some(file) = &inner.file else { return Ok(None) };
            if let Some(at) = file.frontier.or((file.base_size == 0).then_some(0))
                && waiting(file, at) >= self.chunker.longest(at) as u64
            {
                return Ok(Some(at));
            }
            let Some(run) = file.pieces.unstored().find(|(at, p)| is_waiting(p) && waiting(file, *at) >= BEGIN / 2)
            else {
                return Ok(None);
            };
            (run.0, file.base.clone(), file.base_size, file.pieces.base_end())
        };
        if run > base_end {
            // Behind other pieces, not at a boundary perhaps: settling finds its way back to these cuts.
            return Ok(Some(run));
        }
        let from = run.saturating_sub(u64::from(run == base_end && run > 0));
        let span = manifest::extents(&self.blocks, &base, base_size, from).next().transpose()?;
        let Some(span) = span.filter(|s| s.start < run && matches!(s.extent, manifest::Extent::Data(_))) else {
            return Ok(Some(run));
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
        Ok(Some(span.start))
    }
}

fn is_waiting(piece: &Piece) -> bool {
    matches!(piece.source, Source::Dirty(_) | Source::Sealing { cut: false, .. })
}

/// Bytes that wait and are not on their way.
fn scattered_bytes(file: &File) -> u64 {
    file.pieces.unstored().filter(|(_, p)| is_waiting(p)).map(|(_, p)| p.len).sum()
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

/// The bytes waiting from `start` on, in one buffer; `None` if they are too few to be sure of a cut.
fn take_run(file: &File, start: u64) -> Option<Bytes> {
    let len = waiting(file, start);
    if len == 0 {
        return None;
    }
    let mut run = Vec::with_capacity(usize::try_from(len).ok()?);
    for (_, len, segment) in file.pieces.segments(start..start + len) {
        let Segment::Piece { piece, skip } = segment else { return None };
        let (from, len) = (usize::try_from(skip).ok()?, usize::try_from(len).ok()?);
        match &piece.source {
            Source::Dirty(data) => run.extend_from_slice(data.get(from..from + len)?),
            Source::Sealing { data, .. } => run.extend_from_slice(data.get(from..from + len)?),
            _ => return None,
        }
    }
    Some(Bytes::from(run))
}
