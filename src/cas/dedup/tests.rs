//! The dedup index: slow, busy, foreign and overfull.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::sync::mpsc;

use tempfile::TempDir;

use super::*;
use crate::base::Bid;
use crate::base::port::Seeded;

fn local(key: u8) -> LocalSealer {
    LocalSealer::new([key; 32], Arc::new(Seeded::new(1)))
}

fn pair(n: u32) -> (Pid, Ref) {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&n.to_le_bytes());
    (Pid(id), Ref { bid: Bid(id), siv: [5; 32], epoch: 1, len: n })
}

fn index(dir: &TempDir, key: u8) -> DedupIndex {
    let path = dir.path().join("dedup");
    DedupIndex::start(local(key), move || Map::open(&path)).unwrap()
}

/// The lock of a map may outlive the map for a moment.
fn reopen(path: &std::path::Path) -> Map {
    std::iter::repeat_with(|| Map::open(path))
        .find(|map| !matches!(map, Err(e) if e.kind() == Kind::Busy))
        .unwrap()
        .unwrap()
}

#[test]
fn entries_survive_reopening() {
    let dir = TempDir::new().unwrap();
    let one = index(&dir, 1);
    for n in 0..1000 {
        let (pid, r) = pair(n);
        one.insert(&pid, r);
    }
    drop(one);
    let two = index(&dir, 1);
    two.flush().unwrap();
    for n in 0..1000 {
        let (pid, r) = pair(n);
        assert_eq!(two.get(&pid), Some(r));
    }
    assert_eq!(two.get(&pair(1000).0), None);
}

#[test]
fn nobody_waits_for_an_index_that_is_still_opening() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("dedup");
    let (go, wait) = mpsc::channel::<()>();
    let index = DedupIndex::start(local(1), move || {
        wait.recv().ok();
        Map::open(&path)
    })
    .unwrap();
    let (pid, r) = pair(1);
    index.insert(&pid, r);
    assert_eq!(index.get(&pid), None);
    go.send(()).unwrap();
    index.flush().unwrap();
    assert_eq!(index.get(&pid), Some(r));
}

#[test]
fn what_waits_is_bounded() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("dedup");
    let (go, wait) = mpsc::channel::<()>();
    let index = DedupIndex::start(local(1), move || {
        wait.recv().ok();
        Map::open(&path)
    })
    .unwrap();
    for n in 0..20_000 {
        let (pid, r) = pair(n);
        index.insert(&pid, r);
    }
    assert_eq!(index.shared.state.lock().waiting.len(), MAX_WAITING);
    go.send(()).unwrap();
    index.flush().unwrap();
    assert_eq!(index.get(&pair(0).0), Some(pair(0).1));
    assert_eq!(index.get(&pair(19_999).0), None, "forgotten, which costs only work");
}

#[test]
fn an_index_that_does_not_open_is_an_empty_one() {
    let index = DedupIndex::start(local(1), || Err(Error::new(Kind::Denied, "open", "map"))).unwrap();
    let (pid, r) = pair(1);
    index.insert(&pid, r);
    assert_eq!(index.flush().unwrap_err().kind(), Kind::Other);
    assert_eq!(index.get(&pid), None);
}

#[test]
fn a_map_that_is_busy_is_tried_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("dedup");
    let tries = Mutex::new(0);
    let index = DedupIndex::start(local(1), move || {
        *tries.lock() += 1;
        let busy = *tries.lock() < 3;
        if busy { Err(Error::new(Kind::Busy, "open", "map")) } else { Map::open(&path) }
    })
    .unwrap();
    let (pid, r) = pair(1);
    index.insert(&pid, r);
    index.flush().unwrap();
    assert_eq!(index.get(&pid), Some(r));
}

#[test]
fn without_the_key_or_at_another_place_a_value_says_nothing() {
    let dir = TempDir::new().unwrap();
    let one = index(&dir, 1);
    let (pid, r) = pair(1);
    one.insert(&pid, r);
    drop(one);
    let stranger = index(&dir, 2);
    stranger.flush().unwrap();
    assert_eq!(stranger.get(&pid), None);
    drop(stranger);
    let path = dir.path().join("dedup");
    let map = reopen(&path);
    let sealed = map.get(&prefix(&pid)).unwrap().unwrap();
    assert!(!sealed.windows(8).any(|w| w == [5; 8]), "the siv is not readable");
    map.insert(&prefix(&pair(2).0), &sealed).unwrap();
    map.flush().unwrap();
    drop(map);
    let again = index(&dir, 1);
    again.flush().unwrap();
    assert_eq!((again.get(&pair(2).0), again.get(&pid)), (None, Some(r)));
}

#[test]
fn recent_ids_are_found_and_bounded() {
    let recent = Recent::new(1000);
    for n in 0..5000 {
        let (pid, r) = pair(n);
        recent.insert(&pid, r);
        assert_eq!(recent.get(&pid), Some(r));
    }
    let kept = (0..5000).filter(|n| recent.get(&pair(*n).0).is_some()).count();
    assert!(kept <= 1100, "{kept}");
    recent.clear();
    assert_eq!(recent.get(&pair(4999).0), None);
}
