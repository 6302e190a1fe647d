//! Node bytes: round trips, hostile input, golden bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;

use super::*;
use crate::base::{Bid, hash};

/// A reference of pseudo-random id; equal seeds give equal references.
pub(crate) fn reference(seed: u64, len: u32) -> Ref {
    let id = hash(&[&seed.to_le_bytes(), &len.to_le_bytes()]);
    Ref { bid: Bid(id), siv: hash(&[&id]), epoch: 0, len }
}

fn data(seed: u64, len: u32) -> Entry {
    Extent::Data(reference(seed, len)).into()
}

fn hole(span: u64) -> Entry {
    Entry { span, block: None }
}

/// Entries as a writer would put them into one node.
fn one_node(seed: u64, count: usize, level: u8) -> Vec<Entry> {
    let mut entries = Vec::new();
    for n in 0..count as u64 {
        if level == 0 && n % 5 == 3 {
            entries.push(hole(n + 1));
        }
        let r = reference(seed.wrapping_add(n), 1000);
        let span = if level == 0 { 1000 } else { 1_000_000 + n };
        entries.push(Entry { span, block: Some(r) });
        if ends_node(entries.len(), entries.last().unwrap()) {
            break;
        }
    }
    entries
}

proptest! {
    #[test]
    fn a_node_round_trips(seed: u64, count in 1_usize..1000, level in 0_u8..4) {
        let entries = one_node(seed, count, level);
        let node = Node::decode(&encode(level, &entries), level).unwrap();
        prop_assert_eq!(node.entries(), &entries[..]);
        prop_assert_eq!(node.span(), entries.iter().map(|e| e.span).sum::<u64>());
        prop_assert_eq!(Node::decode(&encode(level, &entries), level + 1).unwrap_err().kind(), Kind::Corrupt);
    }

    #[test]
    fn find_gives_the_entry_that_covers_an_offset(seed: u64, count in 1_usize..300, offset in 0_u64..400_000) {
        let entries = one_node(seed, count, 0);
        let node = Node::decode(&encode(0, &entries), 0).unwrap();
        match node.get(node.find(offset)) {
            Some((start, entry)) => prop_assert!(start <= offset && offset < start + entry.span),
            None => prop_assert!(offset >= node.span()),
        }
    }

    #[test]
    fn hostile_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400), level in 0_u8..3, count in 0_u16..6) {
        drop(Node::decode(&bytes, level));
        let mut framed = vec![VERSION, level];
        framed.extend_from_slice(&count.to_le_bytes());
        framed.extend_from_slice(&bytes);
        drop(Node::decode(&framed, level));
    }

    #[test]
    fn whatever_decodes_is_canonical(seed: u64, count in 1_usize..40, at: usize, bit in 0_u8..8) {
        let mut bytes = encode(0, &one_node(seed, count, 0));
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        if let Ok(node) = Node::decode(&bytes, 0) {
            prop_assert_eq!(encode(0, node.entries()), bytes);
        }
    }

    #[test]
    fn truncated_and_longer_nodes_are_refused(seed: u64, count in 1_usize..20, cut: usize) {
        let bytes = encode(1, &one_node(seed, count, 1));
        let cut = cut % bytes.len();
        prop_assert!(Node::decode(&bytes[..cut], 1).is_err());
        prop_assert!(Node::decode(&[&bytes[..], &[0]].concat(), 1).is_err());
    }
}

#[test]
fn nodes_no_writer_makes_are_refused() {
    let overlong: Vec<Entry> = (0..1025).map(|n| data(n, 1)).collect();
    let complete = {
        let mut entries: Vec<Entry> = (0..1023).map(|_| data(1, 1)).collect();
        assert!(ends_node(1023, &entries[0]));
        entries.push(data(1, 1));
        entries
    };
    let cases: [(&str, u8, Vec<Entry>); 8] = [
        ("empty", 0, vec![]),
        ("empty block", 0, vec![data(1, 0)]),
        ("empty hole", 0, vec![hole(0), data(1, 1)]),
        ("two halves of a hole", 0, vec![hole(1), hole(1), data(1, 1)]),
        ("trailing hole", 0, vec![data(1, 1), hole(1)]),
        ("longer than a file can be", 0, vec![hole(u64::MAX - 1), data(1, 1)]),
        ("more than 1024 entries", 0, overlong),
        ("goes on behind its end", 0, complete),
    ];
    for (why, level, entries) in cases {
        assert!(Node::decode(&encode(level, &entries), level).is_err(), "{why}");
    }
    let overflow = [u64::MAX, 1].map(|span| Entry { span, block: Some(reference(1, 1)) });
    assert!(Node::decode(&encode(1, &overflow), 1).is_err());
}

#[test]
fn a_node_ends_after_192_entries_beyond_the_least_64_on_average() {
    let (mut nodes, mut count) = (0, 0);
    for n in 0..200_000 {
        count += 1;
        if ends_node(count, &data(n, 1)) {
            assert!((64..1024).contains(&count));
            (nodes, count) = (nodes + 1, 0);
        }
    }
    let mean = 200_000 / nodes;
    assert!((230..280).contains(&mean), "{mean}");
}

#[test]
fn the_bytes_of_known_nodes_never_change() {
    let r = Ref { bid: Bid([0x11; 32]), siv: [0x22; 32], epoch: 3, len: 0x0102_0304 };
    let leaf = encode(0, &[hole(0x0a0b), Extent::Data(r).into()]);
    let golden = [
        vec![1, 0, 2, 0],
        vec![0, 0x0b, 0x0a, 0, 0, 0, 0, 0, 0],
        [vec![1], vec![0x11; 32], vec![0x22; 32], vec![3, 0, 0, 0, 4, 3, 2, 1]].concat(),
    ];
    assert_eq!(leaf, golden.concat());
    let inner = encode(2, &[Entry { span: 0x0a0b_0c0d, block: Some(r) }]);
    let golden = [
        vec![1, 2, 1, 0],
        vec![0x0d, 0x0c, 0x0b, 0x0a, 0, 0, 0, 0],
        [vec![0x11; 32], vec![0x22; 32], vec![3, 0, 0, 0, 4, 3, 2, 1]].concat(),
    ];
    assert_eq!(inner, golden.concat());
}
