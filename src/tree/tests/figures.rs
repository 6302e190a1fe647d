//! Timings, printed, never asserted: `cargo test --release --lib tree::tests::figures -- --ignored --nocapture`.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::support::*;
use crate::base::sync::RwLock;
use crate::base::{Bid, Error, Kind, Result};
use crate::seal::Ref;
use crate::tree::{Edit, NodeStore, Root, Tree};

/// Sealing that costs nothing: ids are numbers.
#[derive(Default)]
struct Free {
    blocks: RwLock<Vec<Bytes>>,
    nanos: AtomicU64,
}

impl NodeStore for Free {
    fn load(&self, reference: &Ref, _: u8) -> Result<Bytes> {
        let at = u64::from_le_bytes(*reference.siv.first_chunk().unwrap());
        let found = self.blocks.read().get(usize::try_from(at).unwrap()).cloned();
        found.ok_or_else(|| Error::new(Kind::NotFound, "load node", ""))
    }

    fn save(&self, _: u8, plain: &[u8]) -> Result<Ref> {
        let start = Instant::now();
        let mut blocks = self.blocks.write();
        let mut siv = [0; 32];
        siv[..8].copy_from_slice(&(blocks.len() as u64).to_le_bytes());
        let bid = Bid(crate::base::hash(&[&siv]));
        blocks.push(Bytes::copy_from_slice(plain));
        self.nanos.fetch_add(u64::try_from(start.elapsed().as_nanos()).unwrap(), Ordering::Relaxed);
        Ok(Ref { bid, siv, epoch: 0, len: u32::try_from(plain.len()).unwrap() })
    }
}

/// Time of this thread on a processor, so that a busy machine disturbs less.
fn cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

fn best(run: impl Fn()) -> Duration {
    let time = || {
        let start = cpu();
        run();
        cpu() - start
    };
    (0..5).map(|_| time()).min().unwrap()
}

const N: u32 = 1_000_000;
const CACHE: usize = 256 << 20;

struct Setup {
    store: Arc<Free>,
    tree: Tree,
    root: Root,
    keys: Vec<Vec<u8>>,
}

fn setup() -> Setup {
    let store = Arc::new(Free::default());
    let tree = Tree::new(store.clone(), KEY, CACHE);
    let model = sample(N, 150);
    let start = cpu();
    let root = tree.build(&model).unwrap();
    println!("build 1M x 150 B: {:?}, level {}, {} nodes", cpu() - start, root.level, store.blocks.read().len());
    tree.forget_cache();
    Setup { store, tree, root, keys: model.into_keys().collect() }
}

#[test]
#[ignore = "measures, asserts nothing"]
fn gets() {
    let Setup { tree, root, keys, .. } = setup();
    tree.range(&root, &[]).for_each(|e| drop(e.unwrap()));
    println!("cached: {} MiB", tree.cached_bytes() >> 20);
    for spread in [1_000_000, 100_000, 10_000u64] {
        let random: Vec<_> = (0..200_000u64).map(|i| &keys[(i * 7_919_777 % spread) as usize]).collect();
        let time = best(|| random.iter().for_each(|key| assert!(tree.get(&root, key).unwrap().is_some())));
        println!("get, cached, random within {spread}: {:?}", time / 200_000);
    }
    let ascending = || keys.iter().skip(300_000).take(200_000);
    let time = best(|| ascending().for_each(|key| assert!(tree.get(&root, key).unwrap().is_some())));
    println!("get, cached, ascending: {:?}", time / 200_000);
}

#[test]
#[ignore = "measures, asserts nothing"]
fn scans() {
    let Setup { tree, root, keys, .. } = setup();
    let scan = || tree.range(&root, &keys[400_000]).take(100_000).map(|e| e.unwrap().1.len()).sum::<usize>();
    let time = best(|| {
        tree.forget_cache();
        assert_eq!(scan(), 15_000_000);
    });
    println!("scan of 100k, cold: {time:?}");
    println!("scan of 100k, cached: {:?}", best(|| assert_eq!(scan(), 15_000_000)));
}

#[test]
#[ignore = "measures, asserts nothing"]
fn edits() {
    let Setup { store, tree, root, keys } = setup();
    let spread = |i: usize| i * 33;
    let gathered = |i: usize| i / 50 * 1_650 + i % 50;
    let edits = |each: &dyn Fn(usize) -> usize, salt: u64| -> Vec<Edit> {
        (0..30_000).map(|i| (keys[each(i)].clone(), Some(value(salt + i as u64, 150)))).collect()
    };
    for (name, each) in [("spread evenly", &spread as &dyn Fn(usize) -> usize), ("in 600 directories", &gathered)] {
        let all = (0..3).map(|round| {
            let edits = edits(each, (round + 1) << 40);
            let (before, saving) = (store.blocks.read().len(), store.nanos.load(Ordering::Relaxed));
            let start = cpu();
            tree.edit(&root, edits).unwrap();
            let saving = Duration::from_nanos(store.nanos.load(Ordering::Relaxed) - saving);
            (cpu() - start - saving, store.blocks.read().len() - before)
        });
        println!("edit 30k of 1M {name}, without saving: {:?}", all.min().unwrap());
    }
    let other = tree.edit(&root, edits(&gathered, 1 << 50)).unwrap();
    let time = best(|| assert_eq!(tree.diff(&root, &other).count(), 30_000));
    println!("diff of 30k in 600 directories: {time:?}");
}
