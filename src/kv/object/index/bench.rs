//! What the index costs: `cargo test --release -p lovage --lib index::bench -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::cast_precision_loss)]

use std::time::Instant;

use super::super::pack::{PackName, Span};
use super::*;
use crate::base::hash;

/// Blocks of a pack: 8 MiB of blocks of 128 KiB, as the feeder gives them.
const EACH: u64 = 64;

fn id(n: u64) -> Bid {
    Bid(hash(&[&n.to_le_bytes()]))
}

fn made(pack: u64) -> (PackName, u64, Vec<(Bid, Span)>) {
    let len = 128 << 10;
    let mut ids: Vec<Bid> = (pack * EACH..(pack + 1) * EACH).map(id).collect();
    ids.sort_unstable();
    let spans = ids.into_iter().zip(0..).map(|(id, n)| (id, Span { offset: n * len, len })).collect();
    let mut name = [0; 36];
    name[..32].copy_from_slice(&hash(&[b"pack", &pack.to_le_bytes()]));
    name[32..].copy_from_slice(&(EACH as u32).to_le_bytes());
    let name = PackName::from_bytes(&name).unwrap();
    (name, EACH * u64::from(len) + name.index_len(), spans)
}

/// Bytes resident in this process.
fn resident() -> u64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    pages.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default() * 4096
}

fn micros(ids: impl Iterator<Item = u64>, index: &Index, there: bool) -> f64 {
    let ids: Vec<Bid> = ids.map(id).collect();
    let begin = Instant::now();
    assert!(ids.iter().all(|id| index.find(id).unwrap().is_some() == there));
    begin.elapsed().as_secs_f64() * 1e6 / ids.len() as f64
}

#[test]
#[ignore = "a measurement"]
fn ten_million_blocks() {
    let dir = tempfile::tempdir().unwrap();
    for blocks in [1_000_000, 10_000_000] {
        let path = dir.path().join(format!("{blocks}.packs"));
        let of = |bytes: u64| bytes as f64 / blocks as f64;
        let begin = Instant::now();
        let mut index = Index::open(Some(&path));
        for pack in 0..blocks / EACH {
            let (name, size, spans) = made(pack);
            assert!(index.add(name, size, &spans).unwrap());
        }
        let built = (begin.elapsed(), of(index.memory() as u64));
        drop(index);
        let (before, begin) = (resident(), Instant::now());
        let index = Index::open(Some(&path));
        let opened = begin.elapsed();
        println!(
            "{blocks} blocks: built in {:.1} s ({:.1} bytes a block), opened in {:.2} s; {:.1} bytes a block by capacity, \
             {:.1} resident; file {:.1}",
            built.0.as_secs_f64(),
            built.1,
            opened.as_secs_f64(),
            of(index.memory() as u64),
            of(resident().saturating_sub(before)),
            of(index.records.len())
        );
        index.records.reads.store(0, std::sync::atomic::Ordering::Relaxed);
        let absent = micros(blocks * 2..blocks * 2 + 1_000_000, &index, false);
        let reads = index.records.reads.load(std::sync::atomic::Ordering::Relaxed);
        let there = micros((0..blocks).step_by(blocks as usize / 1_000_000), &index, true);
        let begin = Instant::now();
        let (mut listed, mut after) = (0, None);
        loop {
            let page = index.list(after, 50_000).unwrap();
            (listed, after) = (listed + page.len(), page.last().copied());
            if page.len() < 50_000 {
                break;
            }
        }
        assert_eq!(listed as u64, blocks / EACH * EACH);
        println!(
            "  absent {absent:.2} us ({reads} reads in a million), there {there:.2} us, listed in {:.1} s",
            begin.elapsed().as_secs_f64()
        );
    }
}
