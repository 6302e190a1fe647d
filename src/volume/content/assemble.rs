//! From a run of bytes, blocks and holes to canonical content: chunks that were cut before are taken as
//! they are, everything else is cut anew up to the next chunk boundary that was there already.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::base::{Result, limits};
use crate::cas::manifest::{Content, Extent, Writer};
use crate::cas::{Blocks, Chunker};
use crate::seal::{BlockType, Ref};

/// Builds the content of one file front to back.
pub(super) struct Assembler<'a> {
    blocks: &'a Blocks,
    chunker: &'a Chunker,
    writer: Writer<'a>,
    /// Behind the first `used` bytes: those from `at` on that are not cut yet.
    pending: Vec<u8>,
    used: usize,
    at: u64,
    /// Bytes so far that are not holes.
    data: u64,
    /// Whole chunks inside `pending`, by their offset in the file: a cut that falls on one takes it as it is.
    known: VecDeque<(u64, Ref)>,
}

impl<'a> Assembler<'a> {
    pub fn new(blocks: &'a Blocks, chunker: &'a Chunker) -> Self {
        let writer = Writer::new(blocks);
        Self { blocks, chunker, writer, pending: Vec::new(), used: 0, at: 0, data: 0, known: VecDeque::new() }
    }

    /// Zeros that take no space: whatever lies before ends here.
    pub fn hole(&mut self, len: u64) -> Result<()> {
        self.cut(true)?;
        self.at += len;
        self.writer.push(Extent::Hole(len))
    }

    /// A whole block. `cut` tells that the chunker, not the end of a file, ended it; one that was not is
    /// only kept where content ends again (`last`).
    pub fn chunk(&mut self, block: Ref, cut: bool, last: bool) -> Result<()> {
        if self.waiting().is_empty() && (cut || last) {
            return self.take(block);
        }
        if cut || last {
            self.known.push_back((self.end(), block));
        }
        let plain = self.blocks.get(BlockType::Data, 0, &block)?;
        self.bytes(&plain)
    }

    /// A chunk already cut at a boundary but not stored yet.
    pub fn cut_bytes(&mut self, data: &Bytes) -> Result<()> {
        if self.waiting().is_empty() {
            return self.store(data);
        }
        self.bytes(data)
    }

    /// Any bytes.
    pub fn bytes(&mut self, mut data: &[u8]) -> Result<()> {
        while self.waiting().is_empty() && data.len() >= self.chunker.longest(self.at) {
            let len = self.chunker.cut_at(self.at, data, false);
            let (chunk, rest) = data.split_at(len);
            self.store(chunk)?;
            data = rest;
        }
        if self.used > self.pending.len() / 2 {
            self.pending.drain(..self.used);
            self.used = 0;
        }
        self.pending.extend_from_slice(data);
        self.cut(false)
    }

    /// Part of a stored block.
    pub fn slice(&mut self, block: &Ref, skip: u32, len: u64) -> Result<()> {
        let plain = self.blocks.get(BlockType::Data, 0, block)?;
        let from = skip as usize;
        let to = from.saturating_add(usize::try_from(len).unwrap_or(usize::MAX));
        self.bytes(plain.get(from..to.min(plain.len())).unwrap_or_default())
    }

    /// The finished content, and how many bytes of it are not holes.
    pub fn finish(mut self, size: u64) -> Result<(Content, u64)> {
        if self.at == 0 && self.waiting().len() as u64 == size && self.waiting().len() <= limits::MAX_INLINE {
            return Ok((Content::inline(self.waiting())?, size));
        }
        self.cut(true)?;
        Ok((self.writer.finish()?, self.data))
    }

    fn end(&self) -> u64 {
        self.at + self.waiting().len() as u64
    }

    fn waiting(&self) -> &[u8] {
        self.pending.get(self.used..).unwrap_or_default()
    }

    /// Cut what is pending as far as it is certain, or (`all`) to the end.
    fn cut(&mut self, all: bool) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        let mut rest = pending.get(self.used..).unwrap_or_default();
        loop {
            while self.known.front().is_some_and(|(at, _)| *at < self.at) {
                self.known.pop_front();
            }
            match self.known.front() {
                Some(&(at, block)) if at == self.at && rest.len() >= block.len as usize => {
                    rest = rest.split_at(block.len as usize).1;
                    self.known.pop_front();
                    self.take(block)?;
                }
                _ if all && !rest.is_empty() || rest.len() >= self.chunker.longest(self.at) => {
                    let len = self.chunker.cut_at(self.at, rest, all);
                    let (chunk, after) = rest.split_at(len);
                    self.store(chunk)?;
                    rest = after;
                }
                _ => break,
            }
        }
        self.used = pending.len() - rest.len();
        self.pending = pending;
        Ok(())
    }

    fn store(&mut self, chunk: &[u8]) -> Result<()> {
        let block = self.blocks.put(BlockType::Data, 0, chunk)?;
        self.take(block)
    }

    fn take(&mut self, block: Ref) -> Result<()> {
        self.at += u64::from(block.len);
        self.data += u64::from(block.len);
        self.writer.push(Extent::Data(block))
    }
}
