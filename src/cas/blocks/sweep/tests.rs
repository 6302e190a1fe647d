//! Sweeps beside puts.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::super::tests::scratch;
use crate::cas::Options;
use crate::cas::chunk::tests::noise;
use crate::seal::BlockType;

#[test]
fn a_sweep_spares_what_was_put_since_the_mark_began() {
    let s = scratch(Options::default());
    let put = |seed| s.blocks.put(BlockType::Data, 0, &noise(seed, 10_000)).unwrap();
    let (hit, resealed, dead) = (put(1), s.blocks.put(BlockType::Tree, 0, b"node").unwrap(), put(3));
    s.blocks.begin_mark();
    assert_eq!(put(1), hit);
    assert_eq!(s.blocks.put(BlockType::Tree, 0, b"node").unwrap(), resealed);
    let new = put(4);
    let freed = s.blocks.sweep(&[hit.bid, resealed.bid, dead.bid, new.bid]).unwrap();
    assert!(freed > 0);
    assert!([hit, resealed, new].iter().all(|r| s.blocks.contains(r)));
    assert!(!s.blocks.contains(&dead));
    assert_eq!(put(3), dead, "a block that is gone is no dedup hit");
    assert!(s.blocks.contains(&dead));
    s.blocks.end_mark();
}

#[test]
fn outside_a_mark_nothing_is_swept() {
    let s = scratch(Options::default());
    let r = s.blocks.put(BlockType::Data, 0, b"kept").unwrap();
    assert_eq!(s.blocks.sweep(&[r.bid]).unwrap(), 0);
    s.blocks.begin_mark();
    s.blocks.end_mark();
    assert_eq!(s.blocks.sweep(&[r.bid]).unwrap(), 0);
    assert!(s.blocks.contains(&r));
}

#[test]
fn every_reference_put_returns_during_a_sweep_can_be_read() {
    let s = scratch(Options::default());
    let plain: Vec<Vec<u8>> = (0..50).map(|seed| noise(seed, 5000)).collect();
    let put = |i: usize| s.blocks.put(BlockType::Data, 0, &plain[i % 50]).unwrap();
    let all: Vec<_> = (0..50).map(|i| put(i).bid).collect();
    s.blocks.begin_mark();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| (0..200).map(|i| put(i * 7)).collect::<Vec<_>>());
        for bid in &all {
            s.blocks.sweep(&[*bid]).unwrap();
        }
        for r in writer.join().unwrap() {
            assert!(s.blocks.contains(&r));
        }
    });
    s.blocks.end_mark();
}
