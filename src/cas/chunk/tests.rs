//! Cuts against the definition, however they are fed and wherever bytes are inserted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_precision_loss)]
use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::base::{hash, keyed_xof};

const SMALL: Chunking = Chunking::Cdc { min: 256, avg: 1024, max: 4096 };

pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    keyed_xof(&[7; 32], &[&seed.to_le_bytes()], &mut out);
    out
}

fn chunker(chunking: Chunking) -> Chunker {
    Chunker::new(&[1; 32], chunking).unwrap()
}

fn cuts(chunker: &Chunker, data: &[u8]) -> Vec<usize> {
    let (mut out, mut at) = (Vec::new(), 0);
    while at < data.len() {
        let len = chunker.cut_at(at as u64, &data[at..], true);
        assert!(len > 0);
        out.push(len);
        at += len;
    }
    out
}

/// The definition, one byte at a time, to hold the unrolled loop against.
fn naive(gear: &Gear, data: &[u8]) -> usize {
    let mut hash = 0_u64;
    for (i, byte) in data.iter().enumerate().take(gear.max) {
        hash = (hash << 1).wrapping_add(gear.table[usize::from(*byte)]);
        let (len, below) = (i + 1, if i < gear.turn { gear.rare } else { gear.frequent });
        if len > gear.min && hash < below {
            return len;
        }
    }
    data.len().min(gear.max)
}

/// Feed in pieces of the given sizes, cutting whenever a cut is known.
fn cuts_fed(chunker: &Chunker, data: &[u8], pieces: &[usize]) -> Vec<usize> {
    let (mut out, mut start, mut end) = (Vec::new(), 0, 0);
    let mut pieces = pieces.iter().cycle();
    loop {
        let eof = end == data.len();
        let len = chunker.cut_at(start as u64, &data[start..end], eof);
        if len > 0 {
            out.push(len);
            start += len;
        } else if eof {
            return out;
        } else {
            end = (end + pieces.next().unwrap()).min(data.len());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_unrolled_loop_cuts_where_the_definition_says(seed: u64, len in 0_usize..20_000) {
        let chunker = chunker(SMALL);
        let Plan::Gear(gear) = &chunker.plan else { panic!("content-defined") };
        let data = noise(seed, len);
        let mut at = 0;
        for cut in cuts(&chunker, &data) {
            prop_assert_eq!(cut, naive(gear, &data[at..]));
            at += cut;
        }
    }

    #[test]
    fn cuts_do_not_depend_on_how_the_data_is_fed(
        seed: u64,
        len in 0_usize..40_000,
        pieces in prop::collection::vec(1_usize..6000, 1..10),
        fixed: bool,
    ) {
        let chunker = chunker(if fixed { Chunking::Fixed } else { SMALL });
        let data = noise(seed, len);
        prop_assert_eq!(cuts_fed(&chunker, &data, &pieces), cuts(&chunker, &data));
    }

    #[test]
    fn a_border_between_two_parts_moves_no_cut(seed: u64, len in 0_usize..6000, border in 0_usize..6000, fixed: bool) {
        let chunker = chunker(if fixed { Chunking::Fixed } else { SMALL });
        let data = noise(seed, len);
        let (first, second) = data.split_at(border.min(len));
        prop_assert_eq!(chunker.cut_across(0, [first, second]).unwrap_or(0), chunker.cut_at(0, &data, false));
    }

    #[test]
    fn every_chunk_but_the_last_keeps_the_bounds(seed: u64, len in 0_usize..60_000, byte: u8, plain: bool) {
        let data = if plain { vec![byte; len] } else { noise(seed, len) };
        let cuts = cuts(&chunker(SMALL), &data);
        prop_assert_eq!(cuts.iter().sum::<usize>(), len);
        for (i, cut) in cuts.iter().enumerate() {
            prop_assert!(*cut <= 4096);
            prop_assert!(*cut > 256 || i + 1 == cuts.len());
        }
    }

    #[test]
    fn an_insertion_anywhere_is_forgotten_after_a_few_chunks(seed: u64, at in 0_usize..100_000, extra in 1_usize..2000) {
        let chunker = chunker(SMALL);
        let before = noise(seed, 100_000);
        let mut after = before.clone();
        after.splice(at..at, noise(!seed, extra));
        let (known, new) = (bodies(&chunker, &before), bodies(&chunker, &after));
        let fresh: usize = new.iter().filter(|(id, _)| !known.contains_key(*id)).map(|(_, len)| len).sum();
        prop_assert!(fresh < extra + 8 * 4096, "{fresh} bytes are new after inserting {extra}");
    }
}

fn bodies(chunker: &Chunker, data: &[u8]) -> std::collections::HashMap<[u8; 32], usize> {
    let mut at = 0;
    cuts(chunker, data)
        .into_iter()
        .map(|len| {
            at += len;
            (hash(&[&data[at - len..at]]), len)
        })
        .collect()
}

#[test]
fn the_default_average_is_128_kib_within_a_twentieth() {
    let data = noise(1, 64 << 20);
    let count = cuts(&chunker(Chunking::default()), &data).len();
    let average = data.len() / count;
    assert!((124 << 10..134 << 10).contains(&average), "{average}");
}

#[test]
fn a_byte_inserted_at_the_front_of_64_mib_costs_little() {
    let chunker = chunker(Chunking::default());
    let before = noise(2, 64 << 20);
    let mut after = vec![0x55];
    after.extend_from_slice(&before);
    let (known, new) = (bodies(&chunker, &before), bodies(&chunker, &after));
    let fresh: usize = new.iter().filter(|(id, _)| !known.contains_key(*id)).map(|(_, len)| len).sum();
    assert!(fresh <= 2 << 20, "{fresh}");
}

#[test]
fn another_key_cuts_elsewhere() {
    let data = noise(3, 1 << 20);
    let ends = |key: u8| {
        let mut at = 0;
        let chunker = Chunker::new(&[key; 32], SMALL).unwrap();
        cuts(&chunker, &data)
            .into_iter()
            .map(move |len| {
                at += len;
                at
            })
            .collect::<HashSet<_>>()
    };
    let (one, two) = (ends(1), ends(2));
    assert!(one.intersection(&two).count() * 20 < one.len());
}

#[test]
fn the_cuts_of_a_known_stream_never_change() {
    let data = noise(4, 2 << 20);
    let text = format!("{:?}", cuts(&chunker(Chunking::default()), &data));
    assert_eq!(text, GOLDEN, "changing this orphans the dedup of every volume");
}

const GOLDEN: &str = "[109800, 121154, 146974, 38206, 130864, 145023, 120063, 186402, 170422, 110038, 128914, \
                      138407, 110257, 107276, 107137, 187393, 38822]";

#[test]
fn fixed_chunks_follow_the_offset_alone() {
    let chunker = chunker(Chunking::Fixed);
    let data = vec![0; 3 << 20];
    assert_eq!(chunker.cut_at(0, &data, false), 128 << 10);
    assert_eq!(chunker.cut_at((64 << 20) - (128 << 10), &data, false), 128 << 10);
    assert_eq!(chunker.cut_at(64 << 20, &data, false), 1 << 20);
    assert_eq!(chunker.cut_at((64 << 20) + 5, &data, false), (1 << 20) - 5, "back to the grid");
    assert_eq!(chunker.cut_at(0, &data[..1000], true), 1000);
    assert_eq!(chunker.cut_at(0, &data[..1000], false), 0);
    assert_eq!(chunker.longest(0), 128 << 10);
    assert_eq!(chunker.longest(1 << 40), 1 << 20);
}

#[test]
fn senseless_parameters_are_refused() {
    for (min, avg, max) in
        [(0, 10, 20), (64, 64, 128), (64, 128, 128), (64, 4 << 20, 8 << 20), (1 << 20, 1 << 10, 2 << 20)]
    {
        let made = Chunker::new(&[0; 32], Chunking::Cdc { min, avg, max });
        assert_eq!(made.err().unwrap().kind(), Kind::Invalid);
    }
}

/// Throughput, for people: `cargo test --release -- --ignored --nocapture chunking_speed`.
#[test]
#[ignore = "a measurement, not a check"]
fn chunking_speed() {
    let chunker = chunker(Chunking::default());
    let data = noise(5, 256 << 20);
    for _ in 0..5 {
        let start = std::time::Instant::now();
        let count = cuts(&chunker, &data).len();
        let rate = data.len() as f64 / start.elapsed().as_secs_f64() / 1e9;
        println!("chunking: {rate:.2} GB/s, {count} chunks");
    }
}
