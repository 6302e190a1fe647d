//! Tree nodes as sealed blocks.

use std::sync::Arc;

use bytes::Bytes;

use crate::base::Result;
use crate::cas::Blocks;
use crate::seal::{BlockType, Ref};
use crate::tree::NodeStore;

/// Keeps tree nodes in a block store. The tree caches decoded nodes itself.
pub(super) struct TreeBlocks(pub Arc<Blocks>);

impl NodeStore for TreeBlocks {
    fn load(&self, reference: &Ref, level: u8) -> Result<Bytes> {
        self.0.get_uncached(BlockType::Tree, level, reference)
    }

    fn save(&self, level: u8, plain: &[u8]) -> Result<Ref> {
        self.0.put(BlockType::Tree, level, plain)
    }
}
