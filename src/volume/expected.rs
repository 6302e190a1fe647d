//! What a walk of a tree may bring: the root a signed head names, then what the nodes that came refer to.
//!
//! Must never keep a block that none of them refers to: its bytes may be anything, and as many as a liar likes.

use std::collections::HashMap;

use super::Volume;
use crate::base::{Bid, Error, Kind, Result};
use crate::seal::Ref;
use crate::tree::Root;

/// Blocks that may come next, each once.
#[derive(Debug)]
pub struct Expected {
    open: HashMap<Bid, (Ref, u8)>,
    /// A tree has no more nodes than this.
    left: u64,
}

impl Volume {
    /// For a walk of `tree`, as an [`Offer`](super::Offer) names it.
    pub fn expecting(&self, tree: &[u8]) -> Result<Expected> {
        let root: Root = super::offer::decode(tree)?;
        let open = root.reference.map(|r| (r.bid, (r, root.level))).into_iter().collect();
        // Inner nodes have two children at least, leaves one entry.
        Ok(Expected { open, left: root.count.saturating_mul(2).saturating_add(1) })
    }

    /// Keep a block that a walk brought. [`Kind::Corrupt`] if it is none that was to come: nothing is kept then.
    pub fn take_expected(&self, expected: &mut Expected, bid: &Bid, sealed: &[u8]) -> Result<()> {
        let surprise = || Error::new(Kind::Corrupt, "take a tree block", format!("{bid}: nothing refers to it"));
        let (reference, level) = expected.open.remove(bid).ok_or_else(surprise)?;
        expected.left = expected.left.checked_sub(1).ok_or_else(surprise)?;
        self.blocks.accept(bid, sealed)?;
        for child in self.tree.children(&reference, level)? {
            expected.open.insert(child.bid, (child, level.saturating_sub(1)));
        }
        Ok(())
    }
}
