//! Bounds of the caches, and who misses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unnecessary_wraps)]
use super::*;
use crate::base::{Bid, Error, Kind};

fn key(n: u32) -> Key {
    let mut bid = [0; 32];
    bid[..4].copy_from_slice(&n.wrapping_mul(0x9e37_79b1).to_le_bytes());
    Key::new(BlockType::Data, 0, &Ref { bid: Bid(bid), siv: [0; 32], epoch: 0, len: 1000 })
}

fn value() -> Result<Bytes> {
    Ok(Bytes::from(vec![0; 1000]))
}

fn missed(cache: &PlainCache, n: u32) -> bool {
    let mut made = false;
    cache
        .get_or(key(n), || {
            made = true;
            value()
        })
        .unwrap();
    made
}

#[test]
fn it_never_holds_more_than_its_bound() {
    let cache = PlainCache::new(1 << 20, 1000);
    for n in 0..10_000 {
        cache.get_or(key(n), value).unwrap();
        assert!(cache.weight() <= 1 << 20);
    }
    assert!(cache.weight() > 1 << 19, "and it uses the memory it has");
    cache.clear();
    assert_eq!(cache.weight(), 0);
}

#[test]
fn a_scan_does_not_push_out_what_is_used_again() {
    let cache = PlainCache::new(1 << 20, 1000);
    for _ in 0..5 {
        for n in 0..200 {
            missed(&cache, n);
        }
    }
    for n in 1000..20_000 {
        missed(&cache, n);
    }
    let lost = (0..200).filter(|n| missed(&cache, *n)).count();
    assert!(lost < 40, "{lost} of 200 lost");
}

#[test]
fn failures_are_not_cached() {
    let cache = PlainCache::new(1 << 20, 1000);
    let failed = cache.get_or(key(1), || Err(Error::new(Kind::Unreachable, "test", "")));
    assert_eq!(failed.unwrap_err().kind(), Kind::Unreachable);
    assert!(missed(&cache, 1));
    assert!(!missed(&cache, 1));
}

#[test]
fn another_type_level_or_siv_is_another_entry() {
    let cache = PlainCache::new(1 << 20, 1000);
    let Key { reference, .. } = key(1);
    cache.get_or(key(1), value).unwrap();
    let others = [
        Key::new(BlockType::Manifest, 0, &reference),
        Key::new(BlockType::Data, 1, &reference),
        Key::new(BlockType::Data, 0, &Ref { siv: [1; 32], ..reference }),
        Key::new(BlockType::Data, 0, &Ref { len: 999, ..reference }),
    ];
    for other in others {
        assert!(cache.get_or(other, || Err(Error::new(Kind::Denied, "test", ""))).is_err());
    }
}
