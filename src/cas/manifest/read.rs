//! Reading: extents by offset and bytes by offset, loading only the nodes on the way.
//!
//! Must never load a data block to find out where it is.

use std::sync::Arc;

use super::{Content, Extent, Node, load};
use crate::base::{Error, Kind, Result};
use crate::cas::Blocks;
use crate::seal::Ref;

/// An extent and the offset in the file at which it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Offset of its first byte.
    pub start: u64,
    /// What is there.
    pub extent: Extent,
}

impl Span {
    /// Offset just behind it.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.extent.len())
    }
}

/// The extents of a file of `size` bytes from the one that covers `from` on, in order and without
/// gaps; the first may start before `from`. What `content` does not cover is one last hole.
///
/// Positioning is O(depth) nodes, each step O(1) amortised. Inline bytes are no extent: for inline
/// content iteration starts behind them. A failed step ends the iteration.
pub fn extents<'a>(blocks: &'a Blocks, content: &Content, size: u64, from: u64) -> Extents<'a> {
    let mut extents = Extents { blocks, path: Vec::new(), next: 0, single: None, size, pending: None };
    match content {
        _ if from >= size => extents.size = 0,
        Content::Empty => {}
        Content::Inline(bytes) => extents.next = bytes.len() as u64,
        Content::Single(r) if from < u64::from(r.len) => extents.single = Some(*r),
        Content::Single(r) => extents.next = u64::from(r.len),
        Content::Tree { root, level } => extents.pending = Some((*root, *level, from)),
    }
    extents
}

/// See [`extents`].
pub struct Extents<'a> {
    blocks: &'a Blocks,
    /// Nodes from the root to the current leaf, each with its start and the entry to go on with.
    path: Vec<Step>,
    /// Where the next extent starts.
    next: u64,
    single: Option<Ref>,
    size: u64,
    /// The root, until the first step loads it.
    pending: Option<(Ref, u8, u64)>,
}

struct Step {
    node: Arc<Node>,
    level: u8,
    start: u64,
    index: usize,
}

impl Iterator for Extents<'_> {
    type Item = Result<Span>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.path.clear();
            self.size = 0;
        }
        step.transpose()
    }
}

impl Extents<'_> {
    fn step(&mut self) -> Result<Option<Span>> {
        if let Some((root, level, from)) = self.pending.take() {
            self.enter(&root, level, 0, None, from)?;
        }
        if self.next >= self.size {
            return Ok(None);
        }
        let extent = match self.single.take() {
            Some(r) => Some(Extent::Data(r)),
            None => self.advance()?,
        };
        let extent = extent.unwrap_or(Extent::Hole(self.size - self.next));
        let span = Span { start: self.next, extent };
        self.next = span.end();
        Ok(Some(span))
    }

    /// The next entry of the current leaf, or of the next leaf; `None` behind the last.
    fn advance(&mut self) -> Result<Option<Extent>> {
        while let Some(step) = self.path.last_mut() {
            let Some((into, entry)) = step.node.get(step.index) else {
                self.next = self.next.max(step.start.saturating_add(step.node.span()));
                self.path.pop();
                continue;
            };
            step.index += 1;
            let start = step.start.saturating_add(into);
            let (Some(level), Some(child)) = (step.level.checked_sub(1), entry.block) else {
                self.next = start;
                return Ok(Some(entry.into()));
            };
            self.enter(&child, level, start, Some(entry.span), start)?;
        }
        Ok(None)
    }

    /// Load a node and all nodes below it on the way to `from`.
    fn enter(&mut self, r: &Ref, level: u8, start: u64, span: Option<u64>, from: u64) -> Result<()> {
        let node = load(self.blocks, r, level, span)?;
        let index = node.find(from.saturating_sub(start));
        let found = node.get(index);
        self.next = start.saturating_add(found.map_or(node.span(), |(into, _)| into));
        let below = found.and_then(|(into, entry)| Some((start.saturating_add(into), entry, entry.block?)));
        let descend = level.checked_sub(1).zip(below);
        self.path.push(Step { node, level, start, index: index + usize::from(descend.is_some()) });
        match descend {
            Some((level, (start, entry, child))) => self.enter(&child, level, start, Some(entry.span), from),
            None => Ok(()),
        }
    }
}

/// Fill `buffer` from `offset` of a file of `size` bytes; returns how many bytes there were before
/// the end. Loads the nodes on the way and the blocks touched, nothing else.
pub fn read_at(blocks: &Blocks, content: &Content, size: u64, offset: u64, buffer: &mut [u8]) -> Result<usize> {
    let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
    let len = left.min(buffer.len());
    let Some(buffer) = buffer.get_mut(..len) else { return Ok(0) };
    if let Content::Inline(bytes) = content {
        buffer.fill(0);
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        copy(buffer, bytes.get(from..).unwrap_or_default());
        return Ok(len);
    }
    let end = offset.saturating_add(len as u64);
    for span in extents(blocks, content, end, offset) {
        let span = span?;
        let skip = usize::try_from(offset.saturating_sub(span.start)).unwrap_or(usize::MAX);
        let from = usize::try_from(span.start.saturating_sub(offset)).unwrap_or(usize::MAX);
        let to = usize::try_from(span.end().min(end).saturating_sub(offset)).unwrap_or(usize::MAX);
        let target = buffer.get_mut(from..to).ok_or_else(|| Error::new(Kind::Other, "read content", ""))?;
        match span.extent {
            Extent::Hole(_) => target.fill(0),
            Extent::Data(r) => blocks.read(&r, skip, target)?,
        }
    }
    Ok(len)
}

fn copy(to: &mut [u8], from: &[u8]) {
    let len = to.len().min(from.len());
    if let (Some(to), Some(from)) = (to.get_mut(..len), from.get(..len)) {
        to.copy_from_slice(from);
    }
}

#[cfg(test)]
mod tests;
