//! Manifests: a file's content as a bounded B-tree of references with explicit holes.
//!
//! A manifest is a function of the list of extents alone, whatever edits led there, and an edit
//! rewrites only the nodes around it. Must never know what the bytes mean, nor a file's name or size
//! beyond what is passed in. `docs/format-cas.md` is the specification.

mod edit;
mod node;
mod read;
mod write;

use std::ops::Range;

use serde::{Deserialize, Deserializer, Serialize};

use super::Blocks;
use crate::base::{Error, Kind, Result, limits};
use crate::seal::{BlockType, Ref};

pub use edit::splice;
pub(super) use node::Node;
pub use read::{Extents, Span, extents, read_at};
pub use write::{Writer, write};

/// Most levels of a manifest above its leaves; 64 entries a node make this unreachable in practice.
const MAX_LEVEL: u8 = 9;

/// What a node record stores of a file's content, beside its size.
///
/// Where the content ends before the size, the rest is a hole. Canonical: no trailing hole, no
/// manifest for a single block, nothing at all for nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Content {
    /// No bytes but holes.
    #[default]
    Empty,
    /// The bytes themselves, at most [`limits::MAX_INLINE`].
    Inline(#[serde(deserialize_with = "bounded")] Vec<u8>),
    /// One data block.
    Single(Ref),
    /// A manifest.
    Tree {
        /// Its root node.
        root: Ref,
        /// The root's level; 0 is a leaf.
        level: u8,
    },
}

/// A piece of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// A data block; `Ref::len` is the length, never zero.
    Data(Ref),
    /// Zeros that take no space, this many.
    Hole(u64),
}

impl Extent {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Data(r) => u64::from(r.len),
            Self::Hole(len) => *len,
        }
    }

    /// Whether it covers nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Content {
    /// Bytes stored in the record itself.
    pub fn inline(bytes: &[u8]) -> Result<Self> {
        match bytes.len() {
            0 => Ok(Self::Empty),
            len if len <= limits::MAX_INLINE => Ok(Self::Inline(bytes.to_vec())),
            len => Err(Error::new(Kind::TooBig, "inline content", format!("{len} bytes"))),
        }
    }
}

fn bounded<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<u8>, D::Error> {
    let bytes = Vec::<u8>::deserialize(from)?;
    if bytes.is_empty() || bytes.len() > limits::MAX_INLINE {
        return Err(serde::de::Error::custom("inline content out of bounds"));
    }
    Ok(bytes)
}

/// Call `visit` with every block `content` refers to, manifest nodes before what they refer to: type,
/// level, reference. Answering `false` for a manifest node skips all below it (a mark that met it
/// before). O(nodes visited); O(depth) memory beside the node cache.
pub fn blocks(
    blocks: &Blocks,
    content: &Content,
    mut visit: impl FnMut(BlockType, u8, &Ref) -> Result<bool>,
) -> Result<()> {
    match content {
        Content::Empty | Content::Inline(_) => Ok(()),
        Content::Single(r) => visit(BlockType::Data, 0, r).map(drop),
        Content::Tree { root, level } => descend(blocks, (root, *level), (0, None), &(0..u64::MAX), &mut visit),
    }
}

/// As [`blocks`], from the list `root`, for the bytes in `range` only: the lists on the way and the data, in the order
/// of the file.
pub fn blocks_in(
    blocks: &Blocks,
    root: (&Ref, u8),
    range: &Range<u64>,
    mut visit: impl FnMut(BlockType, u8, &Ref) -> Result<bool>,
) -> Result<()> {
    descend(blocks, root, (0, None), range, &mut visit)
}

fn descend(
    blocks: &Blocks,
    (r, level): (&Ref, u8),
    (start, span): (u64, Option<u64>),
    range: &Range<u64>,
    visit: &mut impl FnMut(BlockType, u8, &Ref) -> Result<bool>,
) -> Result<()> {
    if !visit(BlockType::Manifest, level, r)? {
        return Ok(());
    }
    let node = load(blocks, r, level, span)?;
    let mut end = start;
    for entry in node.entries() {
        let start = end;
        end = start.saturating_add(entry.span);
        if end <= range.start || start >= range.end {
            continue;
        }
        match (entry.block, level.checked_sub(1)) {
            (Some(child), Some(below)) => descend(blocks, (&child, below), (start, Some(entry.span)), range, visit)?,
            (Some(data), None) => drop(visit(BlockType::Data, 0, &data)?),
            (None, _) => {}
        }
    }
    Ok(())
}

/// The node `r`, decoded and cached. Its bytes must sum to `span`, if that is known from its parent.
fn load(blocks: &Blocks, r: &Ref, level: u8, span: Option<u64>) -> Result<std::sync::Arc<Node>> {
    if level > MAX_LEVEL {
        return Err(Error::new(Kind::Corrupt, "read manifest", format!("level {level}")));
    }
    let node = blocks.node(r, level)?;
    match span {
        Some(span) if span != node.span() => {
            Err(Error::new(Kind::Corrupt, "read manifest", format!("{}: {} bytes, not {span}", r.bid, node.span())))
        }
        _ => Ok(node),
    }
}

#[cfg(test)]
pub(crate) mod tests;
