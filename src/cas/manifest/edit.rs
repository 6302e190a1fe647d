//! Replacing a range of a manifest: nodes that the change does not touch are shared, not rewritten.
//!
//! Must give exactly what writing all extents anew would give.

use std::ops::Range;

use super::write::Writer;
use super::{Content, Extent, load};
use crate::base::{Error, Kind, Result};
use crate::cas::Blocks;
use crate::seal::Ref;

/// `old` with the bytes of `range` replaced by `new`, which may be longer or shorter: what follows
/// moves along. Both ends of `range` must lie between data blocks or in holes ([`Kind::Invalid`]
/// otherwise, and for inline content). A range past the end of `old` leaves a hole before `new`.
///
/// O(new + nodes on the edges of the range + a few neighbours).
pub fn splice(
    blocks: &Blocks,
    old: &Content,
    range: Range<u64>,
    new: impl IntoIterator<Item = Extent>,
) -> Result<Content> {
    let mut edit = Edit { blocks, writer: Writer::new(blocks) };
    let before = edit.copy(old, 0..range.start)?;
    edit.writer.push(Extent::Hole(range.start.saturating_sub(before)))?;
    new.into_iter().try_for_each(|extent| edit.writer.push(extent))?;
    edit.copy(old, range.end.max(range.start)..u64::MAX)?;
    edit.writer.finish()
}

struct Edit<'a> {
    blocks: &'a Blocks,
    writer: Writer<'a>,
}

/// A node of the old manifest and where its bytes start.
struct Place {
    node: Ref,
    level: u8,
    start: u64,
    span: Option<u64>,
    /// On the right edge nodes end because the file does; they are complete only by chance.
    edge: bool,
}

impl Edit<'_> {
    /// Append the part of `old` within `keep`; returns where the last byte appended ended.
    fn copy(&mut self, old: &Content, keep: Range<u64>) -> Result<u64> {
        match old {
            Content::Empty => Ok(0),
            Content::Inline(_) => Err(Error::new(Kind::Invalid, "edit manifest", "inline content")),
            Content::Single(r) => self.copy_extent(0, Extent::Data(*r), &keep),
            Content::Tree { root, level } => {
                let place = Place { node: *root, level: *level, start: 0, span: None, edge: true };
                self.copy_node(&place, &keep)
            }
        }
    }

    fn copy_node(&mut self, place: &Place, keep: &Range<u64>) -> Result<u64> {
        if let Some(span) = place.span {
            let end = place.start.saturating_add(span);
            if end <= keep.start || place.start >= keep.end {
                return Ok(0);
            }
            let whole = place.start >= keep.start && end <= keep.end;
            if whole && !place.edge && self.writer.between(place.level) {
                self.writer.adopt(place.level, span, place.node)?;
                return Ok(end);
            }
        }
        self.copy_entries(place, keep)
    }

    fn copy_entries(&mut self, place: &Place, keep: &Range<u64>) -> Result<u64> {
        let node = load(self.blocks, &place.node, place.level, place.span)?;
        let mut done = 0;
        let first = node.find(keep.start.saturating_sub(place.start));
        for index in first..node.entries().len() {
            let Some((into, entry)) = node.get(index) else { break };
            let start = place.start.saturating_add(into);
            if start >= keep.end {
                break;
            }
            let end = match (place.level.checked_sub(1), entry.block) {
                (Some(level), Some(child)) => {
                    let edge = place.edge && index + 1 == node.entries().len();
                    self.copy_node(&Place { node: child, level, start, span: Some(entry.span), edge }, keep)?
                }
                _ => self.copy_extent(start, entry.into(), keep)?,
            };
            done = done.max(end);
        }
        Ok(done)
    }

    fn copy_extent(&mut self, start: u64, extent: Extent, keep: &Range<u64>) -> Result<u64> {
        let end = start.saturating_add(extent.len());
        let (from, to) = (start.max(keep.start), end.min(keep.end));
        if from >= to {
            return Ok(0);
        }
        let whole = from == start && to == end;
        match extent {
            Extent::Hole(_) => self.writer.push(Extent::Hole(to - from))?,
            Extent::Data(_) if whole => self.writer.push(extent)?,
            Extent::Data(r) => {
                let place = format!("{} at {start} is cut by the range", r.bid);
                return Err(Error::new(Kind::Invalid, "edit manifest", place));
            }
        }
        Ok(to)
    }
}
