//! Entries in key order from any point on.
//!
//! Loads one leaf at a time, when it is reached. Must never yield keys out of order, whatever it reads.

use std::sync::Arc;

use bytes::Bytes;

use super::cursor::Cursor;
use super::node::Node;
use super::{Root, Tree, mismatch};
use crate::base::Result;

/// Iterator over entries; ends after the first error.
pub struct Range<'t> {
    state: State<'t>,
    from: Vec<u8>,
}

enum State<'t> {
    Start { tree: &'t Tree, root: Root },
    In { cursor: Cursor<'t>, leaf: Arc<Node>, at: usize },
    Done,
}

impl Tree {
    /// All entries with key at least `from`, ascending. Loads nothing until first asked.
    /// Keys and values share their leaf's buffer.
    pub fn range(&self, root: &Root, from: &[u8]) -> Range<'_> {
        Range { state: State::Start { tree: self, root: root.clone() }, from: from.to_vec() }
    }
}

impl Range<'_> {
    fn step(&mut self) -> Result<Option<(Bytes, Bytes)>> {
        loop {
            match std::mem::replace(&mut self.state, State::Done) {
                State::Start { tree, root } => {
                    let mut cursor = Cursor::new(tree, &root, 0)?;
                    cursor.seek(&self.from)?;
                    let Some(leaf) = cursor.node(true)? else { return Ok(None) };
                    let at = leaf.lower_bound(&self.from);
                    self.state = State::In { cursor, leaf, at };
                }
                State::In { cursor, leaf, at } if at < leaf.len() => {
                    let entry = leaf.entry(at);
                    self.state = State::In { cursor, leaf, at: at + 1 };
                    return Ok(Some(entry));
                }
                State::In { mut cursor, leaf, .. } => {
                    if !cursor.advance()? {
                        return Ok(None);
                    }
                    let Some(next) = cursor.node(true)? else { return Ok(None) };
                    if next.first_key() <= leaf.last_key() {
                        return Err(mismatch("leaves out of order"));
                    }
                    self.state = State::In { cursor, leaf: next, at: 0 };
                }
                State::Done => return Ok(None),
            }
        }
    }
}

impl Iterator for Range<'_> {
    type Item = Result<(Bytes, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        if let State::In { leaf, at, .. } = &mut self.state
            && *at < leaf.len()
        {
            let entry = leaf.entry(*at);
            *at += 1;
            return Some(Ok(entry));
        }
        self.step().transpose()
    }
}
