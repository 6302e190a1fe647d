//! What changed since this device last told others, carried by the head itself while it is little.
//!
//! Whoever has the tree it builds on makes the new one out of it, without asking for a single block; that the result is
//! the tree the signed head names is checked, so a wrong one costs a question and nothing else. Must never make a head
//! larger than a fraction of what it may be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Volume;
use super::merge::decode;
use super::offer;
use crate::base::{NodeId, Result};
use crate::seal::head::open_head;
use crate::tree::Root;

/// Bytes of states a head carries at most.
const MOST: usize = 8 << 10;

/// States by node, encoded; `None`: nothing of it remains.
type Changes = BTreeMap<NodeId, Option<Vec<u8>>>;

/// What a head carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct News {
    /// The tree of states it builds on.
    pub from: Root,
    /// What is otherwise in the head's own.
    pub changes: Changes,
}

/// What is gathered for the next heads.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    /// The tree told last; `None` once more changed than a head carries.
    from: Option<Root>,
    changes: Changes,
    bytes: usize,
}

impl Gathered {
    /// Edits that are about to become part of the tree.
    pub fn add(&mut self, edits: &[(Vec<u8>, Option<Vec<u8>>)]) {
        for (key, value) in edits {
            let Some(id) = NodeId::from_slice(key).filter(|_| self.from.is_some()) else { continue };
            let size = |value: &Option<Vec<u8>>| key.len() + value.as_ref().map_or(0, Vec::len);
            self.bytes += size(value);
            if let Some(before) = self.changes.insert(id, value.clone()) {
                self.bytes -= size(&before);
            }
            if self.bytes > MOST {
                self.forget();
            }
        }
    }

    /// The next heads carry nothing, until something is told.
    pub fn forget(&mut self) {
        *self = Self::default();
    }

    /// For a head.
    pub fn news(&self) -> Option<News> {
        let from = self.from.clone()?;
        Some(News { from, changes: self.changes.clone() })
    }
}

impl Volume {
    /// Others were told of the tree `raw`: what changes from now on is gathered.
    pub fn told(&self, raw: &Root) {
        // Not between what a seal gathers and what it makes.
        let _turn = self.sealing.lock();
        let current = self.ns.lock().roots.raw == *raw;
        let mut gathered = self.news.lock();
        gathered.forget();
        // Sealed again meanwhile: what that changed is not known any more.
        gathered.from = current.then(|| raw.clone());
    }

    /// Make the tree that a head of `author` names out of the one called `before`, which is here, and what the head
    /// says is otherwise. False if it says nothing of use: then the difference has to be asked for.
    pub fn foretell(&self, author: &[u8; 32], head: &[u8], before: &[u8]) -> Result<bool> {
        let body = decode(&open_head(&self.sealer, author, head)?)?;
        let Some(News { from, changes }) =
            body.news.filter(|news| offer::encode(&news.from).is_ok_and(|name| name == before))
        else {
            return Ok(false);
        };
        let edits = changes.into_iter().map(|(id, value)| (id.as_bytes().to_vec(), value)).collect();
        Ok(self.tree.edit(&from, edits)? == body.raw)
    }
}
