//! How much is read and written.

use std::collections::HashSet;

use super::support::*;
use crate::tree::Edit;

const N: u32 = 40_000;

fn keys() -> Vec<Vec<u8>> {
    sample(N, 0).into_keys().collect()
}

#[test]
fn a_get_loads_one_node_a_level_and_nothing_when_cached() {
    let store = Memory::new();
    let root = build(&tree(&store, 0), &sample(N, 150));
    let tree = tree(&store, 1 << 24);
    store.reset();
    assert!(tree.get(&root, &sample_key(777)).unwrap().is_some());
    assert_eq!(store.io(), (usize::from(root.level) + 1, 0));
    assert!(tree.get(&root, &sample_key(777)).unwrap().is_some());
    assert_eq!(store.io(), (usize::from(root.level) + 1, 0));
}

#[test]
fn a_range_loads_leaves_only_as_it_reaches_them() {
    let store = Memory::new();
    let root = build(&tree(&store, 0), &sample(N, 150));
    let tree = tree(&store, 1 << 24);
    store.reset();
    let range = tree.range(&root, &keys()[20_000]);
    assert_eq!(store.io().0, 0, "nothing before it is asked");
    assert_eq!(range.take(10).count(), 10);
    assert!(store.io().0 <= usize::from(root.level) + 3);
}

#[test]
fn edits_that_change_nothing_write_nothing_and_return_the_same_root() {
    let store = Memory::new();
    let tree = tree(&store, 1 << 24);
    let model = sample(N, 150);
    let root = build(&tree, &model);
    store.reset();
    let mut edits: Vec<Edit> = model.iter().step_by(97).map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
    edits.extend((N..N + 100).map(|i| (sample_key(i), None)));
    edits.sort();
    assert_eq!(tree.edit(&root, edits).unwrap(), root);
    assert_eq!(store.io().1, 0);
    assert_eq!(tree.edit(&root, Vec::new()).unwrap(), root);
    assert_eq!(tree.edit(&tree.empty(), vec![(b"gone".to_vec(), None)]).unwrap(), tree.empty());
    assert_eq!(store.io().1, 0);
}

#[test]
fn one_edit_rewrites_one_path() {
    let store = Memory::new();
    let root = build(&tree(&store, 0), &sample(N, 150));
    let keys = keys();
    for at in (0..keys.len()).step_by(1_237) {
        let tree = tree(&store, 1 << 24);
        store.reset();
        // Same size, so no boundary moves.
        tree.edit(&root, vec![(keys[at].clone(), Some(value(u64::MAX, 150)))]).unwrap();
        let path = usize::from(root.level) + 1;
        assert_eq!(store.io(), (path, path), "entry {at}");
    }
}

#[test]
fn a_vanished_node_end_costs_its_right_neighbour_and_no_more() {
    let store = Memory::new();
    let plain = tree(&store, 0);
    let root = build(&plain, &sample(N, 150));
    let keys = keys();
    let mut neighbours = 0;
    for key in keys.iter().step_by(211) {
        let tree = tree(&store, 1 << 24);
        store.reset();
        tree.edit(&root, vec![(key.clone(), None)]).unwrap();
        let (loads, saves) = store.io();
        let path = usize::from(root.level) + 1;
        assert!(loads <= 2 * path && saves <= path, "{loads} loads, {saves} saves");
        neighbours += usize::from(loads > path);
    }
    assert!(neighbours > 0, "some removed entry ended its node");
}

#[test]
fn a_bulk_edit_loads_and_writes_in_proportion_to_the_leaves_it_touches() {
    let store = Memory::new();
    let model = sample(N, 150);
    let root = build(&tree(&store, 0), &model);
    let all = store.blocks.lock().len();
    let tree = tree(&store, 1 << 24);
    store.reset();
    // Twenty directories, that is fifty neighbouring entries each.
    let edits: Vec<Edit> = (0..20u32)
        .flat_map(|d| (0..50).map(move |f| sample_key(d * 2_000 + f)))
        .map(|k| (k, Some(value(5, 150))))
        .collect::<std::collections::BTreeMap<_, _>>()
        .into_iter()
        .collect();
    tree.edit(&root, edits).unwrap();
    let (loads, saves) = store.io();
    assert!(loads <= 100 && saves <= 100, "{loads} loads and {saves} saves of {all} nodes");
    let distinct: HashSet<_> = store.loads.lock().iter().copied().collect();
    assert_eq!(distinct.len(), loads, "nothing is loaded twice");
}

#[test]
fn building_writes_exactly_the_nodes_of_the_tree() {
    for n in [1, 2, 30, 60, 500, 5_000] {
        let store = Memory::new();
        let tree = tree(&store, 0);
        let root = build(&tree, &sample(n, 150));
        let mut reachable = HashSet::new();
        let visit = |r: &crate::seal::Ref, level| Ok(reachable.insert((r.bid, level)) && level > 0);
        tree.blocks(&root, visit).unwrap();
        let saved: HashSet<_> = store.saves.lock().iter().copied().collect();
        assert_eq!(saved, reachable, "{n} entries");
    }
}

#[test]
fn diff_visits_only_differing_subtrees() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    let model = sample(N, 150);
    let root = build(&tree, &model);
    let path = usize::from(root.level) + 1;
    store.reset();
    assert_eq!(tree.diff(&root, &root).count(), 0);
    assert_eq!(store.io().0, 0, "equal trees are equal unread");
    for (at, value) in [(0, Some(value(1, 150))), (17_000, None), (25_000, Some(value(1, 9_000)))] {
        let key = keys()[at].clone();
        let other = tree.edit(&root, vec![(key.clone(), value)]).unwrap();
        store.reset();
        let changes: Vec<_> = tree.diff(&root, &other).map(Result::unwrap).collect();
        assert_eq!(changes.iter().map(|c| c.key.to_vec()).collect::<Vec<_>>(), vec![key]);
        assert!(store.io().0 <= 4 * path, "{} loads for one change", store.io().0);
    }
}

#[test]
fn diff_with_an_inserted_block_of_entries_reads_little_besides_it() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    let root = build(&tree, &sample(N, 150));
    let inserted: Vec<Edit> =
        (0..2_000u32).map(|i| ([&[0x80; 16][..], &i.to_be_bytes()].concat(), Some(value(1, 150)))).collect();
    let other = tree.edit(&root, inserted).unwrap();
    store.reset();
    assert_eq!(tree.diff(&root, &other).count(), 2_000);
    let leaves = 2_000 * 176 / 8_192;
    assert!(store.io().0 < 2 * leaves, "{} loads, the new entries fill {leaves} leaves", store.io().0);
}

#[test]
fn visiting_blocks_reads_no_leaf_and_nothing_below_what_is_refused() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    let model = sample(N, 150);
    let root = build(&tree, &model);
    let all: HashSet<_> = store.saves.lock().iter().copied().collect();
    store.reset();
    let mut seen = HashSet::new();
    tree.blocks(&root, |r, level| Ok(seen.insert((r.bid, level)))).unwrap();
    assert_eq!(seen, all);
    assert!(store.loads.lock().iter().all(|(_, level)| *level > 0));
    store.reset();
    let mut visits = 0;
    tree.blocks(&root, |_, level| {
        visits += 1;
        Ok(level == root.level)
    })
    .unwrap();
    assert_eq!(store.io().0, 1);
    let mut entries = Model::new();
    let collect = |k: &[u8], v: &[u8]| {
        entries.insert(k.to_vec(), v.to_vec());
        Ok(())
    };
    tree.walk(&root, |_, _| Ok(true), collect).unwrap();
    assert_eq!(entries, model);
    store.reset();
    tree.walk(&root, |_, level| Ok(level > 0), |_, _| panic!("a leaf was entered")).unwrap();
    assert!(store.loads.lock().iter().all(|(_, level)| *level > 0));
}

#[test]
fn the_cache_keeps_its_bound_and_drops_the_unused_first() {
    let store = Memory::new();
    let root = build(&tree(&store, 0), &sample(N, 150));
    let bound = 2 << 20;
    let tree = tree(&store, bound);
    tree.range(&root, &[]).for_each(|e| drop(e.unwrap()));
    assert!(tree.cached_bytes() > bound / 2 && tree.cached_bytes() <= bound);
    for i in 0..20_000 {
        tree.get(&root, &sample_key(i % 200)).unwrap();
        tree.get(&root, &sample_key(i)).unwrap();
    }
    store.reset();
    (0..200).for_each(|i| drop(tree.get(&root, &sample_key(i)).unwrap()));
    assert_eq!(store.io().0, 0, "what is used often stays");
    tree.forget_cache();
    assert_eq!(tree.cached_bytes(), 0);
}

#[test]
fn nodes_are_about_eight_kib() {
    let store = Memory::new();
    for size in [20, 150, 1_000] {
        store.blocks.lock().clear();
        let root = build(&tree(&store, 0), &sample(N, size));
        assert!(root.level >= 1);
        let sizes: Vec<_> = store.blocks.lock().values().filter(|b| b.0 == 0).map(|b| b.1.len()).collect();
        let mean = sizes.iter().sum::<usize>() / sizes.len();
        assert!((6_000..11_000).contains(&mean), "mean {mean} with values of {size}");
        assert!(sizes.iter().all(|s| *s < 160 << 10));
    }
}
