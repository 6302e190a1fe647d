//! Writing nodes: one under construction, and a whole tree from sorted entries.
//!
//! Must never hold more than one unfinished node of each level, and never write a node that the
//! finished tree does not contain.

use std::sync::Arc;

use bytes::Bytes;

use super::node::{CHILD, Child, ENTRY, FORMAT, HEADER, Node};
use super::shape::{MAX_KEY, MAX_VALUE, TARGET, is_full};
use super::{Root, Tree};
use crate::base::{Error, Kind, Result};

/// A node under construction.
pub(super) struct Draft {
    level: u8,
    bytes: Vec<u8>,
    entries: u32,
}

impl Draft {
    pub(super) fn new(level: u8) -> Self {
        let mut draft = Self { level, bytes: Vec::with_capacity(2 * TARGET), entries: 0 };
        draft.clear();
        draft
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.extend_from_slice(&[FORMAT, self.level, 0, 0, 0, 0]);
        self.entries = 0;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Encoded size of the entries so far, in bytes.
    pub(super) fn weight(&self) -> usize {
        self.bytes.len() - HEADER
    }

    /// Append an entry. [`Kind::TooBig`] when key or value exceed their limits.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let lengths = u16::try_from(key.len()).ok().zip(u32::try_from(value.len()).ok());
        let fits = key.len() <= MAX_KEY && value.len() <= MAX_VALUE;
        let Some((key_len, value_len)) = lengths.filter(|_| fits) else {
            return Err(Error::new(Kind::TooBig, "add to tree", format!("{} + {} bytes", key.len(), value.len())));
        };
        self.bytes.extend_from_slice(&key_len.to_le_bytes());
        self.bytes.extend_from_slice(&value_len.to_le_bytes());
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
        self.entries += 1;
        Ok(())
    }

    /// Append entries `a..b` of a node of the same level as they are.
    pub(super) fn push_run(&mut self, node: &Node, a: usize, b: usize) {
        self.bytes.extend_from_slice(node.run(a, b));
        self.entries += u32::try_from(b.saturating_sub(a)).unwrap_or(u32::MAX);
    }

    /// Encode, check as any reader would but for the order, save, and start afresh. The draft must not be
    /// empty and its entries in order.
    pub(super) fn save(&mut self, tree: &Tree) -> Result<(Arc<Node>, Child)> {
        if let Some(n) = self.bytes.get_mut(2..HEADER) {
            n.copy_from_slice(&self.entries.to_le_bytes());
        }
        let node = Arc::new(Node::made(Bytes::copy_from_slice(&self.bytes), self.level, &tree.shape)?);
        self.clear();
        let reference = tree.store.save(node.level(), node.plain())?;
        tree.cache.insert(reference.bid, &node);
        let logical =
            node.logical().copied().ok_or_else(|| Error::new(Kind::Other, "save tree node", "no logical id"))?;
        let child = Child { logical, count: node.count(), reference };
        Ok((node, child))
    }
}

/// Builds a tree upwards from the entries of one level.
pub(super) struct Levels<'t> {
    tree: &'t Tree,
    base: u8,
    open: Vec<Open>,
}

/// The unfinished node of a level. It is saved only when another entry follows: what is last may turn
/// out to be the root, and then nothing above it may be written.
struct Open {
    draft: Draft,
    ended: bool,
}

impl<'t> Levels<'t> {
    /// Entries will be of level `base`.
    pub(super) fn new(tree: &'t Tree, base: u8) -> Self {
        Self { tree, base, open: Vec::new() }
    }

    /// Append an entry; keys must ascend.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.push_at(0, key, value)
    }

    fn push_at(&mut self, height: usize, key: &[u8], value: &[u8]) -> Result<()> {
        let level = u8::try_from(height).ok().and_then(|h| self.base.checked_add(h));
        let level = level.ok_or_else(|| Error::new(Kind::TooBig, "build tree", "too many levels"))?;
        if self.open.len() <= height {
            self.open.push(Open { draft: Draft::new(level), ended: false });
        }
        if self.open.get(height).is_some_and(|open| open.ended) {
            self.flush(height)?;
        }
        let Some(open) = self.open.get_mut(height) else { return Ok(()) };
        open.draft.push(key, value)?;
        let weight = ENTRY + key.len() + value.len();
        open.ended = is_full(level, open.draft.weight()) || self.tree.shape.ends_node(level, key, weight);
        Ok(())
    }

    /// Save the node of a level and enter it one level up.
    fn flush(&mut self, height: usize) -> Result<()> {
        let Some(open) = self.open.get_mut(height) else { return Ok(()) };
        open.ended = false;
        let (node, child) = open.draft.save(self.tree)?;
        self.push_at(height + 1, node.last_key(), &child.to_value())
    }

    /// Save what is open; the first level that is a single node is the root.
    pub(super) fn finish(mut self) -> Result<Root> {
        if self.open.is_empty() {
            return Ok(self.tree.empty());
        }
        let mut height = 0;
        while height + 1 < self.open.len() {
            self.flush(height)?;
            height += 1;
        }
        let Some(mut top) = self.open.pop() else { return Ok(self.tree.empty()) };
        let (node, child) = top.draft.save(self.tree)?;
        Ok(root_of(&node, &child))
    }
}

/// The root whose root node this is.
pub(super) fn root_of(node: &Node, child: &Child) -> Root {
    Root { reference: Some(child.reference), level: node.level(), logical: child.logical, count: child.count }
}

impl Tree {
    /// A tree from scratch. Keys must be unique and ascending: [`Kind::Invalid`] otherwise.
    /// Streams: memory is one unfinished node a level, plus the cache.
    pub fn build<K, V>(&self, entries: impl IntoIterator<Item = (K, V)>) -> Result<Root>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut levels = Levels::new(self, 0);
        let mut previous: Option<K> = None;
        for (key, value) in entries {
            if previous.as_ref().is_some_and(|p| p.as_ref() >= key.as_ref()) {
                return Err(unsorted("build tree"));
            }
            levels.push(key.as_ref(), value.as_ref())?;
            previous = Some(key);
        }
        levels.finish()
    }
}

/// The caller's keys do not ascend.
pub(super) fn unsorted(operation: &'static str) -> Error {
    Error::new(Kind::Invalid, operation, "keys not ascending")
}

const _: () = assert!(CHILD < TARGET, "inner levels must shrink");
