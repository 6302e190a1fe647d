//! Decoded nodes by block id, within a bound of bytes.
//!
//! Sharded, one short lock each; second-chance eviction, so a hit only sets a flag. Must never hold a
//! lock while loading.

use std::collections::HashMap;
use std::sync::Arc;

use super::node::Node;
use crate::base::Bid;
use crate::base::sync::Mutex;

const SHARDS: usize = 16;

/// The cache of one tree.
pub(super) struct Cache {
    shards: Vec<Mutex<Shard>>,
    /// Bytes each shard may hold.
    bound: usize,
}

#[derive(Default)]
struct Shard {
    index: HashMap<Bid, usize>,
    slots: Vec<Slot>,
    hand: usize,
    bytes: usize,
}

struct Slot {
    bid: Bid,
    node: Arc<Node>,
    used: bool,
}

impl Cache {
    /// Holds at most about `bytes`; zero caches nothing.
    pub(super) fn new(bytes: usize) -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), bound: bytes / SHARDS }
    }

    fn shard(&self, bid: &Bid) -> Option<&Mutex<Shard>> {
        let [first, ..] = bid.as_bytes();
        self.shards.get(usize::from(*first) % SHARDS)
    }

    /// The node, if held. O(1).
    pub(super) fn get(&self, bid: &Bid) -> Option<Arc<Node>> {
        let mut shard = self.shard(bid)?.lock();
        let at = *shard.index.get(bid)?;
        let slot = shard.slots.get_mut(at)?;
        slot.used = true;
        Some(Arc::clone(&slot.node))
    }

    /// Keep `node`, dropping others as needed; a node larger than a shard's bound is not kept.
    pub(super) fn insert(&self, bid: Bid, node: &Arc<Node>) {
        let size = node.footprint();
        let Some(shard) = self.shard(&bid).filter(|_| size <= self.bound) else { return };
        let mut shard = shard.lock();
        if shard.index.contains_key(&bid) {
            return;
        }
        while shard.bytes + size > self.bound && shard.evict_one() {}
        shard.push(bid, Arc::clone(node));
    }

    /// Forget everything.
    pub(super) fn clear(&self) {
        for shard in &self.shards {
            *shard.lock() = Shard::default();
        }
    }

    /// Bytes held now.
    pub(super) fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().bytes).sum()
    }
}

impl Shard {
    fn push(&mut self, bid: Bid, node: Arc<Node>) {
        self.bytes += node.footprint();
        self.index.insert(bid, self.slots.len());
        self.slots.push(Slot { bid, node, used: false });
    }

    /// Drop one node not used since the hand last passed; false when empty.
    fn evict_one(&mut self) -> bool {
        loop {
            if self.hand >= self.slots.len() {
                self.hand = 0;
            }
            let Some(slot) = self.slots.get_mut(self.hand) else { return false };
            if !std::mem::take(&mut slot.used) {
                self.remove(self.hand);
                return true;
            }
            self.hand += 1;
        }
    }

    fn remove(&mut self, at: usize) {
        let gone = self.slots.swap_remove(at);
        self.index.remove(&gone.bid);
        self.bytes = self.bytes.saturating_sub(gone.node.footprint());
        if let Some(moved) = self.slots.get(at) {
            self.index.insert(moved.bid, at);
        }
    }
}
