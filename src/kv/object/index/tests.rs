//! The index beside a model of maps: whatever is added, removed, cut off or damaged, and however often it is opened.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::fs;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use proptest::prelude::*;

use super::super::pack::{MOST, build, parse_index};
use super::*;

type Made = (PackName, u64, Vec<(Bid, Span)>);

/// Ids that are hashes but for those of which the last digit is 7: their first 40 bits are the same.
pub fn id(n: u32) -> Bid {
    let mut id = crate::base::hash(&[&n.to_le_bytes()]);
    if n % 10 == 7 {
        id[..5].fill(7);
    }
    Bid(id)
}

pub fn pack(ids: impl Iterator<Item = u32>) -> Made {
    let (name, object, spans) = build(ids.map(|n| (id(n), Bytes::from(vec![1; 1 + n as usize % 50]))).collect());
    (name, object.len() as u64, spans)
}

fn temporary() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store-x.packs");
    (dir, path)
}

fn opened(path: &Path) -> Index {
    let index = Index::open(Some(path));
    assert_eq!(index.path.as_deref(), Some(path), "it is in memory");
    index
}

/// Packs in the order in which they were added.
#[derive(Default)]
struct Model(Vec<Made>);

impl Model {
    fn add(&mut self, made: &Made) {
        if !self.0.iter().any(|(name, ..)| *name == made.0) {
            self.0.push(made.clone());
        }
    }

    fn blocks(&self) -> BTreeMap<Bid, Vec<(PackName, Span)>> {
        let mut blocks: BTreeMap<Bid, Vec<_>> = BTreeMap::new();
        for (name, _, spans) in &self.0 {
            spans.iter().for_each(|(id, span)| blocks.entry(*id).or_default().push((*name, *span)));
        }
        blocks
    }

    fn compare(&self, index: &Index) {
        let blocks = self.blocks();
        let bytes: u32 = self.0.iter().flat_map(|(.., spans)| spans).map(|(_, span)| span.len).sum();
        assert_eq!(index.totals(), (blocks.len() as u64, u64::from(bytes)));
        for n in 0..120 {
            assert_eq!(index.copies(&id(n)).unwrap(), blocks.get(&id(n)).cloned().unwrap_or_default(), "{n}");
            assert_eq!(index.find(&id(n)).unwrap(), blocks.get(&id(n)).and_then(|all| all.last().copied()));
        }
        for page in [1, 3, 1000] {
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let ids = index.list(after, page).unwrap();
                after = ids.last().copied();
                let more = ids.len() == page;
                listed.extend(ids);
                if !more {
                    break;
                }
            }
            assert_eq!(listed, blocks.keys().copied().collect::<Vec<_>>(), "by {page}");
        }
        for (name, size, _) in &self.0 {
            assert!(index.knows(name) && index.size(name) == *size);
        }
        assert_eq!(index.small(u64::MAX).len(), self.0.len());
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add(Vec<u32>),
    Remove(usize),
    Keep(usize),
    Settle,
    Compact,
    Reopen,
    Cut(usize),
    Flip(usize, u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => proptest::collection::vec(0_u32..120, 1..20).prop_map(Step::Add),
        3 => any::<usize>().prop_map(Step::Remove),
        1 => any::<usize>().prop_map(Step::Keep),
        1 => Just(Step::Settle),
        1 => Just(Step::Compact),
        2 => Just(Step::Reopen),
        1 => (1_usize..900).prop_map(Step::Cut),
        1 => (any::<usize>(), 1_u8..=255).prop_map(|(at, bits)| Step::Flip(at, bits)),
    ]
}

/// After damage: what is known is what some of the first sections said.
fn is_prefix(index: &Index, said: &[(bool, Made)]) -> Option<Model> {
    (0..=said.len()).rev().find_map(|upto| {
        let mut model = Model::default();
        for (there, made) in &said[..upto] {
            model.0.retain(|(name, ..)| *name != made.0);
            if *there {
                model.add(made);
            }
        }
        let names: Vec<PackName> = index.packs.iter().map(|pack| pack.name).collect();
        (names == model.0.iter().map(|(name, ..)| *name).collect::<Vec<_>>()).then_some(model)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn it_says_what_a_map_says(steps in proptest::collection::vec(step(), 1..40)) {
        let (_dir, path) = temporary();
        let mut index = opened(&path);
        let mut model = Model::default();
        let mut said: Vec<(bool, Made)> = Vec::new();
        for step in steps {
            let damages = matches!(step, Step::Cut(_) | Step::Flip(..));
            match step {
                Step::Add(ids) => {
                    let made = pack(ids.into_iter());
                    if !index.knows(&made.0) {
                        said.push((true, made.clone()));
                    }
                    prop_assert!(index.add(made.0, made.1, &made.2).unwrap());
                    model.add(&made);
                }
                Step::Remove(at) if !model.0.is_empty() => {
                    let made = model.0.remove(at % model.0.len());
                    index.remove(&made.0).unwrap();
                    said.push((false, made));
                }
                Step::Keep(at) => {
                    let listed = model.0.iter().enumerate().filter(|(n, _)| (n + at) % 4 != 0);
                    let listed: BTreeMap<_, _> = listed.map(|(_, (name, size, _))| (*name, *size)).collect();
                    index.keep_only(&listed).unwrap();
                    said.extend(model.0.extract_if(.., |(name, ..)| !listed.contains_key(name)).map(|made| (false, made)));
                }
                Step::Settle => index.settle(),
                Step::Compact => {
                    index.settle();
                    index.compact().unwrap();
                    prop_assert_eq!(index.records.len(), index.alive);
                    said = model.0.iter().map(|made| (true, made.clone())).collect();
                }
                Step::Reopen => index = opened(&path),
                Step::Cut(by) => {
                    let len = fs::metadata(&path).unwrap().len();
                    fs::File::options().write(true).open(&path).unwrap().set_len(len.saturating_sub(by as u64)).unwrap();
                    index = opened(&path);
                    model = is_prefix(&index, &said).unwrap();
                }
                Step::Flip(at, bits) => {
                    let mut bytes = fs::read(&path).unwrap();
                    let at = at % bytes.len();
                    bytes[at] ^= bits;
                    fs::write(&path, bytes).unwrap();
                    index = opened(&path);
                    model = is_prefix(&index, &said).unwrap();
                }
                Step::Remove(_) => {}
            }
            model.compare(&index);
            if damages {
                // What was cut off is gone for good.
                said = model.0.iter().map(|made| (true, made.clone())).collect();
                index.compact().unwrap();
            }
        }
        model.compare(&opened(&path));
    }

    #[test]
    fn any_bytes_open_as_something(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut file = sections::MAGIC.to_vec();
        file.extend(bytes);
        let index = Index::load(Records::memory(file), None).unwrap();
        prop_assert_eq!(index.totals().0, 0);
    }
}

#[test]
fn what_is_absent_is_told_without_a_read_and_what_is_there_with_one() {
    let (_dir, path) = temporary();
    let mut index = opened(&path);
    for n in 0..100 {
        let made = pack((n * 100..n * 100 + 100).filter(|n| n % 10 != 7));
        index.add(made.0, made.1, &made.2).unwrap();
    }
    for index in [index, opened(&path)] {
        index.records.reads.store(0, Ordering::Relaxed);
        assert!((20_000..30_000).all(|n| index.find(&id(n)).unwrap().is_none()));
        assert_eq!(index.records.reads.load(Ordering::Relaxed), 0);
        assert!((0..10_000).filter(|n| n % 10 != 7).all(|n| index.find(&id(n)).unwrap().is_some()));
        assert_eq!(index.records.reads.load(Ordering::Relaxed), 9000);
    }
}

#[test]
fn a_block_in_two_packs_is_found_when_either_goes() {
    for gone in [0, 1] {
        let packs = [pack([1, 2].into_iter()), pack([2, 3].into_iter())];
        let mut index = Index::open(None);
        for (name, size, spans) in &packs {
            index.add(*name, *size, spans).unwrap();
        }
        assert_eq!(index.list(None, 9).unwrap().len(), 3);
        assert_eq!(index.find(&id(2)).unwrap().map(|(name, _)| name), Some(packs[1].0), "the newer");
        index.keep_only(&BTreeMap::from([(packs[1 - gone].0, packs[1 - gone].1)])).unwrap();
        assert_eq!(index.find(&id(2)).unwrap().map(|(name, _)| name), Some(packs[1 - gone].0));
        assert_eq!(index.totals().0, 2);
    }
}

#[test]
fn an_object_of_another_size_is_another_pack() {
    let made = pack(0..5);
    let mut index = Index::open(None);
    index.add(made.0, made.1, &made.2).unwrap();
    index.keep_only(&BTreeMap::from([(made.0, made.1 + 1)])).unwrap();
    assert!(!index.knows(&made.0));
}

#[test]
fn a_record_damaged_in_use_is_no_answer_and_nothing_is_told_until_all_was_added_again() {
    let (_dir, path) = temporary();
    let mut index = opened(&path);
    let made = pack(0..5);
    index.add(made.0, made.1, &made.2).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 6;
    bytes[last] ^= 1; // of the length of the block whose id is the last
    fs::write(&path, bytes).unwrap();
    let last = made.2.last().unwrap().0;
    assert_eq!(index.find(&last).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(index.list(None, 9).unwrap_err().kind(), Kind::Corrupt);
    let before = index.renewals();
    index.renew();
    assert_eq!(index.find(&last).unwrap_err().kind(), Kind::Unreachable);
    assert!(!index.completed(before), "it was renewed meanwhile");
    index.add(made.0, made.1, &made.2).unwrap();
    assert!(index.completed(index.renewals()));
    assert!(index.find(&last).unwrap().is_some());
    assert!(opened(&path).find(&last).unwrap().is_some());
}

#[test]
fn a_file_mostly_dead_is_written_anew_and_says_the_same() {
    let (_dir, path) = temporary();
    let mut index = opened(&path);
    let mut model = Model::default();
    for n in 0..3000 {
        let made = pack(n * 10..n * 10 + 7);
        assert!(index.add(made.0, made.1, &made.2).unwrap());
        model.add(&made);
    }
    let gone: Vec<Made> = model.0.extract_if(.., |(name, ..)| name.to_bytes()[0] % 3 > 0).collect();
    for (n, (name, ..)) in gone.iter().enumerate() {
        let before = index.records.len();
        index.compact_if_due();
        assert!(n > gone.len() / 2 || index.records.len() == before, "more than half is alive");
        index.remove(name).unwrap();
    }
    index.settle();
    index.compact().unwrap();
    assert_eq!(index.records.len(), index.alive);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    model.compare(&index);
    let made = pack(200..206);
    index.add(made.0, made.1, &made.2).unwrap();
    model.add(&made);
    model.compare(&index);
    model.compare(&opened(&path));
}

#[test]
fn a_file_that_took_the_name_is_not_replaced() {
    let (_dir, path) = temporary();
    let mut index = opened(&path);
    let made = pack(0..5);
    index.add(made.0, made.1, &made.2).unwrap();
    fs::remove_file(&path).unwrap();
    let other = opened(&path);
    index.settle();
    assert_eq!(index.compact().unwrap_err().kind(), Kind::Stale);
    assert_eq!(fs::read(&path).unwrap(), sections::MAGIC);
    assert!(index.find(&id(1)).unwrap().is_some() && other.find(&id(1)).unwrap().is_none());
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn a_file_that_cannot_be_made_is_done_without() {
    let mut index = Index::open(Some(Path::new("/nowhere/at/all")));
    let made = pack(0..5);
    index.add(made.0, made.1, &made.2).unwrap();
    assert!(index.find(&id(1)).unwrap().is_some());
    index.renew();
    assert_eq!(index.totals(), (0, 0));
}

#[test]
fn a_pack_of_ids_that_begin_alike_is_not_taken() {
    let mut index = Index::open(None);
    let made = pack((0..=CROWD as u32).map(|n| n * 10 + 7));
    assert!(!index.add(made.0, made.1, &made.2).unwrap());
    for from in [0, 100, 200, 300] {
        let made = pack((from..from + 100).map(|n| n * 10 + 7));
        assert_eq!(index.add(made.0, made.1, &made.2).unwrap(), from < 300);
    }
    assert_eq!(index.totals().0, 300);
}

#[test]
fn a_file_keeps_its_bytes() {
    let (_dir, path) = temporary();
    let mut index = opened(&path);
    let made = pack([1, 2].into_iter());
    index.add(made.0, made.1, &made.2).unwrap();
    index.remove(&made.0).unwrap();
    let digest = crate::base::hex(&crate::base::hash(&[&fs::read(&path).unwrap()]));
    assert_eq!((index.records.len(), &digest[..16]), (8 + 52 + 2 * 44 + 52, "f0351f2ca7d3b7eb"));
}

#[test]
fn the_largest_pack_fits_what_is_read_at_once() {
    let (_dir, path) = temporary();
    let mut index = opened(&path);
    let ids = (0..MOST).map(|n| n * 10);
    let blocks = ids.clone().map(|n| (id(n), Bytes::from_static(b"x"))).collect();
    let (name, object, _) = build(blocks);
    let at = object.len() - name.index_len() as usize;
    let spans = parse_index(name, object.len() as u64, &object[at..]).unwrap();
    for _ in 0..2 {
        index.add(name, object.len() as u64, &spans).unwrap();
        index = opened(&path);
        assert_eq!(index.totals(), (u64::from(MOST), u64::from(MOST)));
    }
}
