//! Nodes that are damaged or lie: refused, never a panic, never wrong entries.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;

use super::support::*;
use crate::base::{Bid, Kind, Result};
use crate::tree::build::Draft;
use crate::tree::node::{Child, Node};
use crate::tree::shape::Shape;
use crate::tree::{Edit, NodeStore, Root, Tree};

fn decode(plain: &[u8], level: u8) -> Result<Node> {
    Node::decode(Bytes::copy_from_slice(plain), level, &Shape::new(KEY))
}

/// The bytes that a draft makes of the entries of a node.
fn encode_again(node: &Node) -> Bytes {
    let store = Memory::new();
    let mut draft = Draft::new(node.level());
    (0..node.len()).for_each(|i| draft.push(node.key(i), node.value(i)).unwrap());
    draft.save(&tree(&store, 0)).unwrap().0.plain().clone()
}

/// A tree of three levels with small nodes of both kinds, and its store.
fn victim() -> (Arc<Memory>, Root, Model) {
    let store = Memory::new();
    let model = sample(3_000, 300);
    let root = build(&tree(&store, 0), &model);
    assert!(root.level >= 1);
    (store, root, model)
}

#[derive(Debug, Clone)]
enum Damage {
    Set(prop::sample::Index, u8),
    Number(prop::sample::Index, u32),
    Cut(prop::sample::Index),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, u8),
    Double(prop::sample::Index, prop::sample::Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let number = prop_oneof![0u32..300, Just(u32::MAX), Just(1 << 31), any::<u32>()];
    prop_oneof![
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(i, b)| Damage::Set(i, b)),
        (any::<prop::sample::Index>(), number).prop_map(|(i, n)| Damage::Number(i, n)),
        any::<prop::sample::Index>().prop_map(Damage::Cut),
        (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(i, v)| Damage::Insert(i, v)),
        (any::<prop::sample::Index>(), any::<u8>()).prop_map(|(i, n)| Damage::Remove(i, n)),
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()).prop_map(|(a, b)| Damage::Double(a, b)),
    ]
}

fn harm(bytes: &mut Vec<u8>, damage: &Damage) {
    let len = bytes.len().max(1);
    match damage {
        Damage::Set(i, b) => bytes.iter_mut().skip(i.index(len)).take(1).for_each(|at| *at = *b),
        Damage::Number(i, n) => bytes.iter_mut().skip(i.index(len)).zip(n.to_le_bytes()).for_each(|(at, b)| *at = b),
        Damage::Cut(i) => bytes.truncate(i.index(len)),
        Damage::Insert(i, v) => {
            let at = i.index(len).min(bytes.len());
            bytes.splice(at..at, v.clone());
        }
        Damage::Remove(i, n) => {
            let at = i.index(len).min(bytes.len());
            bytes.drain(at..(at + usize::from(*n)).min(bytes.len()));
        }
        Damage::Double(a, b) => {
            let (a, b) = (a.index(len).min(bytes.len()), b.index(len).min(bytes.len()));
            let copy = bytes[a.min(b)..a.max(b)].to_vec();
            bytes.extend(copy);
        }
    }
}

/// Whatever a reader can do, on a tree that may be damaged: right entries or an error.
fn exercise(tree: &Tree, root: &Root, model: &Model) {
    let fine = |kind: Kind| assert!(matches!(kind, Kind::Corrupt | Kind::Unreachable), "{kind:?}");
    for key in model.keys().step_by(301) {
        match tree.get(root, key) {
            Ok(found) => assert_eq!(found.as_deref(), model.get(key).map(Vec::as_slice)),
            Err(e) => fine(e.kind()),
        }
    }
    for (entry, expected) in tree.range(root, &[]).zip(model) {
        match entry {
            Ok((key, value)) => assert_eq!((&key[..], &value[..]), (&expected.0[..], &expected.1[..])),
            Err(e) => fine(e.kind()),
        }
    }
    let edits: Vec<Edit> = model.keys().step_by(97).map(|k| (k.clone(), None)).collect();
    let _ = tree.edit(root, edits).map_err(|e| fine(e.kind()));
    let _ = tree.blocks(root, |_, _| Ok(true)).map_err(|e| fine(e.kind()));
    let _ = tree.walk(root, |_, _| Ok(true), |_, _| Ok(())).map_err(|e| fine(e.kind()));
    tree.diff(&tree.empty(), root).for_each(|c| drop(c.map_err(|e| fine(e.kind()))));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_mutated_node_is_refused_or_is_the_one_encoding_of_its_entries(which: prop::sample::Index, harms in prop::collection::vec(damage(), 1..4)) {
        let (store, _, _) = &*VICTIM;
        let (level, bytes) = which.get(&sorted(store)).clone();
        let mut bytes = bytes.to_vec();
        harms.iter().for_each(|h| harm(&mut bytes, h));
        if let Ok(node) = decode(&bytes, level) {
            prop_assert_eq!(&encode_again(&node)[..], &bytes[..]);
        }
    }

    #[test]
    fn noise_is_refused(level in 0u8..3, mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let [format, its_level, ..] = &mut bytes[..] {
            (*format, *its_level) = (1, level);
        }
        if let Ok(node) = decode(&bytes, level) {
            prop_assert_eq!(&encode_again(&node)[..], &bytes[..]);
        }
    }
}

proptest! {
    #[test]
    fn a_tree_with_a_mutated_node_gives_right_entries_or_errors(which: prop::sample::Index, harms in prop::collection::vec(damage(), 1..3)) {
        let (store, root, model) = &*VICTIM;
        let hurt = store.copy();
        let mut bids: Vec<Bid> = hurt.blocks.lock().keys().copied().collect();
        bids.sort_unstable();
        if let Some((_, bytes)) = hurt.blocks.lock().get_mut(which.get(&bids)) {
            let mut changed = bytes.to_vec();
            harms.iter().for_each(|h| harm(&mut changed, h));
            *bytes = changed.into();
        }
        let tree = tree(&hurt, 1 << 22);
        let whole = *hurt.blocks.lock() == *store.blocks.lock();
        exercise(&tree, root, model);
        prop_assert_eq!(tree.verify(root).is_ok(), whole, "every change is found");
    }
}

static VICTIM: std::sync::LazyLock<(Arc<Memory>, Root, Model)> = std::sync::LazyLock::new(victim);

fn sorted(store: &Memory) -> Vec<(u8, Bytes)> {
    let mut all: Vec<_> = store.blocks.lock().values().cloned().collect();
    all.sort_unstable();
    all
}

fn kind_of<T>(result: Result<T>) -> Kind {
    result.err().map(|e| e.kind()).expect("must be refused")
}

#[test]
fn a_root_that_lies_is_refused() {
    let (store, root, _) = &*VICTIM;
    let tree = tree(store, 0);
    let lies = [
        Root { count: root.count + 1, ..root.clone() },
        Root { logical: [0; 32], ..root.clone() },
        Root { reference: None, ..root.clone() },
        Root { level: 16, ..root.clone() },
        Root { reference: None, level: 0, logical: tree.empty().logical, count: 3 },
    ];
    for lie in lies {
        assert_eq!(kind_of(tree.get(&lie, b"k")), Kind::Corrupt);
        assert_eq!(kind_of(tree.edit(&lie, vec![(b"k".to_vec(), None)])), Kind::Corrupt);
        assert_eq!(kind_of(tree.range(&lie, b"").next().unwrap()), Kind::Corrupt);
        assert_eq!(kind_of(tree.verify(&lie)), Kind::Corrupt);
    }
}

/// An inner node over `children`, as a root.
fn crown(tree: &Tree, children: &[(&[u8], Child)]) -> Root {
    let mut draft = Draft::new(1);
    children.iter().for_each(|(key, child)| draft.push(key, &child.to_value()).unwrap());
    let child = draft.save(tree).unwrap().1;
    Root { reference: Some(child.reference), level: 1, logical: child.logical, count: child.count }
}

fn leaf(tree: &Tree, keys: &[&[u8]]) -> Child {
    let mut draft = Draft::new(0);
    keys.iter().for_each(|key| draft.push(key, b"v").unwrap());
    draft.save(tree).unwrap().1
}

#[test]
fn a_parent_that_lies_about_a_child_is_refused() {
    let store = Memory::new();
    let tree = tree(&store, 1 << 20);
    let (a, b) = (leaf(&tree, &[b"a", b"b"]), leaf(&tree, &[b"c", b"d"]));
    let honest = crown(&tree, &[(b"b", a.clone()), (b"d", b.clone())]);
    assert_eq!(dump(&tree, &honest).len(), 4);
    let lies = [
        crown(&tree, &[(b"b", a.clone()), (b"e", b.clone())]),
        crown(&tree, &[(b"b", a.clone()), (b"d", Child { count: 3, ..b.clone() })]),
        crown(&tree, &[(b"b", a.clone()), (b"d", Child { logical: a.logical, ..b.clone() })]),
        crown(&tree, &[(b"b", a.clone()), (b"d", leaf(&tree, &[b"a", b"d"]))]),
        crown(&tree, &[(b"d", b)]),
    ];
    for lie in lies {
        assert_eq!(kind_of(tree.range(&lie, b"").collect::<Result<Vec<_>>>()), Kind::Corrupt);
        assert_eq!(kind_of(tree.walk(&lie, |_, _| Ok(true), |_, _| Ok(()))), Kind::Corrupt);
    }
}

#[test]
fn counts_that_overflow_and_empty_children_are_refused() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    let child = leaf(&tree, &[b"a"]);
    let with = |count| Child { count, ..child.clone() }.to_value();
    let mut draft = Draft::new(1);
    draft.push(b"a", &with(u64::MAX)).unwrap();
    draft.push(b"b", &with(1)).unwrap();
    assert_eq!(kind_of(draft.save(&tree)), Kind::Corrupt);
    let mut draft = Draft::new(1);
    draft.push(b"a", &with(0)).unwrap();
    assert_eq!(kind_of(draft.save(&tree)), Kind::Corrupt);
}

#[test]
fn a_tree_of_another_shape_is_read_but_does_not_verify() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    let whole = build(&tree, &sample(200, 150));
    tree.verify(&whole).unwrap();
    let one_leaf: Vec<Vec<u8>> = sample(200, 0).into_keys().collect();
    let keys: Vec<&[u8]> = one_leaf.iter().map(Vec::as_slice).collect();
    let child = leaf(&tree, &keys);
    let root = Root { reference: Some(child.reference), level: 0, logical: child.logical, count: child.count };
    assert_eq!(dump(&tree, &root).len(), 200);
    let two = crown(&tree, &[(b"b", leaf(&tree, &[b"a", b"b"])), (b"d", leaf(&tree, &[b"c", b"d"]))]);
    assert_eq!(kind_of(tree.verify(&two)), Kind::Corrupt, "no entry ends the first node");
}

#[test]
fn an_unreachable_node_is_said_to_be_so() {
    let store = Memory::new();
    let root = build(&tree(&store, 0), &sample(1_000, 150));
    store.blocks.lock().retain(|_, (level, _)| *level > 0);
    let tree = tree(&store, 0);
    assert_eq!(kind_of(tree.get(&root, &sample_key(1))), Kind::Unreachable);
    assert_eq!(kind_of(tree.edit(&root, vec![(sample_key(1), None)])), Kind::Unreachable);
    let mut range = tree.range(&root, b"");
    assert!(range.next().unwrap().is_err());
    assert!(range.next().is_none(), "ends after an error");
    assert!(tree.blocks(&root, |_, _| Ok(true)).is_ok(), "needs no leaf");
}

/// Fails every save after the first `left`.
struct Full {
    inner: Arc<Memory>,
    left: std::sync::atomic::AtomicI64,
}

impl NodeStore for Full {
    fn load(&self, reference: &crate::seal::Ref, level: u8) -> Result<Bytes> {
        self.inner.load(reference, level)
    }

    fn save(&self, level: u8, plain: &[u8]) -> Result<crate::seal::Ref> {
        if self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) <= 0 {
            return Err(crate::base::Error::new(Kind::Full, "save node", ""));
        }
        self.inner.save(level, plain)
    }
}

#[test]
fn an_edit_that_fails_leaves_the_old_tree_whole_and_can_be_repeated() {
    let store = Memory::new();
    let model = sample(2_000, 150);
    let root = build(&tree(&store, 0), &model);
    let edits: Vec<Edit> = model.keys().step_by(40).map(|k| (k.clone(), Some(value(3, 200)))).collect();
    let mut expected = model.clone();
    apply(&mut expected, &edits);
    for left in 0..20 {
        let full = Arc::new(Full { inner: store.clone(), left: left.into() });
        let tree = Tree::new(full.clone(), KEY, 1 << 22);
        assert_eq!(kind_of(tree.edit(&root, edits.clone())), Kind::Full);
        assert_eq!(dump(&tree, &root), model);
        full.left.store(i64::MAX, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(dump(&tree, &tree.edit(&root, edits.clone()).unwrap()), expected);
    }
}
