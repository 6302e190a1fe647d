//! A forward cursor over the nodes of one level.
//!
//! Loads only inner nodes on the way; the nodes of the level itself only when asked. Must never move
//! backwards: callers seek ascending keys.

use std::sync::Arc;

use super::node::Node;
use super::{Root, Tree};
use crate::base::Result;

/// The path from the root to the parent of the current node.
pub(super) struct Cursor<'t> {
    tree: &'t Tree,
    level: u8,
    /// The root node; none for the empty tree.
    root: Option<Arc<Node>>,
    frames: Vec<Frame>,
}

struct Frame {
    node: Arc<Node>,
    at: usize,
}

impl<'t> Cursor<'t> {
    /// Over level `level` of a tree at least that high; stands nowhere until [`Cursor::seek`].
    pub(super) fn new(tree: &'t Tree, root: &Root, level: u8) -> Result<Self> {
        Ok(Self { tree, level, root: tree.root_node(root)?, frames: Vec::new() })
    }

    /// Stand on the first node whose last key is at least `key`, or on the last node.
    /// False only for the empty tree.
    pub(super) fn seek(&mut self, key: &[u8]) -> Result<bool> {
        let Some(root) = &self.root else { return Ok(false) };
        while self.frames.last().is_some_and(|f| self.frames.len() > 1 && f.node.last_key() < key) {
            self.frames.pop();
        }
        if self.frames.is_empty() && root.level() > self.level {
            self.frames.push(Frame { node: Arc::clone(root), at: 0 });
        }
        while let Some(frame) = self.frames.last_mut() {
            frame.at = frame.node.lower_bound(key).min(frame.node.len() - 1);
            if frame.node.level() <= self.level + 1 {
                break;
            }
            self.down()?;
        }
        Ok(true)
    }

    /// Step to the next node of the level; false at the end.
    pub(super) fn advance(&mut self) -> Result<bool> {
        while self.frames.last().is_some_and(Frame::is_last) {
            self.frames.pop();
        }
        let Some(frame) = self.frames.last_mut() else { return Ok(false) };
        frame.at += 1;
        while self.frames.last().is_some_and(|f| f.node.level() > self.level + 1) {
            self.down()?;
        }
        Ok(true)
    }

    fn down(&mut self) -> Result<()> {
        if let Some(frame) = self.frames.last() {
            let node = self.tree.child_node(&frame.node, frame.at)?;
            self.frames.push(Frame { node, at: 0 });
        }
        Ok(())
    }

    /// Whether the current node is the last of its level.
    pub(super) fn is_last(&self) -> bool {
        self.frames.iter().all(Frame::is_last)
    }

    /// The current node; none where [`Cursor::seek`] said false. `keep` says whether to cache it.
    pub(super) fn node(&self, keep: bool) -> Result<Option<Arc<Node>>> {
        match self.frames.last() {
            Some(frame) => self.tree.child_node_with(&frame.node, frame.at, keep).map(Some),
            None => Ok(self.root.clone()),
        }
    }
}

impl Frame {
    fn is_last(&self) -> bool {
        self.at + 1 >= self.node.len()
    }
}
