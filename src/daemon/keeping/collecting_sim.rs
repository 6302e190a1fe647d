//! Whether anything that is needed is ever removed: devices that write, evict, merge and answer, over real files of a
//! keeper, with kills in between. Each rule of the protocol is left out once, and missed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use super::collecting_tests::{id, keys, removed, shorts};
use super::collection::{Collection, CollectionId};
use crate::kv::collect::List;
use crate::kv::collect::record::Bits;

/// A rule of the protocol, to be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// What is evicted is asked for as a promise.
    Promise,
    /// What a new head needs of what was not named is asked for.
    Cover,
    /// A merge looks at the doubts.
    Doubts,
    /// What was known of a keeper is forgotten when a collection has ended.
    Anew,
}

#[derive(Default)]
struct Device {
    refs: BTreeSet<u64>,
    local: BTreeSet<u64>,
    given: BTreeSet<u64>,
    /// Of the collection it answered: what it did not name, and what it referred to then.
    told: Option<(CollectionId, BTreeSet<u64>, BTreeSet<u64>)>,
    ended: CollectionId,
}

struct World {
    dir: tempfile::TempDir,
    collection: Collection,
    kept: BTreeSet<u64>,
    heads: BTreeMap<usize, BTreeSet<u64>>,
    devices: Vec<Device>,
    next: u64,
    dice: crate::base::port::Seeded,
    without: Option<Rule>,
}

impl World {
    fn new(seed: u64, without: Option<Rule>) -> Self {
        // In memory where that can be had: what a disk does is tested elsewhere.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let collection = Collection::open(dir.path()).unwrap();
        let devices = (0..3).map(|_| Device::default()).collect();
        let dice = crate::base::port::Seeded::new(seed);
        Self { dir, collection, kept: BTreeSet::new(), heads: BTreeMap::new(), devices, next: 0, dice, without }
    }

    fn below(&self, n: usize) -> usize {
        let mut bytes = [0; 8];
        crate::base::port::Entropy::fill(&self.dice, &mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) % n.max(1) as u64).unwrap()
    }

    fn any(&self, of: &BTreeSet<u64>) -> Option<u64> {
        of.iter().nth(self.below(of.len())).copied()
    }

    fn holds_rule(&self, rule: Rule) -> bool {
        self.without != Some(rule)
    }

    /// The keeper is asked to go on keeping it.
    fn promise(&self, n: u64) -> bool {
        self.collection.mark(&[id(n)]).unwrap();
        self.kept.contains(&n)
    }

    fn offer(&mut self, n: u64) {
        self.collection.mark(&[id(n)]).unwrap();
        self.kept.insert(n);
    }

    /// From whoever has it: another device, or the keeper.
    fn bring(&mut self, at: usize, n: u64) -> bool {
        let found = self.kept.contains(&n) || self.devices.iter().any(|d| d.local.contains(&n));
        if found {
            self.devices[at].local.insert(n);
        }
        found
    }

    /// What the keeper says of its collections is heard.
    fn hear(&mut self, at: usize) {
        let (era, anew) = (self.collection.era(), self.holds_rule(Rule::Anew));
        let device = &mut self.devices[at];
        let over = device.told.as_ref().is_some_and(|(id, ..)| *id != era.open);
        if over || device.ended != era.ended {
            (device.told, device.ended) = (None, era.ended);
            if anew {
                device.given.clear();
            }
        }
    }

    fn feed(&mut self, at: usize) {
        self.hear(at);
        let all: Vec<u64> = self.devices[at].local.difference(&self.devices[at].given).copied().collect();
        for n in all {
            if !self.kept.contains(&n) {
                self.offer(n);
            }
            self.devices[at].given.insert(n);
        }
        if let Some((_, doubts, before)) = self.devices[at].told.clone()
            && self.holds_rule(Rule::Cover)
        {
            let refs = self.devices[at].refs.clone();
            for n in refs.difference(&before).filter(|n| doubts.contains(n)).copied() {
                if !self.promise(n) {
                    assert!(self.bring(at, n), "what this device refers to is nowhere");
                    self.offer(n);
                }
            }
            self.devices[at].told.as_mut().unwrap().2 = refs;
        }
        self.heads.insert(at, self.devices[at].refs.clone());
    }

    fn answer(&mut self, at: usize) {
        self.hear(at);
        let era = self.collection.era();
        if era.open == CollectionId::default() || self.devices[at].told.is_some() {
            return;
        }
        if self.below(2) == 0 {
            let device = &mut self.devices[at]; // its own log is collected, unless something is in the way
            device.local = device.local.intersection(&device.refs).copied().collect();
        }
        self.feed(at);
        let list = List::new(era.open, self.collection.page(&era.open, 0).unwrap());
        let refs = self.devices[at].refs.clone();
        let needs = list.bits(&refs.iter().map(|n| id(*n)).collect::<Vec<_>>());
        let doubted = |n: &u64| list.places(&id(*n)).any(|at| !needs.has(at));
        let doubts = (0..self.next).filter(doubted).collect();
        let author = [u8::try_from(at).unwrap() + 1; 32];
        let hear = |needs: &Bits| {
            assert!(self.collection.hear((&author, &[author].into()), &era.open, (0, needs.bytes(), true)).unwrap());
        };
        hear(&needs);
        if self.below(3) == 0 {
            hear(&Bits::default()); // said twice, and less the second time
        }
        self.devices[at].told = Some((era.open, doubts, refs));
    }

    /// The head of another, from the keeper.
    fn merge(&mut self, at: usize, head: usize) {
        let Some(theirs) = self.heads.get(&head).cloned() else { return };
        let doubts = self.devices[at].told.as_ref().map(|(_, doubts, _)| doubts.clone()).unwrap_or_default();
        let news: Vec<u64> = theirs.difference(&self.devices[at].refs).copied().collect();
        if self.holds_rule(Rule::Doubts) {
            for n in news.iter().filter(|n| doubts.contains(n)) {
                if !self.promise(*n) && !self.bring(at, *n) {
                    return;
                }
            }
        }
        self.devices[at].refs.extend(news);
    }

    fn evict(&mut self, at: usize) {
        let device = &self.devices[at];
        let Some(n) = self.any(&device.local) else { return };
        let free = !device.refs.contains(&n);
        let asks = self.holds_rule(Rule::Promise);
        if free || if asks { self.promise(n) } else { self.kept.contains(&n) } {
            self.devices[at].local.remove(&n);
        }
    }

    /// Some of it, or all; a restart may come in between.
    fn sweep(&mut self) {
        let devices = (1..=3).map(|n| ((), keys(&[n])));
        if self.collection.owing(devices).1.is_none_or(|owing| !owing.is_empty()) {
            return;
        }
        for n in self.kept.clone() {
            if self.below(40) == 0 {
                return;
            }
            if !removed(&self.collection, [n]).is_empty() {
                self.kept.remove(&n);
            }
        }
        self.collection.finish().unwrap();
    }

    fn step(&mut self) -> bool {
        let at = self.below(3);
        match self.below(12) {
            0 | 1 => {
                let n = if self.below(2) == 0 { None } else { self.any(&self.devices[at].local) };
                let n = n.unwrap_or(self.next);
                self.next = self.next.max(n + 1);
                self.devices[at].local.insert(n);
                self.devices[at].refs.insert(n);
            }
            2 | 3 => {
                if let Some(n) = self.any(&self.devices[at].refs) {
                    self.devices[at].refs.remove(&n);
                }
            }
            4 => self.evict(at),
            5 => self.feed(at),
            6 => self.answer(at),
            7 | 8 => self.merge(at, self.below(3)),
            9 => self.sweep(),
            10 => drop(self.collection.begin(shorts(self.kept.iter().copied()), keys(&[1, 2, 3])).unwrap()),
            _ => {
                self.collection = Collection::open(self.dir.path()).unwrap();
                self.devices[at].given.clear(); // that one was started anew, too
            }
        }
        let has = |n: &u64| self.kept.contains(n) || self.devices.iter().any(|d| d.local.contains(n));
        let below_heads = self.heads.values().flatten().all(|n| self.kept.contains(n));
        below_heads && self.devices.iter().flat_map(|d| &d.refs).all(has)
    }
}

/// Whether nothing was lost in so many steps.
fn is_safe(seed: u64, steps: usize, without: Option<Rule>) -> bool {
    let mut world = World::new(seed, without);
    (0..steps).all(|_| world.step())
}

#[test]
fn nothing_that_anybody_needs_is_ever_removed() {
    for seed in 0..40 {
        assert!(is_safe(seed, 500, None), "seed {seed}");
    }
}

#[test]
fn each_rule_is_missed() {
    for rule in [Rule::Promise, Rule::Cover, Rule::Doubts, Rule::Anew] {
        assert!((0..200).any(|seed| !is_safe(seed, 500, Some(rule))), "{rule:?} is of no use");
    }
}

#[test]
#[ignore = "a million steps"]
fn nothing_is_removed_in_a_million_steps() {
    for seed in 1_000..3_000 {
        assert!(is_safe(seed, 500, None), "seed {seed}");
    }
}
