//! Many changes at once, level by level.
//!
//! Each level turns edits of its entries into edits of the level above. Must never load a node that no
//! edit touches, except right neighbours where a node's end vanished, and never write a node when
//! nothing in it changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::build::{Draft, Levels, root_of, unsorted};
use super::cursor::Cursor;
use super::node::{CHILD, Child, ENTRY, Node, Search};
use super::shape::is_full;
use super::{Root, Tree};
use crate::base::Result;

/// A key and its new value, or none to remove it.
pub type Edit = (Vec<u8>, Option<Vec<u8>>);

/// Edits of a level's entries caused by the level below.
type Above = BTreeMap<Vec<u8>, Option<[u8; CHILD]>>;

impl Tree {
    /// Apply `edits`, sorted by key without repetition ([`crate::base::Kind::Invalid`] otherwise). Removing
    /// what is not there and setting what is there already change nothing; if nothing changes the same root
    /// comes back and nothing is written. Reads and writes are proportional to the nodes touched.
    pub fn edit(&self, root: &Root, edits: Vec<Edit>) -> Result<Root> {
        if !edits.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(unsorted("edit tree"));
        }
        if self.root_node(root)?.is_none() {
            return self.build(edits.into_iter().filter_map(|(key, value)| Some((key, value?))));
        }
        let mut above = edit_level(self, root, 0, &edits)?;
        for level in 1..=root.level {
            if above.is_empty() {
                break;
            }
            let edits: Vec<_> = above.into_iter().collect();
            above = edit_level(self, root, level, &edits)?;
        }
        if above.is_empty() { Ok(root.clone()) } else { self.crown(root.level, above) }
    }

    /// The root over the nodes that replaced an old root of `level`.
    fn crown(&self, level: u8, above: Above) -> Result<Root> {
        let mut tops = above.into_iter().filter_map(|(key, value)| Some((key, value?)));
        let Some(first) = tops.next() else { return Ok(self.empty()) };
        let Some(second) = tops.next() else { return self.shrink(level, &first.1) };
        let mut levels = Levels::new(self, level + 1);
        for (key, value) in [first, second].into_iter().chain(tops) {
            levels.push(&key, &value)?;
        }
        levels.finish()
    }

    /// A root with a single child is not a root: its child is.
    fn shrink(&self, mut level: u8, top: &[u8]) -> Result<Root> {
        let mut child = Child::from_value(top)?;
        loop {
            let node = self.load(&child.reference, level, true)?;
            if level == 0 || node.len() > 1 {
                return Ok(root_of(&node, &child));
            }
            child = node.child(0)?;
            level -= 1;
        }
    }
}

/// Rewrite the touched nodes of one level; what changes in the level above.
fn edit_level<V: AsRef<[u8]>>(tree: &Tree, root: &Root, level: u8, edits: &[(Vec<u8>, Option<V>)]) -> Result<Above> {
    let mut cursor = Cursor::new(tree, root, level)?;
    let mut out = Rewrite { tree, level, draft: Draft::new(level), above: Above::new(), found: Vec::new() };
    let mut rest = edits;
    loop {
        let found = match rest.first() {
            _ if !out.draft.is_empty() => cursor.advance()?,
            Some((key, _)) => cursor.seek(key)?,
            None => break,
        };
        let Some(node) = cursor.node(level > 0)?.filter(|_| found) else { break };
        let reaches = |key: &[u8]| cursor.is_last() || key <= node.last_key();
        let mine = rest.iter().position(|(key, _)| !reaches(key)).unwrap_or(rest.len());
        let (mine, later) = rest.split_at(mine);
        rest = later;
        out.merge(&node, mine)?;
    }
    if !out.draft.is_empty() {
        out.flush()?;
    }
    Ok(out.above)
}

struct Rewrite<'t> {
    tree: &'t Tree,
    level: u8,
    /// Empty whenever the new node boundaries coincide with the old.
    draft: Draft,
    above: Above,
    /// Where the edits of the current node are; kept for its memory.
    found: Vec<Search>,
}

impl Rewrite<'_> {
    /// Append the entries of an old node with its edits applied.
    fn merge<V: AsRef<[u8]>>(&mut self, old: &Arc<Node>, edits: &[(Vec<u8>, Option<V>)]) -> Result<()> {
        self.found.clear();
        self.found.extend(edits.iter().map(|(key, _)| old.search(key)));
        let mut changes = edits.iter().zip(&self.found);
        if self.draft.is_empty() && !changes.any(|((_, value), found)| self.changes(old, *found, value.as_ref())) {
            return Ok(());
        }
        self.above.entry(old.last_key().to_vec()).or_insert(None);
        let mut at = 0;
        for (i, (key, value)) in edits.iter().enumerate() {
            let (Ok(found) | Err(found)) = self.found.get(i).copied().unwrap_or(Err(at));
            self.copy(old, at, found)?;
            at = found + usize::from(matches!(self.found.get(i), Some(Ok(_))));
            if let Some(value) = value {
                self.push(key, value.as_ref())?;
            }
        }
        self.copy(old, at, old.len())
    }

    /// Whether an edit changes anything in the node that holds its key, or would.
    fn changes<V: AsRef<[u8]>>(&self, old: &Node, found: Search, value: Option<&V>) -> bool {
        match (found, value) {
            (Ok(at), Some(value)) => !self.same(old.value(at), value.as_ref()),
            (found, value) => found.is_ok() || value.is_some(),
        }
    }

    /// Children are the same if their content is; another sealing of it is no change.
    fn same(&self, a: &[u8], b: &[u8]) -> bool {
        if self.level == 0 { a == b } else { a.first_chunk::<32>() == b.first_chunk::<32>() }
    }

    /// Append old entries `a..b`. Only a node's last entry can end one by its hash.
    fn copy(&mut self, old: &Node, a: usize, b: usize) -> Result<()> {
        let inner = b.min(old.len() - 1);
        if a < inner && !is_full(self.level, self.draft.weight() + old.run(a, inner).len()) {
            self.draft.push_run(old, a, inner);
        } else {
            for i in a..inner {
                self.draft.push_run(old, i, i + 1);
                self.end_if(is_full(self.level, self.draft.weight()))?;
            }
        }
        if a.max(inner) < b { self.push(old.key(inner), old.value(inner)) } else { Ok(()) }
    }

    fn push(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.draft.push(key, value)?;
        let weight = ENTRY + key.len() + value.len();
        let ends = is_full(self.level, self.draft.weight()) || self.tree.shape.ends_node(self.level, key, weight);
        self.end_if(ends)
    }

    fn end_if(&mut self, ends: bool) -> Result<()> {
        if ends { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let (node, child) = self.draft.save(self.tree)?;
        self.above.insert(node.last_key().to_vec(), Some(child.to_value()));
        Ok(())
    }
}
