//! Placement: how many, how much, and that nothing moves that need not.
#![allow(clippy::unwrap_used, clippy::cast_precision_loss)]

use proptest::prelude::*;

use super::*;

const VOLUME: VolumeId = VolumeId([7; 16]);
const LARGE: u64 = EVERYWHERE + 1;

fn place(n: u8, class: u8) -> Place {
    Place { peer: [n; 32], class: Some(class) }
}

/// A block of the span.
fn block(span: usize) -> Bid {
    let mut bid = Bid([0xaa; 32]);
    let [a, b] = u16::try_from(span << 4 | 0xf).unwrap().to_be_bytes();
    (bid.0[0], bid.0[1]) = (a, b);
    bid
}

fn keepers(placement: &Placement, span: usize) -> Vec<u8> {
    placement.keepers(&block(span), LARGE).map(|peer| peer[0]).collect()
}

#[test]
fn logarithms_are_as_of_the_library() {
    for n in [1, 2, 3, 5, 1 << 20, (1 << 40) + 12345, u64::MAX / 3, u64::MAX] {
        let near = (n as f64).log2() * (1_u64 << PLACES) as f64;
        assert!((log2(n) as f64 - near).abs() < 4096.0, "{n}: {} and {near}", log2(n));
    }
}

#[test]
fn places_are_golden() {
    let placement = Placement::new(VOLUME, 2, &[place(1, 30), place(2, 31), place(3, 30), place(4, 28)]);
    let first: Vec<_> = (0..8).map(|span| keepers(&placement, span)).collect();
    assert_eq!(first, GOLDEN);
    let all: Vec<u8> = placement.0.values().flat_map(Share::to_bytes).collect();
    assert_eq!(Bid(hash(&[&all])).to_string(), GOLDEN_ALL);
}

// By another program, which knows the rule and BLAKE3 only.
const GOLDEN: [[u8; 2]; 8] = [[1, 2], [1, 2], [2, 3], [1, 3], [1, 2], [1, 2], [1, 3], [1, 3]];
const GOLDEN_ALL: &str = "bc01d2cf63ae01f47c14a42edf8ca2ad474318c4409f5fb353a8a976743d01a3";

#[test]
fn all_means_all_and_so_do_as_many_as_there_are() {
    for (copies, boxes) in [(0, 3), (3, 3), (16, 3), (1, 1), (0, 0)] {
        let places: Vec<_> = (0..boxes).map(|n| place(n, 20 + n)).collect();
        let placement = Placement::new(VOLUME, copies, &places);
        assert!(places.iter().all(|p| placement.share(&p.peer) == Some(&Share::ALL)));
        assert_eq!(Share::ALL.permille(), 1000);
    }
    assert_eq!(Placement::new(VOLUME, 2, &[]).share(&[1; 32]), None);
}

#[test]
fn small_blocks_go_everywhere() {
    let places: Vec<_> = (0..5).map(|n| place(n, 30)).collect();
    let placement = Placement::new(VOLUME, 1, &places);
    for span in 0..SPANS {
        assert_eq!(placement.keepers(&block(span), EVERYWHERE).count(), 5);
        assert_eq!(placement.keepers(&block(span), LARGE).count(), 1);
    }
}

#[test]
fn shares_are_as_the_room() {
    let places = [place(1, 40), place(2, 41), place(3, 40), place(4, 42)];
    let placement = Placement::new(VOLUME, 1, &places);
    for (place, eighths) in places.iter().zip([1, 2, 1, 4]) {
        let (got, due) = (placement.share(&place.peer).unwrap().permille(), 125 * eighths);
        assert!(got.abs_diff(due) < 25, "{got} for {due}");
    }
}

#[test]
fn one_of_unknown_room_counts_as_the_middle_of_the_others() {
    let known = [place(1, 20), place(2, 30), place(3, 40)];
    let unknown = Place { peer: [9; 32], class: None };
    let with = |class| Placement::new(VOLUME, 2, &[&known[..], &[Place { class, ..unknown }]].concat());
    assert_eq!(with(None), with(Some(30)));
    let nothing_known = |class| [1, 2, 3].map(|n| Place { peer: [n; 32], class });
    assert_eq!(Placement::new(VOLUME, 2, &nothing_known(None)), Placement::new(VOLUME, 2, &nothing_known(Some(7))));
}

#[test]
fn shares_are_stored_and_compared() {
    let three: Vec<_> = (0..3).map(|n| place(n, 30)).collect();
    let placement = Placement::new(VOLUME, 1, &three);
    let fewer = Placement::new(VOLUME, 1, &three[..2]);
    let (small, large) = (placement.share(&[0; 32]).unwrap(), fewer.share(&[0; 32]).unwrap());
    assert!(small.is_within(large) && !large.is_within(small), "the share of the third went to the others");
    assert!(Share::NONE.is_within(small) && large.is_within(&Share::ALL));
    assert_eq!(Share::from_bytes(&small.to_bytes()).as_ref(), Some(small));
    assert_eq!(Share::from_bytes(&small.to_bytes()[1..]), None);
    assert_eq!(Share::from_bytes(&[&small.to_bytes()[..], &[0]].concat()), None);
}

/// Boxes of different names, with rooms not too far apart.
fn boxes() -> impl Strategy<Value = Vec<Place>> {
    proptest::collection::btree_map(any::<u8>(), 30..34_u8, 1..9)
        .prop_map(|all| all.into_iter().map(|(n, class)| place(n, class)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_span_has_as_many_keepers_as_asked_for(places in boxes(), copies in 1..6_u8) {
        let placement = Placement::new(VOLUME, copies, &places);
        let due = places.len().min(usize::from(copies));
        for span in 0..SPANS {
            prop_assert_eq!(keepers(&placement, span).len(), due);
        }
    }

    #[test]
    fn the_order_of_members_is_nothing(places in boxes(), copies in 0..4_u8) {
        let mut other = places.clone();
        other.reverse();
        prop_assert_eq!(Placement::new(VOLUME, copies, &places), Placement::new(VOLUME, copies, &other));
    }

    #[test]
    fn another_box_takes_its_share_and_moves_nothing_else(places in boxes(), copies in 1..4_u8, class in 30..34_u8) {
        let new = Place { peer: [255; 32], class: Some(class) };
        let old: Vec<_> = places.iter().filter(|p| p.peer != new.peer).copied().collect();
        let (before, after) = (Placement::new(VOLUME, copies, &old), Placement::new(VOLUME, copies, &[&old[..], &[new]].concat()));
        let mut taken = 0;
        for span in 0..SPANS {
            let (before, after) = (keepers(&before, span), keepers(&after, span));
            // Whoever keeps it now kept it before, but for the new one.
            prop_assert!(after.iter().all(|n| *n == 255 || before.contains(n)));
            taken += usize::from(after.contains(&255));
        }
        let weight = |p: &Place| f64::from(1_u32 << (p.class.unwrap() - 30));
        let all: f64 = old.iter().chain([&new]).map(weight).sum();
        let due = (f64::from(copies) * weight(&new) / all).min(1.0);
        // Where several of unlike ones are drawn, those with little room come in more often than that.
        let simple = copies == 1 || old.iter().all(|p| p.class == new.class);
        prop_assert!(!simple || (taken as f64 / SPANS as f64 - due).abs() < 0.04, "{} of {}", taken, due);
    }
}
