//! Which pack has which block: what the indexes of all packs say, in memory.
//!
//! About 60 bytes a block. Must never name a pack that is not in it.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::pack::{PackName, Span};
use crate::base::Bid;

/// See the module.
#[derive(Debug, Default)]
pub struct Index {
    blocks: BTreeMap<Bid, Spot>,
    packs: BTreeMap<u32, Known>,
    numbers: BTreeMap<PackName, u32>,
    next: u32,
}

#[derive(Debug, Clone, Copy)]
struct Spot {
    pack: u32,
    span: Span,
}

#[derive(Debug)]
struct Known {
    name: PackName,
    /// Of its blocks, those that are found here.
    live: u64,
    /// Bytes of the object.
    size: u64,
    /// Has blocks that are found elsewhere: to be read again should that go.
    shadowed: bool,
}

impl Index {
    /// Where a block is.
    pub fn find(&self, id: &Bid) -> Option<(PackName, Span)> {
        let spot = self.blocks.get(id)?;
        Some((self.packs.get(&spot.pack)?.name, spot.span))
    }

    /// Whether a pack is known.
    pub fn knows(&self, name: &PackName) -> bool {
        self.numbers.contains_key(name)
    }

    /// At most `limit` ids behind `after`.
    pub fn list(&self, after: Option<Bid>, limit: usize) -> Vec<Bid> {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.blocks.range((start, Bound::Unbounded)).take(limit).map(|(id, _)| *id).collect()
    }

    /// Blocks, and bytes of them.
    pub fn totals(&self) -> (u64, u64) {
        (self.blocks.len() as u64, self.packs.values().map(|pack| pack.size - pack.name.index_len()).sum())
    }

    /// A pack is there. A block that is elsewhere too is found in the newer one if `newer`, else where it was.
    pub fn add(&mut self, name: PackName, size: u64, spans: &[(Bid, Span)], newer: bool) {
        if self.knows(&name) {
            return;
        }
        let number = self.next;
        self.next += 1;
        let mut known = Known { name, live: 0, size, shadowed: false };
        for (id, span) in spans {
            if let Some(before) = self.blocks.get(id).map(|spot| spot.pack) {
                let Some(other) = self.packs.get_mut(&before).filter(|_| newer) else {
                    known.shadowed = true;
                    continue;
                };
                other.live -= 1;
                other.shadowed = true;
            }
            known.live += 1;
            self.blocks.insert(*id, Spot { pack: number, span: *span });
        }
        self.packs.insert(number, known);
        self.numbers.insert(name, number);
    }

    /// A pack is gone. Those that may have its blocks too are forgotten with it, to be read again.
    pub fn remove(&mut self, name: &PackName) {
        let Some(number) = self.numbers.get(name).copied() else { return };
        let mut gone: Vec<u32> = self.packs.iter().filter(|(_, pack)| pack.shadowed).map(|(n, _)| *n).collect();
        gone.push(number);
        self.blocks.retain(|_, spot| !gone.contains(&spot.pack));
        for number in gone {
            if let Some(pack) = self.packs.remove(&number) {
                self.numbers.remove(&pack.name);
            }
        }
    }

    /// Forget packs that are not in `listed`. Returns whether there was one.
    pub fn keep_only(&mut self, listed: &BTreeMap<PackName, u64>) -> bool {
        let gone: Vec<PackName> = self.numbers.keys().filter(|name| !listed.contains_key(name)).copied().collect();
        for name in &gone {
            self.remove(name);
        }
        !gone.is_empty()
    }

    /// Bytes of a pack's object; 0 if it is not known.
    pub fn size(&self, name: &PackName) -> u64 {
        self.numbers.get(name).and_then(|number| self.packs.get(number)).map_or(0, |pack| pack.size)
    }

    /// Packs with less than `size` bytes.
    pub fn small(&self, size: u64) -> Vec<PackName> {
        self.packs.values().filter(|pack| pack.size < size).map(|pack| pack.name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::pack::build;
    use super::*;
    use bytes::Bytes;

    fn pack(ids: &[u8]) -> (PackName, u64, Vec<(Bid, Span)>) {
        let blocks = ids.iter().map(|n| (Bid([*n; 32]), Bytes::from(vec![*n; 10])));
        let (name, object, spans) = build(blocks.collect());
        (name, object.len() as u64, spans)
    }

    #[test]
    fn a_block_in_two_packs_is_found_when_either_goes() {
        for (gone, newer) in [(0, false), (1, false), (0, true), (1, true)] {
            let packs = [pack(&[1, 2]), pack(&[2, 3])];
            let mut index = Index::default();
            for (name, size, spans) in &packs {
                index.add(*name, *size, spans, newer);
            }
            assert_eq!(index.list(None, 9).len(), 3);
            let listed = BTreeMap::from([(packs[1 - gone].0, packs[1 - gone].1)]);
            assert!(index.keep_only(&listed));
            if !index.knows(&packs[1 - gone].0) {
                let (name, size, spans) = &packs[1 - gone];
                index.add(*name, *size, spans, false);
            }
            assert_eq!(index.find(&Bid([2; 32])).map(|(name, _)| name), Some(packs[1 - gone].0));
            assert_eq!(index.totals(), (2, 20));
        }
    }

    /// Bytes resident in this process.
    fn resident() -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
        pages.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default() * 4096
    }

    #[test]
    #[ignore = "a measurement"]
    fn memory_of_a_million_blocks() {
        let begin = resident();
        let mut index = Index::default();
        for pack in 0..8_000_u64 {
            let id = |n: u64| Bid(crate::base::hash(&[&(pack * 125 + n).to_le_bytes()]));
            let (name, object, spans) = build((0..125).map(|n| (id(n), Bytes::from_static(b"x"))).collect());
            index.add(name, object.len() as u64, &spans, false);
        }
        let indexed = resident();
        let store = super::super::super::MultiKv::new().add(std::sync::Arc::new(crate::kv::MemoryKv::default()));
        store.listed(index.list(None, usize::MAX).into_iter());
        let of = |bytes: u64| bytes as f64 / 1e6;
        println!("index {:.1}, inventory {:.1} bytes a block", of(indexed - begin), of(resident() - indexed));
        assert_eq!(index.totals().0, 1_000_000);
    }
}
