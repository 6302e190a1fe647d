//! What differs between two trees.
//!
//! Two streams of subtrees and entries are walked together; equal subtrees (by logical id) standing at
//! the front of both are stepped over unread. Must never load a node that both trees share, except on
//! the paths to a difference.

use std::cmp::Ordering;
use std::sync::Arc;

use bytes::Bytes;

use super::node::Node;
use super::{Root, Tree};
use crate::base::{Digest, Result};
use crate::seal::Ref;

/// One key whose value differs. Never both `None`, never equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// Its value in the first tree.
    pub old: Option<Bytes>,
    /// Its value in the second tree.
    pub new: Option<Bytes>,
}

/// Iterator over changes in key order; ends after the first error.
pub struct Diff<'t> {
    old: Stream<'t>,
    new: Stream<'t>,
    failed: bool,
}

/// The rest of one tree in key order, opened only where needed.
struct Stream<'t> {
    tree: &'t Tree,
    /// Set until the root is opened.
    root: Option<Root>,
    /// Next entries to visit, innermost last.
    frames: Vec<(Arc<Node>, usize)>,
    /// Nodes opened and not yet reported, if anybody asks.
    opened: Option<Vec<(Ref, u8)>>,
}

/// What a stream stands on.
enum Front {
    End,
    Subtree { level: u8, logical: Digest },
    Entry,
}

impl Tree {
    /// Changes that lead from `old` to `new`. Work is proportional to the nodes that differ.
    pub fn diff(&self, old: &Root, new: &Root) -> Diff<'_> {
        Diff { old: Stream::new(self, old), new: Stream::new(self, new), failed: false }
    }
}

impl Tree {
    /// The blocks of `want` on the way to what differs from `have`, parents before children: what somebody who has
    /// `have` needs to read `want`, and few others. Work is proportional to the nodes that differ.
    pub fn missing(&self, have: &Root, want: &Root, visit: &mut dyn FnMut(&Ref, u8) -> Result<()>) -> Result<()> {
        let mut diff = self.diff(have, want);
        diff.new.opened = Some(Vec::new());
        loop {
            let more = diff.step()?.is_some();
            for (reference, level) in diff.new.opened.as_mut().map(std::mem::take).unwrap_or_default() {
                visit(&reference, level)?;
            }
            if !more {
                return Ok(());
            }
        }
    }
}

impl<'t> Stream<'t> {
    fn new(tree: &'t Tree, root: &Root) -> Self {
        Self { tree, root: Some(root.clone()), frames: Vec::new(), opened: None }
    }

    fn front(&self) -> Result<Front> {
        if let Some(root) = &self.root {
            return Ok(Front::Subtree { level: root.level, logical: root.logical });
        }
        let Some((node, at)) = self.frames.last() else { return Ok(Front::End) };
        match node.level().checked_sub(1) {
            None => Ok(Front::Entry),
            Some(level) => Ok(Front::Subtree { level, logical: node.child(*at)?.logical }),
        }
    }

    /// Replace the subtree at the front by its parts.
    fn open(&mut self) -> Result<()> {
        let (node, reference) = match (self.root.take(), self.frames.last()) {
            (Some(root), _) => (self.tree.root_node(&root)?, root.reference),
            (None, Some((node, at))) => (Some(self.tree.child_node(node, *at)?), Some(node.child(*at)?.reference)),
            (None, None) => (None, None),
        };
        if let (Some(opened), Some(node), Some(reference)) = (&mut self.opened, &node, reference) {
            opened.push((reference, node.level()));
        }
        self.skip();
        self.frames.extend(node.map(|node| (node, 0)));
        Ok(())
    }

    /// Step over what stands at the front.
    fn skip(&mut self) {
        self.root = None;
        if let Some((_, at)) = self.frames.last_mut() {
            *at += 1;
        }
        while self.frames.last().is_some_and(|(node, at)| *at >= node.len()) {
            self.frames.pop();
        }
    }

    fn key(&self) -> &[u8] {
        self.frames.last().map_or(&[], |(node, at)| node.key(*at))
    }

    fn take(&mut self) -> (Bytes, Bytes) {
        let entry = self.frames.last().map_or_else(Default::default, |(node, at)| node.entry(*at));
        self.skip();
        entry
    }
}

impl Diff<'_> {
    fn step(&mut self) -> Result<Option<Change>> {
        loop {
            match (self.old.front()?, self.new.front()?) {
                (Front::End, Front::End) => return Ok(None),
                (Front::Subtree { logical: a, .. }, Front::Subtree { logical: b, .. }) if a == b => {
                    self.old.skip();
                    self.new.skip();
                }
                (Front::Subtree { level: a, .. }, Front::Subtree { level: b, .. }) if a < b => self.new.open()?,
                (Front::Subtree { .. }, _) => self.old.open()?,
                (_, Front::Subtree { .. }) => self.new.open()?,
                (Front::Entry, Front::End) => return Ok(Some(self.removed())),
                (Front::End, Front::Entry) => return Ok(Some(self.added())),
                (Front::Entry, Front::Entry) => {
                    if let Some(change) = self.entries() {
                        return Ok(Some(change));
                    }
                }
            }
        }
    }

    /// Both streams stand on entries.
    fn entries(&mut self) -> Option<Change> {
        match self.old.key().cmp(self.new.key()) {
            Ordering::Less => Some(self.removed()),
            Ordering::Greater => Some(self.added()),
            Ordering::Equal => {
                let ((key, old), (_, new)) = (self.old.take(), self.new.take());
                (old != new).then_some(Change { key, old: Some(old), new: Some(new) })
            }
        }
    }

    fn removed(&mut self) -> Change {
        let (key, old) = self.old.take();
        Change { key, old: Some(old), new: None }
    }

    fn added(&mut self) -> Change {
        let (key, new) = self.new.take();
        Change { key, old: None, new: Some(new) }
    }
}

impl Iterator for Diff<'_> {
    type Item = Result<Change>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}
