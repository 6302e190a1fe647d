//! Writing and splicing against lists of extents.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::collections::HashSet;

use proptest::prelude::*;

use super::super::node::tests::reference;
use super::super::tests::{any_extents, canonical, fake, listed, store, total};
use super::*;
use crate::cas::manifest::{blocks, splice};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn what_was_written_is_listed_again(list in any_extents(2000)) {
        let s = store();
        let content = write(&s.blocks, list.clone()).unwrap();
        prop_assert_eq!(listed(&s.blocks, &content), canonical(&list));
        prop_assert_eq!(write(&s.blocks, canonical(&list)).unwrap(), content);
    }

    #[test]
    fn a_splice_gives_what_writing_anew_gives(
        list in any_extents(1500), new in any_extents(40), from: prop::sample::Index, to: prop::sample::Index,
    ) {
        let s = store();
        let list = canonical(&list);
        let old = write(&s.blocks, list.clone()).unwrap();
        let (from, to) = (from.index(list.len() + 1), to.index(list.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        let range = total(&list[..from])..total(&list[..to]);
        let expected = [&list[..from], &new, &list[to..]].concat();
        let spliced = splice(&s.blocks, &old, range, new).unwrap();
        prop_assert_eq!(spliced, write(&s.blocks, expected).unwrap());
    }

    #[test]
    fn many_splices_leave_no_trace_of_their_order(edits in prop::collection::vec((any::<prop::sample::Index>(), 0_u64..99), 1..20)) {
        let s = store();
        let mut model = fake(500, 900);
        let mut content = write(&s.blocks, model.clone()).unwrap();
        for (at, seed) in edits {
            let at = at.index(model.len());
            let start = total(&model[..at]);
            let new = Extent::Data(reference(seed, 1234));
            content = splice(&s.blocks, &content, start..start + model[at].len(), [new]).unwrap();
            model[at] = new;
        }
        prop_assert_eq!(write(&s.blocks, model).unwrap(), content);
    }
}

#[test]
fn small_contents_need_no_manifest() {
    let s = store();
    let r = reference(1, 500);
    let of = |list: &[Extent]| write(&s.blocks, list.iter().copied()).unwrap();
    assert_eq!(of(&[]), Content::Empty);
    assert_eq!(of(&[Extent::Hole(1 << 40)]), Content::Empty, "the size is the caller's");
    assert_eq!(of(&[Extent::Data(r)]), Content::Single(r));
    assert_eq!(of(&[Extent::Data(r), Extent::Hole(9)]), Content::Single(r));
    assert!(matches!(of(&[Extent::Hole(9), Extent::Data(r)]), Content::Tree { level: 0, .. }));
    assert_eq!(s.blocks.log().stat().blocks, 1);
}

#[test]
fn impossible_extents_are_refused() {
    let s = store();
    let kind = |list: Vec<Extent>| write(&s.blocks, list).unwrap_err().kind();
    assert_eq!(kind(vec![Extent::Data(reference(1, 0))]), Kind::Invalid);
    assert_eq!(kind(vec![Extent::Hole(limits::MAX_FILE), Extent::Data(reference(1, 1))]), Kind::TooBig);
    assert_eq!(kind(vec![Extent::Hole(u64::MAX), Extent::Hole(u64::MAX)]), Kind::TooBig);
}

#[test]
fn a_file_of_one_chunk_over_and_over_shares_its_nodes() {
    let s = store();
    let list = vec![Extent::Data(reference(3, 1000)); 500_000];
    let content = write(&s.blocks, list).unwrap();
    assert!(matches!(content, Content::Tree { level: 1 | 2, .. }));
    assert!(s.blocks.log().stat().blocks < 12);
}

#[test]
fn an_edit_in_a_big_file_stores_a_few_nodes() {
    let s = store();
    let list = fake(0, 100_000);
    let content = write(&s.blocks, list.clone()).unwrap();
    let before = s.blocks.log().stat().blocks;
    let start = total(&list[..50_000]);
    let new = [Extent::Data(reference(1 << 40, 10)), Extent::Hole(77)];
    let edited = splice(&s.blocks, &content, start..start, new).unwrap();
    assert!(s.blocks.log().stat().blocks - before <= 8);
    let nodes = |content: &Content| {
        let mut nodes = HashSet::new();
        blocks(&s.blocks, content, |t, _, r| Ok(t == BlockType::Manifest && nodes.insert(r.bid))).unwrap();
        nodes
    };
    let (old, new) = (nodes(&content), nodes(&edited));
    assert!(new.difference(&old).count() <= 8);
    assert!(old.len() > 300);
}

#[test]
fn ranges_may_cut_holes_but_not_blocks() {
    let s = store();
    let data = |seed| Extent::Data(reference(seed, 100));
    let old = write(&s.blocks, [data(1), Extent::Hole(1000), data(2)]).unwrap();
    let same = |range, new: &[Extent], expected: &[Extent]| {
        let spliced = splice(&s.blocks, &old, range, new.iter().copied()).unwrap();
        assert_eq!(spliced, write(&s.blocks, expected.iter().copied()).unwrap());
    };
    same(200..300, &[data(3)], &[data(1), Extent::Hole(100), data(3), Extent::Hole(800), data(2)]);
    same(100..1100, &[], &[data(1), data(2)]);
    same(0..1200, &[], &[]);
    same(1500..1600, &[data(4)], &[data(1), Extent::Hole(1000), data(2), Extent::Hole(300), data(4)]);
    same(100..u64::MAX, &[], &[data(1)]);
    for range in [50..60, 0..50, 1150..1200] {
        assert_eq!(splice(&s.blocks, &old, range, []).unwrap_err().kind(), Kind::Invalid);
    }
    let inline = Content::Inline(vec![1]);
    assert_eq!(splice(&s.blocks, &inline, 0..1, []).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn splicing_single_blocks_and_nothing_works_too() {
    let s = store();
    let (a, b) = (reference(1, 100), reference(2, 50));
    assert_eq!(splice(&s.blocks, &Content::Empty, 0..0, [Extent::Data(a)]).unwrap(), Content::Single(a));
    assert_eq!(splice(&s.blocks, &Content::Single(a), 0..100, [Extent::Data(b)]).unwrap(), Content::Single(b));
    let both = splice(&s.blocks, &Content::Single(a), 100..100, [Extent::Data(b)]).unwrap();
    assert_eq!(listed(&s.blocks, &both), [Extent::Data(a), Extent::Data(b)]);
    assert_eq!(splice(&s.blocks, &both, 0..100, []).unwrap(), Content::Single(b));
}
