//! Building a manifest from extents, bottom up, in bounded memory.
//!
//! Must never hold more than one open node per level.

use super::node::{self, Entry};
use super::{Content, Extent, MAX_LEVEL};
use crate::base::{Error, Kind, Result, limits};
use crate::cas::Blocks;
use crate::seal::{BlockType, Ref};

/// Store `extents` as a manifest, unless less will do. Adjacent holes merge; a trailing hole is
/// dropped, for the caller keeps the size. O(n), nodes are stored as they fill.
pub fn write(blocks: &Blocks, extents: impl IntoIterator<Item = Extent>) -> Result<Content> {
    let mut writer = Writer::new(blocks);
    extents.into_iter().try_for_each(|extent| writer.push(extent))?;
    writer.finish()
}

/// Takes extents in order. What it makes is a function of their sequence only.
pub struct Writer<'a> {
    blocks: &'a Blocks,
    /// The open node of each level, leaves first.
    open: Vec<Vec<Entry>>,
    /// A hole not yet followed by anything.
    hole: u64,
    total: u64,
}

impl<'a> Writer<'a> {
    /// With nothing in it.
    pub fn new(blocks: &'a Blocks) -> Self {
        Self { blocks, open: vec![Vec::new()], hole: 0, total: 0 }
    }

    /// Append an extent. [`Kind::TooBig`] past the largest file, [`Kind::Invalid`] for an empty block.
    pub fn push(&mut self, extent: Extent) -> Result<()> {
        self.grow(extent.len())?;
        match extent {
            Extent::Hole(len) => {
                self.hole += len;
                Ok(())
            }
            Extent::Data(r) if r.len == 0 => Err(Error::new(Kind::Invalid, "write manifest", "empty block")),
            Extent::Data(_) => {
                let hole = std::mem::take(&mut self.hole);
                if hole > 0 {
                    self.add(0, Extent::Hole(hole).into())?;
                }
                self.add(0, extent.into())
            }
        }
    }

    /// Store what is open; the content of all that was pushed.
    pub fn finish(mut self) -> Result<Content> {
        if let [leaf] = self.open.as_slice() {
            match leaf.as_slice() {
                [] => return Ok(Content::Empty),
                [Entry { block: Some(r), .. }] => return Ok(Content::Single(*r)),
                _ => {}
            }
        }
        let mut level = 0;
        loop {
            let is_top = self.open.len() == level + 1;
            match self.open.get(level).map(Vec::as_slice) {
                Some([Entry { block: Some(root), .. }]) if is_top && level > 0 => {
                    return Ok(Content::Tree { root: *root, level: below(level)? });
                }
                Some([]) => {}
                Some(_) => self.close(level)?,
                None => return Err(Error::new(Kind::Other, "write manifest", "no root")),
            }
            level += 1;
        }
    }

    /// Append a complete node of `level` as it is, with all below it. Only where [`Self::between`].
    pub(super) fn adopt(&mut self, level: u8, span: u64, node: Ref) -> Result<()> {
        self.grow(span)?;
        self.add(usize::from(level) + 1, Entry { span, block: Some(node) })
    }

    /// Whether nothing is open at `level` and below, so that a whole node can be appended.
    pub(super) fn between(&self, level: u8) -> bool {
        self.hole == 0 && self.open.iter().take(usize::from(level) + 1).all(Vec::is_empty)
    }

    fn grow(&mut self, len: u64) -> Result<()> {
        let total = self.total.checked_add(len).filter(|total| *total <= limits::MAX_FILE);
        self.total = total.ok_or_else(|| Error::new(Kind::TooBig, "write manifest", format!("{len} more bytes")))?;
        Ok(())
    }

    fn add(&mut self, level: usize, entry: Entry) -> Result<()> {
        if level > usize::from(MAX_LEVEL) + 1 {
            return Err(Error::new(Kind::TooBig, "write manifest", "too many levels"));
        }
        if self.open.len() <= level {
            self.open.resize_with(level + 1, Vec::new);
        }
        let Some(open) = self.open.get_mut(level) else { return Ok(()) };
        open.push(entry);
        if node::ends_node(open.len(), &entry) { self.close(level) } else { Ok(()) }
    }

    /// Store the open node of `level` and enter it into the level above.
    fn close(&mut self, level: usize) -> Result<()> {
        let Some(entries) = self.open.get_mut(level).map(std::mem::take) else { return Ok(()) };
        let own = u8::try_from(level).unwrap_or(u8::MAX);
        let stored = self.blocks.put(BlockType::Manifest, own, &node::encode(own, &entries))?;
        let span = entries.iter().map(|entry| entry.span).sum();
        self.add(level + 1, Entry { span, block: Some(stored) })
    }
}

fn below(level: usize) -> Result<u8> {
    let below = level.checked_sub(1).and_then(|level| u8::try_from(level).ok());
    below.ok_or_else(|| Error::new(Kind::Other, "write manifest", "no level"))
}

#[cfg(test)]
mod tests;
