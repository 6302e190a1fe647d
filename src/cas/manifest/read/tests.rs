//! Reading against a plain vector.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;

use super::super::node::tests::reference;
use super::super::tests::{any_extents, canonical, fake, real_file, store, total};
use super::super::write;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn bytes_read_anywhere_are_those_of_the_model(
        pieces in prop::collection::vec((prop::bool::weighted(0.3), 0_usize..3000), 0..150),
        tail in 0_usize..5000,
        reads in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..9000), 1..30),
    ) {
        let s = store();
        let (content, mut model) = real_file(&s, &pieces);
        model.resize(model.len() + tail, 0);
        for (offset, len) in reads {
            let offset = offset.index(model.len() + 100);
            let mut buffer = vec![0xee; len];
            let got = read_at(&s.blocks, &content, model.len() as u64, offset as u64, &mut buffer).unwrap();
            let expected = model.get(offset..(offset + len).min(model.len())).unwrap_or_default();
            prop_assert_eq!(got, expected.len());
            prop_assert_eq!(&buffer[..got], expected);
        }
    }

    #[test]
    fn iteration_starts_at_the_extent_that_covers_the_offset(list in any_extents(1200), from: prop::sample::Index, tail in 0_u64..100) {
        let s = store();
        let content = write(&s.blocks, list.clone()).unwrap();
        let mut model = Vec::new();
        let mut at = 0;
        for extent in canonical(&list) {
            model.push(Span { start: at, extent });
            at += extent.len();
        }
        let size = at + tail;
        if tail > 0 {
            model.push(Span { start: at, extent: Extent::Hole(tail) });
        }
        let from = from.index(usize::try_from(size).unwrap() + 10) as u64;
        let expected: Vec<Span> = model.into_iter().filter(|span| span.end() > from).collect();
        let got: Vec<Span> = extents(&s.blocks, &content, size, from).collect::<Result<_>>().unwrap();
        prop_assert_eq!(got, expected);
    }
}

#[test]
fn inline_bytes_are_read_and_zeros_follow_them() {
    let s = store();
    let content = Content::Inline(b"hello".to_vec());
    let mut buffer = [9; 8];
    assert_eq!(read_at(&s.blocks, &content, 7, 3, &mut buffer).unwrap(), 4);
    assert_eq!(buffer, [b'l', b'o', 0, 0, 9, 9, 9, 9]);
    assert_eq!(read_at(&s.blocks, &content, 7, 7, &mut buffer).unwrap(), 0);
    let tail: Vec<Span> = extents(&s.blocks, &content, 7, 0).collect::<Result<_>>().unwrap();
    assert_eq!(tail, [Span { start: 5, extent: Extent::Hole(2) }]);
}

#[test]
fn a_size_smaller_than_the_content_ends_reading_there() {
    let s = store();
    let (content, model) = real_file(&s, &[(false, 1000), (true, 500), (false, 1000)]);
    let mut buffer = [0; 4096];
    assert_eq!(read_at(&s.blocks, &content, 1600, 900, &mut buffer).unwrap(), 700);
    assert_eq!(buffer[..700], model[900..1600]);
    assert_eq!(extents(&s.blocks, &content, 1500, 0).count(), 2);
}

#[test]
fn one_read_in_a_gibibyte_loads_two_nodes_of_the_manifest() {
    let s = store();
    let list: Vec<Extent> = (0..8192).map(|n| Extent::Data(reference(n, 128 << 10))).collect();
    let content = write(&s.blocks, list.clone()).unwrap();
    assert!(matches!(content, Content::Tree { level: 1, .. }));
    s.blocks.forget_caches();
    let found = extents(&s.blocks, &content, 1 << 30, 777_777_777).next().unwrap().unwrap();
    assert_eq!(found.extent, list[usize::try_from(found.start >> 17).unwrap()]);
    let loaded = s.blocks.stat().cached_bytes;
    assert!(loaded < 2 * (1024 * 96 + 512), "{loaded} bytes of decoded nodes");
    extents(&s.blocks, &content, 1 << 30, 777_777_777).next().unwrap().unwrap();
    assert_eq!(s.blocks.stat().cached_bytes, loaded);
}

#[test]
fn a_failed_step_ends_the_iteration() {
    let here = store();
    let list = fake(0, 3000);
    let content = write(&here.blocks, list.clone()).unwrap();
    let there = store();
    let mut iterator = extents(&there.blocks, &content, total(&list), 0);
    assert_eq!(iterator.next().unwrap().unwrap_err().kind(), Kind::Unreachable);
    assert!(iterator.next().is_none());
}
