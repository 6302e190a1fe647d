//! What a volume reaches wherever it is, and what a head adds: everything, with blocks here or not.

use std::collections::BTreeSet;

use super::cluster::{Cluster, create, edit};
use super::*;
use crate::base::Bid;

fn reach(v: &Volume) -> BTreeSet<Bid> {
    let mut met = BTreeSet::new();
    v.reach(&mut |block| Ok(met.insert(block.bid))).unwrap();
    met
}

fn log(v: &Volume) -> BTreeSet<Bid> {
    let mut ids = BTreeSet::new();
    v.blocks()
        .log()
        .for_each(|id, _| {
            ids.insert(id);
        })
        .unwrap();
    ids
}

#[test]
fn a_volume_reaches_all_that_its_own_collection_keeps_and_a_lazy_device_what_it_has_not() {
    let c = Cluster::new(2);
    create(c.v(0), "large", &noise(1, 9_000_000));
    create(c.v(0), "gone", &noise(2, 3_000_000));
    c.v(0).announce().unwrap();
    edit(c.v(0), "gone", b"");
    c.tell(0, 1);
    c.v(0).collect(false, &mut |_, _, _| Ok(())).unwrap();
    let (all, here) = (reach(c.v(0)), log(c.v(0)));
    assert!(here.is_subset(&all), "what the collection keeps is reached");
    let files = |v: &Volume| {
        let mut data = std::collections::HashSet::new();
        v.data_blocks(ROOT_INO, usize::MAX, &mut data).unwrap();
        data
    };
    let content = files(c.v(0));
    assert!(content.len() > 20);
    let there = log(c.v(1));
    assert!(content.iter().all(|id| !there.contains(id)), "the other device is lazy");
    let lazily = reach(c.v(1));
    assert!(content.iter().all(|id| lazily.contains(id)));
    c.devices[1].others.cut_off.store(true, Ordering::Relaxed);
    assert_eq!(reach(c.v(1)), lazily, "what it had to look into is here now");
}

#[test]
fn a_head_brings_what_it_has_and_a_newer_head_adds_what_is_new() {
    let c = Cluster::new(2);
    for n in 0..50 {
        create(c.v(0), &format!("f{n}"), &noise(n, 40_000));
    }
    c.meet();
    let (old, before) = (c.v(0).announce().unwrap().head, reach(c.v(0)));
    edit(c.v(0), "f7", &noise(100, 5_000_000));
    create(c.v(0), "new", &noise(101, 40_000));
    let new = c.v(0).announce().unwrap().head;
    let after = reach(c.v(0));
    let mut added = BTreeSet::new();
    c.v(0).news(&old, &new, &mut |block| Ok(added.insert(block.bid))).unwrap();
    assert!(after.difference(&before).all(|id| added.contains(id)), "nothing new is left out");
    assert!(added.len() < after.len(), "and not everything is named");
    let mut brought = BTreeSet::new();
    c.v(1).brings(&c.v(0).author(), &new, &mut |block| Ok(brought.insert(block.bid))).unwrap();
    let mut content = std::collections::HashSet::new();
    c.v(0).data_blocks(c.v(0).resolve(b"f7").unwrap(), usize::MAX, &mut content).unwrap();
    c.v(0).data_blocks(c.v(0).resolve(b"new").unwrap(), usize::MAX, &mut content).unwrap();
    assert!(content.len() > 20 && content.iter().all(|id| brought.contains(id)));
}

#[test]
fn a_newcomer_is_told_all_that_a_head_refers_to() {
    let c = Cluster::unjoined(2);
    create(c.v(0), "large", &noise(1, 9_000_000));
    let head = c.v(0).announce().unwrap().head;
    let mut brought = BTreeSet::new();
    c.v(1).brings(&c.v(0).author(), &head, &mut |block| Ok(brought.insert(block.bid))).unwrap();
    let mut content = std::collections::HashSet::new();
    c.v(0).data_blocks(ROOT_INO, usize::MAX, &mut content).unwrap();
    assert!(content.len() > 20 && content.iter().all(|id| brought.contains(id)));
    assert!(brought.len() > content.len());
}
