//! Spilling: bytes that only memory has become blocks as they are, without cutting anything.
//!
//! This is what a small write costs at fsync: about its own size. The file is settled properly later.

use std::sync::Arc;

use bytes::Bytes;

use super::pieces::Source;
use crate::base::Result;
use crate::seal::BlockType;
use crate::volume::Volume;
use crate::volume::inode::Inode;

/// Pieces larger than this are stored as several blocks.
const MAX_SPILL: usize = 512 << 10;
/// A file with more pieces than this is settled only once it lies still: that costs what is around them too.
pub(in crate::volume) const SCATTERED: usize = 256;
/// A file with more pieces than this is settled though it is being written.
pub(in crate::volume) const MANY_PIECES: usize = 1 << 16;

impl Volume {
    /// Store every byte of `inode` that only memory has. Afterwards a journal entry can name all of it.
    pub(in crate::volume) fn spill(&self, inode: &Arc<Inode>) -> Result<()> {
        let _storing = self.storing.read();
        for (offset, id, data) in self.frozen(inode) {
            if let Err(error) = self.spill_piece(inode, offset, id, &data) {
                self.background_failed(inode, &error);
                return Err(error);
            }
        }
        self.gauge.report(None);
        Ok(())
    }

    /// Freeze the file and list what is not stored yet, in parts of bounded size.
    fn frozen(&self, inode: &Arc<Inode>) -> Vec<(u64, u64, Bytes)> {
        let mut inner = inode.inner.lock();
        let Some(file) = inner.file.as_mut() else { return Vec::new() };
        file.pieces.freeze(|| self.next_piece());
        let long: Vec<u64> =
            file.pieces.unstored().filter(|(_, p)| p.len > MAX_SPILL as u64).map(|(at, _)| at).collect();
        for at in long {
            file.pieces.divide(at, MAX_SPILL as u64, || self.next_piece());
        }
        file.pieces
            .unstored()
            .filter_map(|(at, piece)| match &piece.source {
                Source::Sealing { id, data, .. } => Some((at, *id, data.clone())),
                _ => None,
            })
            .collect()
    }

    fn spill_piece(&self, inode: &Arc<Inode>, offset: u64, id: u64, data: &Bytes) -> Result<()> {
        let block = self.blocks.put(BlockType::Data, 0, data)?;
        self.arrived(inode, offset, id, block);
        Ok(())
    }

    /// A frozen piece is stored: name the block instead, if the piece is still what it was.
    pub(in crate::volume) fn arrived(&self, inode: &Arc<Inode>, offset: u64, id: u64, block: crate::seal::Ref) {
        let mut inner = inode.inner.lock();
        let Some(file) = inner.file.as_mut() else { return };
        let Some(piece) = file.pieces.at(offset) else { return };
        if let Source::Sealing { id: now, cut, .. } = piece.source
            && now == id
            && piece.len == u64::from(block.len)
        {
            file.pieces.resolve(offset, Source::Block { block, skip: 0, cut });
            self.gauge.add(file.held_change());
        }
    }
}
