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
use crate::tree::{Edit, NodeStore, Tree};

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

fn best(mut run: impl FnMut() -> Duration) -> Duration {
    (0..5).map(|_| run()).min().unwrap()
}

#[test]
#[ignore = "measures, asserts nothing"]
fn figures() {
    const N: u32 = 1_000_000;
    let store = Arc::new(Free::default());
    let tree = Tree::new(store.clone(), KEY, 1 << 30);
    let model = sample(N, 150);
    let keys: Vec<_> = model.keys().cloned().collect();
    let start = Instant::now();
    let root = tree.build(&model).unwrap();
    println!("build 1M x 150 B: {:?}, level {}, {} nodes", start.elapsed(), root.level, store.blocks.read().len());

    tree.forget_cache();
    tree.range(&root, &[]).for_each(|e| drop(e.unwrap()));
    println!("cached: {} MiB", tree.cached_bytes() >> 20);
    let random: Vec<_> = (0..200_000u64).map(|i| &keys[(i * 7_919_777 % u64::from(N)) as usize]).collect();
    let got = best(|| {
        let start = Instant::now();
        random.iter().for_each(|key| assert!(tree.get(&root, key).unwrap().is_some()));
        start.elapsed()
    });
    println!("get, random, cached: {:?} cpu {:?}", got / 200_000, cpu());
    let got = best(|| {
        let start = Instant::now();
        keys.iter().skip(300_000).take(200_000).for_each(|key| assert!(tree.get(&root, key).unwrap().is_some()));
        start.elapsed()
    });
    println!("get, ascending, cached: {:?}", got / 200_000);

    let from = &keys[400_000];
    let scan = best(|| {
        tree.forget_cache();
        let start = Instant::now();
        assert_eq!(tree.range(&root, from).take(100_000).map(|e| e.unwrap().1.len()).sum::<usize>(), 15_000_000);
        start.elapsed()
    });
    println!("scan of 100k, cold: {scan:?}");
    let scan = best(|| {
        let start = Instant::now();
        assert_eq!(tree.range(&root, from).take(100_000).map(|e| e.unwrap().1.len()).sum::<usize>(), 15_000_000);
        start.elapsed()
    });
    println!("scan of 100k, cached: {scan:?}");

    let edits = |each: &dyn Fn(usize) -> usize, salt: u64| -> Vec<Edit> {
        (0..30_000).map(|i| (keys[each(i)].clone(), Some(value(salt + i as u64, 150)))).collect()
    };
    for (name, each) in [
        ("spread evenly", &(|i: usize| i * 33) as &dyn Fn(usize) -> usize),
        ("in 600 directories", &|i: usize| i / 50 * 1_650 + i % 50),
    ] {
        let mut salt = 1 << 40;
        let mut nodes = 0;
        let time = best(|| {
            salt += 1 << 20;
            let edits = edits(each, salt);
            tree.forget_cache();
            let before = store.blocks.read().len();
            store.nanos.store(0, Ordering::Relaxed);
            let start = Instant::now();
            tree.edit(&root, edits).unwrap();
            let time = start.elapsed();
            nodes = store.blocks.read().len() - before;
            time - Duration::from_nanos(store.nanos.load(Ordering::Relaxed))
        });
        println!("edit 30k of 1M {name}: {time:?} without saving, {nodes} nodes written");
    }
    let other = tree.edit(&root, edits(&|i| i / 50 * 1_650 + i % 50, 1 << 50)).unwrap();
    let time = best(|| {
        let start = Instant::now();
        assert_eq!(tree.diff(&root, &other).count(), 30_000);
        start.elapsed()
    });
    println!("diff of 30k in 600 directories, cached: {time:?}");
}
