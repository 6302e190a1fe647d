//! The block store over a real log in a directory of its own, with damage, loss and other sources.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]
use std::collections::HashMap;
use std::os::unix::fs::FileExt;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::base::VolumeId;
use crate::base::port::Seeded;
use crate::cas::chunk::tests::noise;
use crate::cas::{Chunker, Chunking};
use crate::kv::arena::{self, RealDisk};
use crate::kv::local::Map;
use crate::seal::{EpochSecret, LocalSealer};

/// A store in a directory of its own. Opening the same directory again finds what was stored.
pub(crate) struct Scratch {
    pub(crate) blocks: Blocks,
    pub(crate) dir: TempDir,
}

pub(crate) fn scratch(options: Options) -> Scratch {
    let dir = TempDir::new().unwrap();
    let blocks = open(dir.path(), options, false);
    Scratch { blocks, dir }
}

fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(VolumeId([7; 16]), &[(0, EpochSecret::new([9; 32]))]).unwrap())
}

fn open(dir: &Path, options: Options, index: bool) -> Blocks {
    let (log, _) = Log::open(Arc::new(RealDisk::open(&dir.join("log")).unwrap()), arena::Options::default()).unwrap();
    let index = index.then(|| index_in(dir));
    Blocks::new(Arc::new(log), sealer(), index, options).with_entropy(Arc::new(Seeded::new(1)))
}

fn index_in(dir: &Path) -> DedupIndex {
    let path = dir.join("dedup");
    DedupIndex::start(LocalSealer::new([3; 32], Arc::new(Seeded::new(2))), move || Map::open(&path)).unwrap()
}

/// Flip one bit in the middle of the stored copy of `bid`.
pub(crate) fn damage(scratch: &Scratch, bid: &Bid) {
    let sealed = scratch.blocks.log().get(bid).unwrap().unwrap();
    scratch.blocks.log().sync(scratch.blocks.log().end()).unwrap(); // what is still gathered is in no file
    for entry in std::fs::read_dir(scratch.dir.path().join("log")).unwrap() {
        let path = entry.unwrap().path();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let middle = sealed.len() / 2;
        let probe = &sealed[middle..(middle + 32).min(sealed.len())];
        if let Some(at) = bytes.windows(probe.len()).position(|window| window == probe) {
            return file.write_all_at(&[bytes[at] ^ 1], at as u64).unwrap();
        }
    }
    panic!("not found in the log");
}

fn put_all(blocks: &Blocks, data: &[u8]) -> Vec<Ref> {
    let chunker = Chunker::new(&blocks.sealer().cut_key(), Chunking::default()).unwrap();
    let (mut refs, mut at) = (Vec::new(), 0);
    while at < data.len() {
        let len = chunker.cut(&data[at..], true);
        refs.push(blocks.put(BlockType::Data, 0, &data[at..at + len]).unwrap());
        at += len;
    }
    refs
}

fn read_all(blocks: &Blocks, refs: &[Ref]) -> Vec<u8> {
    refs.iter().flat_map(|r| blocks.get(BlockType::Data, 0, r).unwrap()).collect()
}

#[derive(Default)]
struct Elsewhere(Mutex<HashMap<Bid, Vec<u8>>>);

impl Fetch for Elsewhere {
    fn fetch(&self, _: BlockType, _: u8, r: &Ref) -> Result<Vec<u8>> {
        let found = self.0.lock().get(&r.bid).cloned();
        found.ok_or_else(|| Error::new(Kind::NotFound, "fetch", r.bid.to_string()))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_was_put_comes_back_under_every_option(
        seed: u64, len in 0_usize..40_000, alphabet in 1_u8..=255, compress: bool, dedup: bool, level: u8,
        t in prop::sample::select(BlockType::ALL.to_vec()),
    ) {
        let s = scratch(Options { compress, dedup, ..Options::default() });
        let plain: Vec<u8> = noise(seed, len).iter().map(|b| b % alphabet).collect();
        let r = s.blocks.put(t, level, &plain).unwrap();
        prop_assert_eq!(r.len as usize, len);
        prop_assert!(s.blocks.contains(&r));
        for _ in 0..2 {
            prop_assert_eq!(&s.blocks.get(t, level, &r).unwrap()[..], &plain[..]);
        }
        s.blocks.forget_caches();
        prop_assert_eq!(&s.blocks.get(t, level, &r).unwrap()[..], &plain[..]);
        let wrong = s.blocks.get(t, level.wrapping_add(1).max(1), &r);
        prop_assert_eq!(wrong.unwrap_err().kind(), Kind::Corrupt, "cached or not, the level is bound");
    }
}

#[test]
fn the_same_64_mib_twice_are_stored_once() {
    let s = scratch(Options::default());
    let data = noise(1, 64 << 20);
    let first = put_all(&s.blocks, &data);
    let once = s.blocks.log().stat().live_bytes;
    assert!(once as f64 <= 1.02 * data.len() as f64, "padding and headers: {once}");
    assert_eq!(put_all(&s.blocks, &data), first);
    assert_eq!(s.blocks.log().stat().live_bytes, once);
    assert_eq!(s.blocks.stat().dedup_hits, first.len() as u64);
    assert_eq!(read_all(&s.blocks, &first), data);
}

#[test]
fn data_that_was_forgotten_still_seals_to_the_same_blocks() {
    let s = scratch(Options::default());
    let data = noise(2, 4 << 20);
    let first = put_all(&s.blocks, &data);
    s.blocks.forget_caches();
    assert_eq!(put_all(&s.blocks, &data), first);
    assert_eq!(s.blocks.stat().dedup_hits, 0);
}

#[test]
fn a_copy_with_a_byte_in_front_costs_two_chunks_at_most() {
    let s = scratch(Options::default());
    let mut data = noise(3, 16 << 20);
    put_all(&s.blocks, &data);
    let once = s.blocks.log().stat().live_bytes;
    data.insert(0, 1);
    put_all(&s.blocks, &data);
    assert!(s.blocks.log().stat().live_bytes - once < 1 << 20);
}

#[test]
fn text_takes_less_than_half() {
    let s = scratch(Options::default());
    let words = ["block ", "reference ", "lovage ", "sealed ", "the ", "\n", "manifest ", "of "];
    let text: Vec<u8> = noise(4, 2 << 20).iter().flat_map(|b| words[usize::from(*b) % 8].bytes()).collect();
    put_all(&s.blocks, &text);
    assert!(s.blocks.log().stat().live_bytes * 100 <= text.len() as u64 * 45);
}

#[test]
fn without_dedup_equal_data_looks_different_but_tree_nodes_do_not() {
    let s = scratch(Options { dedup: false, ..Options::default() });
    let data = noise(5, 10_000);
    let put = |t| s.blocks.put(t, 0, &data).unwrap();
    assert_ne!(put(BlockType::Data).bid, put(BlockType::Data).bid);
    assert_eq!(put(BlockType::Tree).bid, put(BlockType::Tree).bid);
}

#[test]
fn a_block_that_is_nowhere_is_unreachable() {
    let one = scratch(Options::default());
    let r = one.blocks.put(BlockType::Data, 0, b"only here").unwrap();
    let other = scratch(Options::default());
    assert!(!other.blocks.contains(&r));
    assert_eq!(other.blocks.get(BlockType::Data, 0, &r).unwrap_err().kind(), Kind::Unreachable);
    let blocks =
        open(TempDir::new().unwrap().path(), Options::default(), false).with_fetch(Arc::<Elsewhere>::default());
    assert_eq!(blocks.get(BlockType::Data, 0, &r).unwrap_err().kind(), Kind::Unreachable);
}

#[test]
fn a_damaged_block_is_corrupt_and_noted_and_healed_by_writing_it_again() {
    let s = scratch(Options::default());
    let plain = noise(6, 100_000);
    let r = s.blocks.put(BlockType::Data, 0, &plain).unwrap();
    damage(&s, &r.bid);
    assert_eq!(s.blocks.get(BlockType::Data, 0, &r).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(s.blocks.damaged(), [r.bid]);
    assert_eq!(s.blocks.put(BlockType::Data, 0, &plain).unwrap(), r, "no dedup hit on a damaged block");
    assert_eq!(&s.blocks.get(BlockType::Data, 0, &r).unwrap()[..], &plain[..]);
    assert!(s.blocks.damaged().is_empty());
}

#[test]
fn blocks_from_elsewhere_are_verified_and_kept() {
    let origin = scratch(Options::default());
    let plain = noise(7, 50_000);
    let r = origin.blocks.put(BlockType::Data, 0, &plain).unwrap();
    let sealed = origin.blocks.log().get(&r.bid).unwrap().unwrap();
    let elsewhere = Arc::new(Elsewhere::default());
    let dir = TempDir::new().unwrap();
    let blocks = open(dir.path(), Options::default(), false).with_fetch(elsewhere.clone());
    let mut lie = sealed.clone();
    lie[100] ^= 1;
    elsewhere.0.lock().insert(r.bid, lie);
    assert_eq!(blocks.get(BlockType::Data, 0, &r).unwrap_err().kind(), Kind::Corrupt);
    assert!(!blocks.contains(&r));
    elsewhere.0.lock().insert(r.bid, sealed);
    assert_eq!(&blocks.get(BlockType::Data, 0, &r).unwrap()[..], &plain[..]);
    elsewhere.0.lock().clear();
    blocks.forget_caches();
    assert_eq!(&blocks.get(BlockType::Data, 0, &r).unwrap()[..], &plain[..], "kept in the log");
}

#[test]
fn damage_here_is_repaired_from_elsewhere() {
    let s = scratch(Options::default());
    let plain = noise(8, 50_000);
    let r = s.blocks.put(BlockType::Data, 0, &plain).unwrap();
    let elsewhere = Arc::new(Elsewhere::default());
    elsewhere.0.lock().insert(r.bid, s.blocks.log().get(&r.bid).unwrap().unwrap());
    damage(&s, &r.bid);
    let s = Scratch { blocks: s.blocks.with_fetch(elsewhere.clone()), dir: s.dir };
    assert_eq!(&s.blocks.get(BlockType::Data, 0, &r).unwrap()[..], &plain[..]);
    elsewhere.0.lock().clear();
    s.blocks.forget_caches();
    assert_eq!(&s.blocks.get(BlockType::Data, 0, &r).unwrap()[..], &plain[..]);
}

#[test]
fn a_reference_with_a_wrong_siv_reads_nothing_and_blames_no_block() {
    let s = scratch(Options::default());
    let r = s.blocks.put(BlockType::Data, 0, &noise(9, 9000)).unwrap();
    s.blocks.get(BlockType::Data, 0, &r).unwrap();
    for wrong in [Ref { siv: [0; 32], ..r }, Ref { len: r.len - 1, ..r }] {
        assert_eq!(s.blocks.get(BlockType::Data, 0, &wrong).unwrap_err().kind(), Kind::Corrupt, "not from the cache");
    }
    let foreign = s.blocks.get(BlockType::Data, 0, &Ref { epoch: 4, ..r });
    assert_eq!(foreign.unwrap_err().kind(), Kind::Denied);
    assert!(s.blocks.damaged().is_empty());
}

#[test]
fn too_much_for_one_block_is_refused() {
    let s = scratch(Options::default());
    assert!(s.blocks.put(BlockType::Data, 0, &vec![0; MAX_CHUNK]).is_ok());
    assert_eq!(s.blocks.put(BlockType::Data, 0, &vec![0; MAX_CHUNK + 1]).unwrap_err().kind(), Kind::TooBig);
}

#[test]
fn the_index_recognises_data_of_earlier_runs() {
    let dir = TempDir::new().unwrap();
    let data = noise(10, 3 << 20);
    let blocks = open(dir.path(), Options::default(), true);
    let refs = put_all(&blocks, &data);
    blocks.flush_index().unwrap();
    blocks.log().sync(blocks.log().end()).unwrap();
    drop(blocks);
    let blocks = open(dir.path(), Options::default(), true);
    blocks.flush_index().unwrap();
    assert_eq!(put_all(&blocks, &data), refs);
    assert_eq!(blocks.stat().dedup_hits, refs.len() as u64);
}

#[test]
fn an_index_entry_without_its_block_is_no_hit() {
    let dir = TempDir::new().unwrap();
    let data = noise(11, 1 << 20);
    let blocks = open(dir.path(), Options::default(), true);
    put_all(&blocks, &data);
    blocks.flush_index().unwrap();
    drop(blocks);
    std::fs::remove_dir_all(dir.path().join("log")).unwrap();
    let blocks = open(dir.path(), Options::default(), true);
    blocks.flush_index().unwrap();
    let refs = put_all(&blocks, &data);
    assert_eq!(blocks.stat().dedup_hits, 0);
    assert_eq!(read_all(&blocks, &refs), data);
}

#[test]
fn after_an_unclean_shutdown_a_hit_on_unreadable_bytes_does_not_count() {
    let dir = TempDir::new().unwrap();
    let plain = noise(12, 100_000);
    let blocks = open(dir.path(), Options::default(), true);
    let r = blocks.put(BlockType::Data, 0, &plain).unwrap();
    blocks.flush_index().unwrap();
    let s = Scratch { blocks, dir };
    damage(&s, &r.bid);
    let Scratch { blocks, dir } = s;
    drop(blocks);
    let blocks = open(dir.path(), Options::default(), true).with_doubt(true);
    blocks.flush_index().unwrap();
    assert_eq!(blocks.put(BlockType::Data, 0, &plain).unwrap(), r);
    assert_eq!(blocks.stat().dedup_hits, 0);
    assert_eq!(blocks.put(BlockType::Data, 0, &plain).unwrap(), r);
    assert_eq!(blocks.stat().dedup_hits, 1, "what was put in this run is trusted");
}

#[test]
fn many_threads_put_and_get_without_mixing_anything_up() {
    let s = scratch(Options { cache_bytes: 1 << 20, ..Options::default() });
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let blocks = &s.blocks;
            scope.spawn(move || {
                for i in 0..40 {
                    let plain = noise(i % 20 + thread % 2 * 1000, 20_000);
                    let r = blocks.put(BlockType::Data, 0, &plain).unwrap();
                    assert_eq!(&blocks.get(BlockType::Data, 0, &r).unwrap()[..], &plain[..]);
                }
            });
        }
    });
    assert_eq!(s.blocks.log().stat().blocks, 40);
}

/// Seconds this thread has spent on a processor: what a busy machine cannot spoil.
pub(crate) fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    stat.split_whitespace().next().unwrap().parse::<f64>().unwrap() / 1e9
}

/// Throughput, for people: `cargo test --release -- --ignored --nocapture storing_speed`.
#[test]
#[ignore = "a measurement, not a check"]
fn storing_speed() {
    for round in 0..3 {
        let s = scratch(Options::default());
        let data = noise(round, 512 << 20);
        for pass in ["new data", "dedup hits"] {
            let (start, cpu) = (std::time::Instant::now(), cpu_seconds());
            put_all(&s.blocks, &data);
            let rate = |seconds: f64| data.len() as f64 / seconds / 1e6;
            let (wall, cpu) = (rate(start.elapsed().as_secs_f64()), rate(cpu_seconds() - cpu));
            println!("{pass}: {wall:.0} MB/s by the clock, {cpu:.0} MB per processor second");
        }
    }
}

/// What each step of storing 128 KiB of new data costs: the tenth percentile, which other work on
/// the machine spoils least. `cargo test --release -- --ignored --nocapture step_costs`.
#[test]
#[ignore = "a measurement, not a check"]
fn step_costs() {
    const LEN: usize = 128 << 10;
    let s = scratch(Options::default());
    let data = noise(99, 128 << 20);
    let chunker = Chunker::new(&s.blocks.sealer().cut_key(), Chunking::default()).unwrap();
    let mut sealed = Vec::new();
    let mut steps: Vec<(&str, Vec<f64>)> = ["cut, for 128 KiB", "pid", "sample", "seal", "log.put", "put, all but cut"]
        .map(|name| (name, Vec::new()))
        .into();
    let mut time = |step: usize, work: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        work();
        steps[step].1.push(start.elapsed().as_secs_f64() * 1e6);
    };
    let sealer = s.blocks.sealer();
    for (i, plain) in data.chunks_exact(LEN).enumerate() {
        let mut bid = None;
        time(1, &mut || {
            std::hint::black_box(sealer.pid(BlockType::Data, 0, plain));
        });
        time(2, &mut || crate::cas::codec::compress(plain, |body| assert!(body.is_none())));
        time(3, &mut || {
            sealed.clear();
            let salt = Some([1; 16]);
            bid = Some(sealer.seal(BlockType::Data, 0, Codec::Raw, plain, 128 << 10, salt, &mut sealed).unwrap().bid);
        });
        time(4, &mut || {
            s.blocks.log().put(&bid.unwrap(), &sealed).unwrap();
        });
        time(5, &mut || {
            s.blocks.put(BlockType::Data, 0, plain).unwrap();
        });
        let mut left = LEN;
        time(0, &mut || {
            let mut at = i * LEN;
            while left > 0 {
                let len = chunker.cut(&data[at..], true).min(left);
                (at, left) = (at + len, left - len);
            }
        });
    }
    for (name, times) in &mut steps {
        times.sort_by(f64::total_cmp);
        let (tenth, median) = (times[times.len() / 10], times[times.len() / 2]);
        println!("{name}: {tenth:.1} us (median {median:.1}), {:.0} MB/s", LEN as f64 / tenth);
    }
}
