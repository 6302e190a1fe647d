//! Caches of what was read: plaintext and decoded manifest nodes.
//!
//! Bounded in bytes; a scan through much data does not push out what is used again (S3-FIFO, from
//! `quick_cache`). The key is the whole reference with type and level, so that whoever holds less
//! than the right to read a block misses. Must never hold anything that did not verify.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache as Shards;

use super::manifest::Node;
use crate::base::Result;
use crate::seal::{BlockType, Ref};

/// What an entry costs beside its content, in bytes.
const OVERHEAD: u64 = 192;

/// The right to read one block as one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    reference: Ref,
    kind: BlockType,
    level: u8,
}

impl Key {
    pub(super) fn new(kind: BlockType, level: u8, reference: &Ref) -> Self {
        Self { reference: *reference, kind, level }
    }
}

/// Block ids are hashes already: a part of one will do.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.reference.bid.0.first_chunk().map_or(0, |part| u64::from_le_bytes(*part)));
    }
}

/// Something with a size in memory.
pub(super) trait Weigh {
    /// Bytes.
    fn weight(&self) -> u64;
}

impl Weigh for Bytes {
    fn weight(&self) -> u64 {
        self.len() as u64
    }
}

impl Weigh for Arc<Node> {
    fn weight(&self) -> u64 {
        Node::weight(self) as u64
    }
}

#[derive(Clone)]
struct ByWeight;

impl<V: Weigh> Weighter<Key, V> for ByWeight {
    fn weight(&self, _: &Key, value: &V) -> u64 {
        value.weight() + OVERHEAD
    }
}

/// A cache bounded in bytes. Thread-safe; O(1).
pub(super) struct Cache<V>(Shards<Key, V, ByWeight>);

/// Plaintext of data and manifest blocks.
pub(super) type PlainCache = Cache<Bytes>;
/// Decoded manifest nodes.
pub(super) type NodeCache = Cache<Arc<Node>>;

impl<V: Weigh + Clone> Cache<V> {
    /// For `bytes` of values of about `typical` bytes each. What is too big for it is not kept.
    pub(super) fn new(bytes: u64, typical: u64) -> Self {
        let items = usize::try_from(bytes / typical.max(1)).unwrap_or(usize::MAX).max(16);
        Self(Shards::with_weighter(items, bytes, ByWeight))
    }

    /// The cached value, or what `make` gives, then cached. Concurrent callers wait for one `make`.
    pub(super) fn get_or(&self, key: Key, make: impl FnOnce() -> Result<V>) -> Result<V> {
        self.0.get_or_insert_with(&key, make)
    }

    /// The cached value, if it is there.
    pub(super) fn peek(&self, key: &Key) -> Option<V> {
        self.0.get(key)
    }

    pub(super) fn clear(&self) {
        self.0.clear();
    }

    /// Bytes held now.
    pub(super) fn weight(&self) -> u64 {
        self.0.weight()
    }
}

#[cfg(test)]
mod tests;
