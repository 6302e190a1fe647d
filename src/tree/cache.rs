//! Decoded nodes by block id, within a bound of bytes.
//!
//! Sharded, one short lock each; second-chance eviction, so a hit only sets a flag. Must never hold a
//! lock while loading.

use std::collections::HashMap;
use std::sync::Arc;

use super::node::Node;
use crate::base::Bid;
use crate::base::sync::RwLock;

const SHARDS: usize = 16;

/// The cache of one tree.
pub(super) struct Cache {
    shards: Vec<RwLock<Shard>>,
    /// Bytes each shard may hold.
    bound: usize,
}

#[derive(Default)]
struct Shard {
    nodes: HashMap<Bid, Arc<Node>>,
    /// The keys of `nodes`, around which the hand goes.
    ring: Vec<Bid>,
    hand: usize,
    bytes: usize,
}

impl Cache {
    /// Holds at most about `bytes`; zero caches nothing.
    pub(super) fn new(bytes: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| RwLock::default()).collect(), bound: bytes / SHARDS }
    }

    fn shard(&self, bid: &Bid) -> Option<&RwLock<Shard>> {
        let [first, ..] = bid.as_bytes();
        self.shards.get(usize::from(*first) % SHARDS)
    }

    /// The node, if held. O(1).
    pub(super) fn get(&self, bid: &Bid) -> Option<Arc<Node>> {
        let node = Arc::clone(self.shard(bid)?.read().nodes.get(bid)?);
        node.touch();
        Some(node)
    }

    /// Keep `node`, dropping others as needed; a node larger than a shard's bound is not kept.
    pub(super) fn insert(&self, bid: Bid, node: &Arc<Node>) {
        let size = node.footprint();
        let Some(shard) = self.shard(&bid).filter(|_| size <= self.bound) else { return };
        let mut shard = shard.write();
        if shard.nodes.contains_key(&bid) {
            return;
        }
        while shard.bytes + size > self.bound && shard.evict_one() {}
        shard.push(bid, Arc::clone(node));
    }

    /// Forget everything.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            *shard.write() = Shard::default();
        }
    }

    /// Bytes held now.
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().bytes).sum()
    }
}

impl Shard {
    fn push(&mut self, bid: Bid, node: Arc<Node>) {
        self.bytes += node.footprint();
        self.ring.push(bid);
        self.nodes.insert(bid, node);
    }

    /// Drop one node not used since the hand last passed; false when empty.
    fn evict_one(&mut self) -> bool {
        loop {
            if self.hand >= self.ring.len() {
                self.hand = 0;
            }
            let Some(node) = self.ring.get(self.hand).and_then(|bid| self.nodes.get(bid)) else { return false };
            if !node.untouch() {
                self.bytes = self.bytes.saturating_sub(node.footprint());
                self.nodes.remove(&self.ring.swap_remove(self.hand));
                return true;
            }
            self.hand += 1;
        }
    }
}
