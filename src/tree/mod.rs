//! A search tree over sealed blocks whose shape depends on its content alone.
//!
//! Any sequence of edits, in any batching, ends in the same root as building from scratch, so two
//! devices compare whole volumes by one logical id and find differences by walking only where ids
//! differ. Nodes are immutable; an edit writes new ones beside the old.
//! Must never let history, epochs or sealing influence shape or logical ids, and never trust a node:
//! blocks come from others. Format and invariants: `docs/format-tree.md`.

mod build;
mod cache;
mod cursor;
mod diff;
mod edit;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod node;
mod range;
mod shape;
mod walk;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use diff::{Change, Diff};
pub use edit::Edit;
pub use range::Range;
pub use shape::{MAX_KEY, MAX_VALUE};

use crate::base::{Digest, Error, Kind, Result};
use crate::seal::Ref;
use cache::Cache;
use node::{Child, FORMAT, HEADER, Node};
use shape::{Shape, TOP};

/// Where nodes are kept: sealed blocks above, memory in tests.
pub trait NodeStore: Send + Sync {
    /// The plain bytes of a node saved at `level`.
    fn load(&self, reference: &Ref, level: u8) -> Result<Bytes>;
    /// Keep the plain bytes of a node; saving the same bytes again is cheap and gives the same reference.
    fn save(&self, level: u8, plain: &[u8]) -> Result<Ref>;
}

/// A whole tree: one value to store in a head. Equal contents give equal `logical` ids always, and equal
/// roots when sealed in the same epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The root node; none for the empty tree.
    pub reference: Option<Ref>,
    /// Level of the root node; leaves are level 0.
    pub level: u8,
    /// Name of the content, independent of sealing.
    pub logical: Digest,
    /// Number of entries.
    pub count: u64,
}

/// Reads and edits trees of one volume. Thread-safe; share by `Arc`. Holds at most about `cache_bytes`
/// of decoded nodes.
pub struct Tree {
    store: Arc<dyn NodeStore>,
    shape: Shape,
    cache: Cache,
}

impl Tree {
    /// Over `store`, for the volume whose logical key (independent of epochs) is given.
    pub fn new(store: Arc<dyn NodeStore>, logical_key: Digest, cache_bytes: usize) -> Self {
        Self { store, shape: Shape::new(logical_key), cache: Cache::new(cache_bytes) }
    }

    /// The tree without entries.
    pub fn empty(&self) -> Root {
        let mut header = [0; HEADER];
        header[0] = FORMAT;
        Root { reference: None, level: 0, logical: self.shape.logical(&[&header]), count: 0 }
    }

    /// The value under `key`. It shares its node's buffer: copy it when keeping it long.
    /// O(log n), about four nodes for a million entries.
    pub fn get(&self, root: &Root, key: &[u8]) -> Result<Option<Bytes>> {
        let Some(mut node) = self.root_node(root)? else { return Ok(None) };
        while node.level() > 0 {
            let at = node.lower_bound(key);
            if at == node.len() {
                return Ok(None);
            }
            node = self.child_node(&node, at)?;
        }
        Ok(node.find(key).map(|at| node.entry(at).1))
    }

    /// Drop every decoded node.
    pub fn forget_cache(&self) {
        self.cache.clear();
    }

    /// Bytes of decoded nodes held now.
    pub fn cached_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// The root node, checked against what `root` claims; none for the empty tree.
    fn root_node(&self, root: &Root) -> Result<Option<Arc<Node>>> {
        let Some(reference) = root.reference else {
            let empty = self.empty();
            return if *root == empty { Ok(None) } else { Err(mismatch("an empty root with content")) };
        };
        if root.level > TOP {
            return Err(mismatch("root above the top level"));
        }
        let node = self.load(&reference, root.level, true)?;
        let claim = Child { logical: root.logical, count: root.count, reference };
        if !claims(&claim, &node) || (node.level() > 0 && node.len() < 2) {
            return Err(mismatch("root node differs from the root"));
        }
        Ok(Some(node))
    }

    /// Child `at` of an inner node, checked against what its parent says.
    fn child_node(&self, parent: &Node, at: usize) -> Result<Arc<Node>> {
        self.child_node_with(parent, at, true)
    }

    /// As [`Tree::child_node`]; unless to `keep`, the node stays out of the cache and its logical id is not
    /// checked: for one pass over what is about to be replaced.
    fn child_node_with(&self, parent: &Node, at: usize, keep: bool) -> Result<Arc<Node>> {
        if let Some(node) = parent.linked(at) {
            return Ok(node);
        }
        let claim = parent.child(at)?;
        let level = parent.level().checked_sub(1).ok_or_else(|| mismatch("a leaf has no children"))?;
        let node = self.load(&claim.reference, level, keep)?;
        let follows = at == 0 || parent.key(at - 1) < node.first_key();
        if !claims(&claim, &node) || !follows || node.last_key() != parent.key(at) {
            return Err(mismatch("node differs from what its parent says"));
        }
        if keep {
            parent.link(at, &node);
        }
        Ok(node)
    }

    fn load(&self, reference: &Ref, level: u8, keep: bool) -> Result<Arc<Node>> {
        if let Some(node) = self.cache.get(&reference.bid) {
            return if node.level() == level { Ok(node) } else { Err(mismatch("node of another level")) };
        }
        let plain = self.store.load(reference, level)?;
        if !keep {
            return Ok(Arc::new(Node::parse(plain, level)?));
        }
        let node = Arc::new(Node::decode(plain, level, &self.shape)?);
        self.cache.insert(reference.bid, &node);
        Ok(node)
    }
}

fn claims(claim: &Child, node: &Node) -> bool {
    node.logical().is_none_or(|logical| claim.logical == *logical) && claim.count == node.count()
}

fn mismatch(why: &'static str) -> Error {
    Error::new(Kind::Corrupt, "read tree", why)
}
