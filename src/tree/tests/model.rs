//! The tree behaves as a `BTreeMap`, and its root is a function of content.

use proptest::prelude::*;

use super::support::*;
use crate::base::Kind;
use crate::tree::{Change, Edit};

/// Small keys, so that edits meet; sizes from empty to larger than a node.
fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let size = prop_oneof![6 => 0usize..40, 6 => 300usize..2_000, 1 => 8_000usize..20_000];
    let value = prop_oneof![1 => Just(None), 2 => (any::<u64>(), size).prop_map(|(s, n)| Some(value(s, n)))];
    proptest::collection::btree_map((0u32..400).prop_map(sample_key), value, 0..80)
        .prop_map(|m| m.into_iter().collect())
}

/// Sets that are easily emptied, so that trees shrink.
fn batches() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let clear = (0u32..400, 0u32..400).prop_map(|(a, b)| {
        let keys: std::collections::BTreeSet<_> = (a.min(b)..a.max(b)).map(sample_key).collect();
        keys.into_iter().map(|k| (k, None)).collect::<Vec<Edit>>()
    });
    proptest::collection::vec(prop_oneof![4 => edits(), 1 => clear], 0..12)
}

proptest! {
    #[test]
    fn any_edits_in_any_batching_give_the_root_of_building_from_scratch(batches in batches(), cache in prop_oneof![Just(0usize), Just(1 << 24)]) {
        let store = Memory::new();
        let tree = tree(&store, cache);
        let mut model = Model::new();
        let mut root = tree.empty();
        for batch in batches {
            apply(&mut model, &batch);
            root = tree.edit(&root, batch).unwrap();
            prop_assert_eq!(&root, &build(&tree, &model));
        }
        tree.verify(&root).unwrap();
        prop_assert_eq!(root.count, model.len() as u64);
        prop_assert_eq!(dump(&tree, &root), model);
    }

    #[test]
    fn get_and_range_equal_the_model(batch in edits(), probes in proptest::collection::vec(0u32..420, 1..40)) {
        let store = Memory::new();
        let tree = tree(&store, 1 << 20);
        let mut model = Model::new();
        apply(&mut model, &batch);
        let root = build(&tree, &model);
        for probe in probes.into_iter().map(sample_key) {
            let found = tree.get(&root, &probe).unwrap();
            prop_assert_eq!(found.as_deref(), model.get(&probe).map(Vec::as_slice));
            let range: Vec<_> = tree.range(&root, &probe).map(|e| e.unwrap()).map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            let expected: Vec<_> = model.range(probe..).map(|(k, v)| (k.clone(), v.clone())).collect();
            prop_assert_eq!(range, expected);
        }
    }

    #[test]
    fn diff_equals_the_model(first in edits(), second in edits()) {
        let store = Memory::new();
        let tree = tree(&store, 1 << 20);
        let mut old = Model::new();
        apply(&mut old, &first);
        let mut new = old.clone();
        apply(&mut new, &second);
        let (a, b) = (build(&tree, &old), build(&tree, &new));
        let found: Vec<Change> = tree.diff(&a, &b).map(Result::unwrap).collect();
        let keys: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let expected: Vec<Change> = keys
            .into_iter()
            .filter(|k| old.get(*k) != new.get(*k))
            .map(|k| Change { key: k.clone().into(), old: old.get(k).cloned().map(Into::into), new: new.get(k).cloned().map(Into::into) })
            .collect();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn a_deep_tree_survives_growing_and_shrinking_one_entry_at_a_time() {
    let store = Memory::new();
    let tree = tree(&store, 1 << 24);
    let model = sample(400, 700);
    let mut now = Model::new();
    let mut root = tree.empty();
    for (key, value) in &model {
        now.insert(key.clone(), value.clone());
        root = tree.edit(&root, vec![(key.clone(), Some(value.clone()))]).unwrap();
        assert_eq!(root, build(&tree, &now));
    }
    assert!(root.level >= 1);
    for key in model.keys().rev() {
        now.remove(key);
        root = tree.edit(&root, vec![(key.clone(), None)]).unwrap();
        assert_eq!(root, build(&tree, &now));
    }
    assert_eq!(root, tree.empty());
}

#[test]
fn values_of_seventy_kib_and_nodes_of_one_entry_work() {
    let store = Memory::new();
    let tree = tree(&store, 1 << 24);
    let mut model = sample(60, 70 << 10);
    let mut root = build(&tree, &model);
    assert_eq!(dump(&tree, &root), model);
    let edits: Vec<Edit> = model.keys().step_by(3).map(|k| (k.clone(), Some(b"small".to_vec()))).collect();
    apply(&mut model, &edits);
    root = tree.edit(&root, edits).unwrap();
    assert_eq!(root, build(&tree, &model));
    tree.verify(&root).unwrap();
    let one = tree.build([(b"", b"")]).unwrap();
    assert_eq!((one.level, one.count), (0, 1));
    assert_eq!(tree.get(&one, b"").unwrap().as_deref(), Some(&b""[..]));
}

#[test]
fn logical_ids_do_not_depend_on_the_epoch() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    let model = sample(2_000, 150);
    let first = build(&tree, &model);
    store.epoch.store(7, std::sync::atomic::Ordering::Relaxed);
    let second = build(&tree, &model);
    assert_eq!((first.logical, first.level, first.count), (second.logical, second.level, second.count));
    assert_ne!(first.reference, second.reference);
    store.reset();
    assert_eq!(tree.diff(&first, &second).count(), 0);
    assert_eq!(store.io(), (0, 0));
}

#[test]
fn what_is_not_sorted_or_too_big_is_refused() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    let set = |key: &[u8], size: usize| (key.to_vec(), Some(vec![0; size]));
    for bad in [vec![set(b"b", 1), set(b"a", 1)], vec![set(b"a", 1), set(b"a", 1)]] {
        assert_eq!(tree.edit(&tree.empty(), bad).unwrap_err().kind(), Kind::Invalid);
    }
    assert_eq!(tree.build([(b"b", b""), (b"a", b"")]).unwrap_err().kind(), Kind::Invalid);
    let root = tree.build([(b"m", b"")]).unwrap();
    for bad in [set(&[7; crate::tree::MAX_KEY + 1], 0), set(b"k", crate::tree::MAX_VALUE + 1)] {
        assert_eq!(tree.edit(&root, vec![bad]).unwrap_err().kind(), Kind::TooBig);
    }
    assert!(tree.edit(&root, vec![set(&[7; crate::tree::MAX_KEY], crate::tree::MAX_VALUE)]).is_ok());
}
