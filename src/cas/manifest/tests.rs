//! Manifests as a whole, and the model the other manifest tests share.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::HashSet;

use proptest::prelude::*;

use super::node::tests::reference;
use super::*;
use crate::cas::Options;
use crate::cas::blocks::tests::{Scratch, damage, scratch};
use crate::cas::chunk::tests::noise;

pub(crate) fn store() -> Scratch {
    scratch(Options::default())
}

/// `count` data extents of no block that exists: manifests do not look.
pub(crate) fn fake(seed: u64, count: u64) -> Vec<Extent> {
    (0..count).map(|n| Extent::Data(reference(seed + n, 1000 + u32::try_from(n % 7).unwrap()))).collect()
}

pub(crate) fn total(extents: &[Extent]) -> u64 {
    extents.iter().map(Extent::len).sum()
}

/// What is canonical: adjacent holes merged, no empty ones, none at the end.
pub(crate) fn canonical(extents: &[Extent]) -> Vec<Extent> {
    let mut out: Vec<Extent> = Vec::new();
    for extent in extents {
        match (out.last_mut(), extent) {
            (_, Extent::Hole(0)) => {}
            (Some(Extent::Hole(last)), Extent::Hole(more)) => *last += more,
            _ => out.push(*extent),
        }
    }
    if let Some(Extent::Hole(_)) = out.last() {
        out.pop();
    }
    out
}

pub(crate) fn listed(blocks: &Blocks, content: &Content) -> Vec<Extent> {
    let all: Vec<Span> = extents(blocks, content, u64::MAX >> 1, 0).collect::<Result<_>>().unwrap();
    let mut at = 0;
    for span in &all {
        assert_eq!(span.start, at, "without gaps");
        at = span.end();
    }
    assert_eq!(at, u64::MAX >> 1, "up to the size");
    canonical(&all.iter().map(|span| span.extent).collect::<Vec<_>>())
}

pub(crate) fn any_extents(most: usize) -> impl Strategy<Value = Vec<Extent>> {
    let one = prop_oneof![
        4 => (0_u64..50, 1_u32..5000).prop_map(|(seed, len)| Extent::Data(reference(seed, len))),
        1 => (0_u64..10_000).prop_map(Extent::Hole),
    ];
    prop::collection::vec(one, 0..most)
}

#[test]
fn serde_keeps_content_and_refuses_oversized_inline_bytes() {
    let r = reference(1, 77);
    for content in
        [Content::Empty, Content::Inline(vec![1; 256]), Content::Single(r), Content::Tree { root: r, level: 2 }]
    {
        let bytes = postcard::to_allocvec(&content).unwrap();
        assert_eq!(postcard::from_bytes::<Content>(&bytes).unwrap(), content);
    }
    for bad in [Content::Inline(vec![1; 257]), Content::Inline(vec![])] {
        let bytes = postcard::to_allocvec(&bad).unwrap();
        assert!(postcard::from_bytes::<Content>(&bytes).is_err());
    }
    assert_eq!(Content::inline(b"").unwrap(), Content::Empty);
    assert_eq!(Content::inline(b"x").unwrap(), Content::Inline(b"x".to_vec()));
    assert_eq!(Content::inline(&[0; 257]).unwrap_err().kind(), Kind::TooBig);
}

#[test]
fn the_bytes_of_a_content_never_change() {
    let r = reference(1, 77);
    let tagged = |tag: u8, rest: &[u8]| [&[tag], rest].concat();
    let cases = [
        (Content::Empty, tagged(0, &[])),
        (Content::Inline(b"ab".to_vec()), tagged(1, b"\x02ab")),
        (Content::Single(r), tagged(2, &r.to_bytes())),
        (Content::Tree { root: r, level: 3 }, tagged(3, &[&r.to_bytes()[..], &[3]].concat())),
    ];
    for (content, bytes) in cases {
        assert_eq!(postcard::to_allocvec(&content).unwrap(), bytes);
    }
}

#[test]
fn walking_visits_every_block_once_and_can_skip() {
    let s = store();
    let list = fake(0, 5000);
    let content = write(&s.blocks, list.clone()).unwrap();
    let (mut data, mut nodes) = (Vec::new(), Vec::new());
    blocks(&s.blocks, &content, |t, level, r| {
        match t {
            BlockType::Data => data.push(Extent::Data(*r)),
            _ => nodes.push((level, *r)),
        }
        Ok(true)
    })
    .unwrap();
    assert_eq!(data, list);
    assert!(nodes.iter().all(|(_, r)| s.blocks.contains(r)));
    assert!(nodes.len() > 10 && nodes.iter().filter(|(level, _)| *level == 1).count() == 1);
    let mut seen = 0;
    blocks(&s.blocks, &content, |_, level, _| {
        seen += 1;
        Ok(level > 0)
    })
    .unwrap();
    assert_eq!(seen, nodes.len(), "leaves are seen, not entered");
}

#[test]
fn a_node_that_lies_about_what_is_below_is_refused() {
    let s = store();
    let leaf = node::encode(0, &[Extent::Data(reference(1, 10)).into()]);
    let child = s.blocks.put(BlockType::Manifest, 0, &leaf).unwrap();
    let lie = |span| {
        let entries = [node::Entry { span, block: Some(child) }, node::Entry { span, block: Some(child) }];
        s.blocks.put(BlockType::Manifest, 1, &node::encode(1, &entries)).unwrap()
    };
    for (span, good) in [(10, true), (9, false), (11, false)] {
        let content = Content::Tree { root: lie(span), level: 1 };
        let listed: Result<Vec<Span>> = extents(&s.blocks, &content, 20, 0).collect();
        assert_eq!(listed.is_ok(), good, "{span}");
        assert_eq!(blocks(&s.blocks, &content, |_, _, _| Ok(true)).is_ok(), good);
    }
    let deep = Content::Tree { root: child, level: 200 };
    assert_eq!(blocks(&s.blocks, &deep, |_, _, _| Ok(true)).unwrap_err().kind(), Kind::Corrupt);
    let wrong_level = Content::Tree { root: child, level: 1 };
    assert_eq!(blocks(&s.blocks, &wrong_level, |_, _, _| Ok(true)).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn damaged_and_missing_nodes_are_told_apart() {
    let s = store();
    let content = write(&s.blocks, fake(0, 3000)).unwrap();
    let mut nodes = Vec::new();
    blocks(&s.blocks, &content, |t, level, r| {
        if t == BlockType::Manifest {
            nodes.push((level, *r));
        }
        Ok(true)
    })
    .unwrap();
    let leaves: HashSet<_> = nodes.iter().filter(|(level, _)| *level == 0).map(|(_, r)| r.bid).collect();
    damage(&s, leaves.iter().next().unwrap());
    s.blocks.forget_caches();
    let failed: Result<Vec<Span>> = extents(&s.blocks, &content, 1 << 40, 0).collect();
    assert_eq!(failed.unwrap_err().kind(), Kind::Corrupt);
    let elsewhere = store();
    let failed: Result<Vec<Span>> = extents(&elsewhere.blocks, &content, 1 << 40, 0).collect();
    assert_eq!(failed.unwrap_err().kind(), Kind::Unreachable);
}

/// Real bytes with holes, against a plain vector.
pub(crate) fn real_file(s: &Scratch, pieces: &[(bool, usize)]) -> (Content, Vec<u8>) {
    let (mut list, mut model) = (Vec::new(), Vec::new());
    for (i, (is_hole, len)) in pieces.iter().enumerate() {
        if *is_hole || *len == 0 {
            list.push(Extent::Hole(*len as u64));
            model.resize(model.len() + len, 0);
        } else {
            let bytes = noise(i as u64, *len);
            list.push(Extent::Data(s.blocks.put(BlockType::Data, 0, &bytes).unwrap()));
            model.extend_from_slice(&bytes);
        }
    }
    (write(&s.blocks, list).unwrap(), model)
}
