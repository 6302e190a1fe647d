//! Small reads give what the whole block gives, touch less, and leave damage to the way that reports it.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::tests::{Scratch, damage, scratch};
use super::super::{Blocks, Options};
use super::*;
use crate::cas::chunk::tests::noise;
use crate::kv::arena::{self, Log, RealDisk};

fn stored(compress: bool, dedup: bool, len: usize) -> (Scratch, Vec<u8>, Ref) {
    let s = scratch(Options { compress, dedup, ..Options::default() });
    let plain: Vec<u8> = noise(3, len).iter().map(|b| if compress { b % 3 } else { *b }).collect();
    let r = s.blocks.put(BlockType::Data, 0, &plain).unwrap();
    (s, plain, r)
}

fn read(blocks: &Blocks, r: &Ref, skip: usize, len: usize) -> Result<Vec<u8>> {
    let mut out = vec![0; len];
    blocks.read(r, skip, &mut out).map(|()| out)
}

fn cached(s: &Scratch) -> u64 {
    s.blocks.stat().cached_bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn a_read_of_any_size_gives_what_is_there(
        compress: bool, dedup: bool, len in 1..300_000_usize, reads in proptest::collection::vec(any::<(u32, u16)>(), 12)
    ) {
        let (s, plain, r) = stored(compress, dedup, len);
        for (from, wanted) in reads {
            let from = from as usize % len;
            let to = (from + wanted as usize).min(len);
            s.blocks.forget_caches();
            prop_assert!(read(&s.blocks, &r, from, to - from).unwrap() == plain[from..to]);
        }
        prop_assert_eq!(read(&s.blocks, &r, len - 1, 2).unwrap_err().kind(), Kind::Corrupt);
    }
}

#[test]
fn one_small_read_caches_nothing_and_a_second_one_opens_the_block() {
    let (s, plain, r) = stored(false, true, 130_000);
    assert!(read(&s.blocks, &r, 60_000, 4096).unwrap() == plain[60_000..64_096]);
    assert_eq!(cached(&s), 0);
    assert!(read(&s.blocks, &r, 64_096, 4096).unwrap() == plain[64_096..68_192]);
    assert!(cached(&s) >= 130_000);
}

#[test]
fn large_reads_open_the_block() {
    let (s, plain, r) = stored(false, true, 130_000);
    assert!(read(&s.blocks, &r, 0, 65_536).unwrap() == plain[..65_536]);
    assert!(cached(&s) >= 130_000);
}

#[test]
fn damage_in_another_group_does_not_matter_and_in_this_one_is_reported() {
    let (s, plain, r) = stored(false, true, 130_000);
    damage(&s, &r.bid);
    assert!(read(&s.blocks, &r, 100, 4096).unwrap() == plain[100..4196]);
    assert!(s.blocks.damaged().is_empty());
    s.blocks.forget_caches();
    let middle = plain.len() / 2;
    assert_eq!(read(&s.blocks, &r, middle, 4096).unwrap_err().kind(), Kind::Corrupt);
    assert_eq!(s.blocks.damaged(), [r.bid]);
}

#[test]
fn without_asides_everything_is_read_and_the_next_read_is_small() {
    let (s, plain, r) = stored(false, true, 130_000);
    s.blocks.log().close().unwrap();
    let Scratch { blocks, dir } = s;
    let sealer = blocks.sealer().clone();
    drop(blocks);
    for entry in std::fs::read_dir(dir.path().join("log")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "aside") {
            std::fs::remove_file(path).unwrap();
        }
    }
    let disk = RealDisk::open(&dir.path().join("log")).unwrap();
    let (log, _) = Log::open(std::sync::Arc::new(disk), arena::Options::default()).unwrap();
    let blocks = Blocks::new(std::sync::Arc::new(log), sealer, None, Options::default());
    assert!(blocks.log().part(&r.bid).is_none());
    assert!(read(&blocks, &r, 60_000, 4096).unwrap() == plain[60_000..64_096]);
    assert!(blocks.stat().cached_bytes >= 130_000, "read whole");
    blocks.forget_caches();
    let mut out = [0; 4096];
    blocks.read_part(&r, 60_000, &mut out).unwrap();
    assert!(out == plain[60_000..64_096]);
}
