//! Visiting the blocks of a tree: for marking garbage, and for checking everything (fsck).
//!
//! Must never load a node whose visitor said not to descend.

use super::node::{ENTRY, Node};
use super::shape::is_full;
use super::{Root, Tree, mismatch};
use crate::base::Result;
use crate::seal::Ref;

type Visit<'v> = &'v mut dyn FnMut(&Ref, u8) -> Result<bool>;
type Entry<'v> = &'v mut dyn FnMut(&[u8], &[u8]) -> Result<()>;

impl Tree {
    /// Every block of the tree, parents first. `visit` gets the reference and its level and says whether
    /// to descend; leaves are reported without being read.
    pub fn blocks(&self, root: &Root, mut visit: impl FnMut(&Ref, u8) -> Result<bool>) -> Result<()> {
        if let Some(reference) = &root.reference
            && visit(reference, root.level)?
            && root.level > 0
            && let Some(node) = self.root_node(root)?
        {
            self.blocks_below(&node, &mut visit)?;
        }
        Ok(())
    }

    /// The nodes that an inner node refers to, by one load of that node; none for a leaf, which is not read.
    pub fn children(&self, reference: &Ref, level: u8) -> Result<Vec<Ref>> {
        if level == 0 {
            return Ok(Vec::new());
        }
        let node = self.load(reference, level, false)?;
        (0..node.len()).map(|at| node.child(at).map(|child| child.reference)).collect()
    }

    fn blocks_below(&self, node: &Node, visit: Visit<'_>) -> Result<()> {
        for at in 0..node.len() {
            let level = node.level() - 1;
            if visit(&node.child(at)?.reference, level)? && level > 0 {
                self.blocks_below(&*self.child_node(node, at)?, visit)?;
            }
        }
        Ok(())
    }

    /// As [`Tree::blocks`], and every entry of the leaves descended into: marking what the values refer
    /// to, skipping whole subtrees that are marked already.
    pub fn walk(
        &self,
        root: &Root,
        mut visit: impl FnMut(&Ref, u8) -> Result<bool>,
        mut entry: impl FnMut(&[u8], &[u8]) -> Result<()>,
    ) -> Result<()> {
        if let Some(reference) = &root.reference
            && visit(reference, root.level)?
            && let Some(node) = self.root_node(root)?
        {
            self.walk_below(&node, &mut visit, &mut entry)?;
        }
        Ok(())
    }

    fn walk_below(&self, node: &Node, visit: Visit<'_>, entry: Entry<'_>) -> Result<()> {
        for at in 0..node.len() {
            if node.level() == 0 {
                entry(node.key(at), node.value(at))?;
            } else if visit(&node.child(at)?.reference, node.level() - 1)? {
                self.walk_below(&*self.child_node(node, at)?, visit, entry)?;
            }
        }
        Ok(())
    }

    /// Read the whole tree and check that it is the canonical one for its content: what readers check
    /// anyway, and that every node ends exactly where the boundary rule says. O(n).
    pub fn verify(&self, root: &Root) -> Result<()> {
        self.root_node(root)?.map_or(Ok(()), |node| self.verify_below(&node, true))
    }

    fn verify_below(&self, node: &Node, last: bool) -> Result<()> {
        self.verify_ends(node, last)?;
        for at in 0..if node.level() == 0 { 0 } else { node.len() } {
            let child = self.child_node(node, at)?;
            self.verify_below(&child, last && at + 1 == node.len())?;
        }
        Ok(())
    }

    /// No entry but the last ends the node; the last does, unless it is the last of its level.
    fn verify_ends(&self, node: &Node, last: bool) -> Result<()> {
        let mut weight = 0;
        for at in 0..node.len() {
            let size = ENTRY + node.key(at).len() + node.value(at).len();
            weight += size;
            let ends = is_full(node.level(), weight) || self.shape.ends_node(node.level(), node.key(at), size);
            let is_last = at + 1 == node.len();
            if ends != is_last && !(is_last && last) {
                return Err(mismatch("a node ends at the wrong entry"));
            }
        }
        Ok(())
    }
}
