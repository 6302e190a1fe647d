//! Collections of what is kept: what is taken down and found again, and whether anything needed is ever removed.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use super::collection::{Author, Collection, CollectionId};
use crate::base::Bid;
use crate::base::hash;
use crate::kv::collect::record::Bits;
use crate::kv::collect::{List, short};

fn id(n: u64) -> Bid {
    Bid(hash(&[&n.to_le_bytes()]))
}

fn shorts(ids: impl IntoIterator<Item = u64>) -> Vec<u64> {
    let mut shorts: Vec<u64> = ids.into_iter().map(|n| short(&id(n))).collect();
    shorts.sort_unstable();
    shorts
}

fn keys(of: &[u8]) -> BTreeSet<Author> {
    of.iter().map(|n| [*n; 32]).collect()
}

fn removed(collection: &Collection, ids: impl IntoIterator<Item = u64>) -> Vec<Bid> {
    let ids: Vec<Bid> = ids.into_iter().map(id).collect();
    let mut gone = Vec::new();
    collection
        .remove(&ids, |doomed| {
            Ok({
                gone.extend_from_slice(doomed);
                0
            })
        })
        .unwrap();
    gone
}

#[test]
fn what_is_named_or_relied_upon_stays_and_all_of_it_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Collection::open(dir.path()).unwrap();
    let collection = open();
    assert!(collection.begin(shorts(0..20), keys(&[1, 2])).unwrap());
    assert!(!collection.begin(shorts(0..9), keys(&[1])).unwrap(), "one at a time");
    let era = collection.era();
    let list = List::new(era.open, collection.page(&era.open, 0).unwrap());
    assert_eq!((era.blocks, list.ids()), (20, &shorts(0..20)[..]));
    let bits = |ids: &[u64]| list.bits(&ids.iter().map(|n| id(*n)).collect::<Vec<_>>()).bytes().to_vec();
    let hear =
        |c: &Collection, n: u8, bits: &[u8]| c.hear((&[n; 32], &keys(&[n])), &era.open, (0, bits, true)).unwrap();
    assert!(hear(&collection, 1, &bits(&[1, 2])));
    collection.mark(&[id(3), id(99)]).unwrap();
    drop(collection);
    let path = dir.path().join("marks");
    std::fs::write(&path, [&std::fs::read(&path).unwrap()[..], &[1, 2]].concat()).unwrap(); // a torn end
    let collection = open();
    collection.mark(&[id(4)]).unwrap();
    let collection = {
        drop(collection);
        open()
    };
    let devices = || [("one", keys(&[1])), ("two", keys(&[2]))];
    assert_eq!(collection.owing(devices()).1, Some(vec!["two"]));
    assert!(!collection.hear((&[2; 32], &keys(&[2])), &[7; 16], (0, &[], true)).unwrap(), "another collection");
    assert!(!hear(&collection, 2, &[0; 4]), "longer than the list");
    assert!(hear(&collection, 2, &bits(&[5])));
    assert_eq!(collection.owing(devices()).1, Some(vec![]));
    assert_eq!(removed(&collection, 0..30), [0].into_iter().chain(6..20).map(id).collect::<Vec<_>>());
    collection.finish().unwrap();
    let collection = {
        drop(collection);
        open()
    };
    assert_eq!((collection.era().ended, collection.owing(devices()).1), (era.open, None));
    assert_eq!(removed(&collection, 0..30), []);
}

#[test]
fn a_device_that_was_set_back_is_asked_again() {
    let dir = tempfile::tempdir().unwrap();
    let collection = Collection::open(dir.path()).unwrap();
    collection.begin(shorts(0..3), keys(&[1, 2])).unwrap();
    let id = collection.era().open;
    let owing = |keys| collection.owing([((), keys)]).1.unwrap().len();
    // Two keys of one device were known when it began: one of them is of use no more.
    let hear = |n: u8, of: &[u8]| collection.hear((&[n; 32], &keys(of)), &id, (0, &[], true)).unwrap();
    assert_eq!(owing(keys(&[1, 2])), 1);
    assert!(hear(2, &[1, 2]));
    assert_eq!(owing(keys(&[1, 2])), 0);
    assert_eq!(owing(keys(&[1, 2, 3])), 1, "a later key speaks for itself");
    // It was given a third key and, before it used that, a fourth: the third never says anything.
    assert!(hear(4, &[1, 2, 3, 4]));
    assert_eq!(owing(keys(&[1, 2, 3, 4])), 0);
}

#[test]
fn a_word_in_pieces_counts_when_it_is_whole_and_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let collection = Collection::open(dir.path()).unwrap();
    collection.begin(shorts(0..40), keys(&[1])).unwrap();
    let id = collection.era().open;
    let hear = |from, bits: &[u8], last| collection.hear((&[1; 32], &keys(&[1])), &id, (from, bits, last)).unwrap();
    assert!(hear(0, &[1, 2], false));
    assert!(!hear(3, &[4], true), "a gap");
    assert!(!hear(2, &[3], true), "and then all of it is said again");
    assert!(hear(0, &[1, 2], false) && hear(2, &[3, 4, 5], true));
    assert!(collection.owing([((), keys(&[1]))]).1.unwrap().is_empty());
}

#[test]
fn what_was_said_stays_said() {
    let dir = tempfile::tempdir().unwrap();
    let collection = Collection::open(dir.path()).unwrap();
    collection.begin(shorts(0..8), keys(&[1, 2])).unwrap();
    let era = collection.era().open;
    let hear = |n: u8, bits: u8| collection.hear((&[n; 32], &keys(&[n])), &era, (0, &[bits], true)).unwrap();
    assert!(hear(1, 255));
    collection.mark(&[id(3)]).unwrap(); // it is needed anyway: nothing is written
    assert!(hear(1, 0) && hear(2, 0));
    assert_eq!(removed(&collection, 0..8), []);
    drop(collection);
    assert_eq!(removed(&Collection::open(dir.path()).unwrap(), 0..8), []);
}

#[test]
fn a_word_or_a_mark_that_was_bent_ends_the_collection_and_removes_nothing() {
    for file in ["marks", "word-0101010101010101010101010101010101010101010101010101010101010101"] {
        let dir = tempfile::tempdir().unwrap();
        let collection = Collection::open(dir.path()).unwrap();
        collection.begin(shorts(0..8), keys(&[1])).unwrap();
        let era = collection.era();
        collection.mark(&[id(3)]).unwrap();
        assert!(collection.hear((&[1; 32], &keys(&[1])), &era.open, (0, &[0], true)).unwrap());
        drop(collection);
        let mut bytes = std::fs::read(dir.path().join(file)).unwrap();
        bytes[4] ^= 4;
        std::fs::write(dir.path().join(file), bytes).unwrap();
        let collection = Collection::open(dir.path()).unwrap();
        assert_eq!(collection.era().open, CollectionId::default(), "{file}");
        assert_eq!(removed(&collection, 0..8), [], "{file}");
    }
}

#[test]
fn a_list_that_cannot_be_read_ends_the_collection_and_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let collection = Collection::open(dir.path()).unwrap();
        collection.begin(shorts(0..3), keys(&[1])).unwrap();
        collection.era()
    };
    std::fs::write(dir.path().join("list"), b"kcl1nonsense").unwrap();
    let collection = Collection::open(dir.path()).unwrap();
    let era = collection.era();
    assert_eq!(era.open, CollectionId::default());
    assert!(era.ended != before.ended, "whoever answered asks anew for what is here");
    assert_eq!(removed(&collection, 0..3), []);
}

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
