//! The bytes of `docs/format-tree.md`. A change here is a new format.

use super::support::*;
use crate::base::{Bid, NodeId, keyed_hash};
use crate::seal::Ref;
use crate::tree::Root;
use crate::tree::build::Draft;
use crate::tree::node::Child;
use crate::tree::shape::Shape;

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut out, b| {
        let _ = write!(out, "{b:02x}");
        out
    })
}

#[test]
fn a_leaf_is_its_header_and_its_entries() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    let key = [&NodeId::ROOT.0[..], b"notes.txt"].concat();
    let mut draft = Draft::new(0);
    draft.push(&key, b"value").unwrap();
    draft.push(b"z", b"").unwrap();
    let (node, child) = draft.save(&tree).unwrap();
    let expected = [
        "01 00 02000000",
        "1900 05000000 0000000000006c6f76616765726f6f74 6e6f7465732e747874 76616c7565",
        "0100 00000000 7a",
    ];
    assert_eq!(hex(node.plain()), expected.concat().replace(' ', ""));
    assert_eq!(child.logical, keyed_hash(&KEY, &[node.plain()]), "leaves: over all bytes");
    assert_eq!(child.count, 2);
    assert_eq!(hex(&child.logical), "3287a57da1678ae27fe302aeadec1a1dd9c2a93223172c237ab52db72ada2ffa");
}

#[test]
fn an_inner_node_adds_the_references_which_its_logical_id_leaves_out() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    let reference = Ref { bid: Bid([0xb1; 32]), siv: [0x51; 32], epoch: 3, len: 0x1234 };
    let child = Child { logical: [0x10; 32], count: 7, reference };
    let mut draft = Draft::new(1);
    draft.push(b"m", &child.to_value()).unwrap();
    let (node, made) = draft.save(&tree).unwrap();
    let named = ["01 01 01000000", "0100 70000000 6d", &"10".repeat(32), "0700000000000000"].concat().replace(' ', "");
    let sealed = [&"b1".repeat(32), &"51".repeat(32), "03000000", "34120000"].concat();
    assert_eq!(hex(node.plain()), named.clone() + &sealed);
    let named = node.plain().slice(..named.len() / 2);
    assert_eq!(made.logical, keyed_hash(&KEY, &[&named]));
    assert_eq!(made.count, 7);
    assert_eq!(hex(&made.logical), "c0339b918e6005d055569c9f660d72fb29fbfe906a10b3997ba402e3be0b2559");
}

#[test]
fn nodes_end_where_the_formula_says() {
    let shape = Shape::new(KEY);
    let ends = |level| (0..3_000).filter(|i| shape.ends_node(level, &sample_key(*i), 189)).take(6).collect::<Vec<_>>();
    assert_eq!(ends(0), [29, 49, 76, 81, 93, 98]);
    assert_eq!(ends(1), [56, 131, 197, 250, 263, 322]);
}

#[test]
fn the_root_of_a_known_tree() {
    let store = Memory::new();
    let tree = tree(&store, 0);
    assert_eq!(hex(&tree.empty().logical), "a3c732ddd0611a0cfecb35bf8129db5ed6c871c9907be59de9439dcd2eed3645");
    let root = build(&tree, &sample(5_000, 150));
    assert_eq!((root.level, root.count), (2, 5_000));
    assert_eq!(hex(&root.logical), "f3433c670dd410e4157aae3b487dc310c49ee3e4fe6730e49c65954a1a9673ae");
    let bytes = postcard::to_stdvec(&root).unwrap();
    assert_eq!(bytes.len(), 1 + 72 + 1 + 32 + 2);
    assert_eq!(postcard::from_bytes::<Root>(&bytes).unwrap(), root);
}
