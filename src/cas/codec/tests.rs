//! Compression there and back, hostile bodies, guesses.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use proptest::prelude::*;

use super::*;
use crate::cas::chunk::tests::noise;

fn packed(plain: &[u8]) -> Option<Vec<u8>> {
    compress(plain, |body| body.map(<[u8]>::to_vec))
}

fn text(len: usize) -> Vec<u8> {
    let words = ["lovage ", "block ", "manifest ", "the ", "tree ", "of ", "sealed ", "\n", "chunk ", "reference "];
    noise(9, len).iter().flat_map(|b| words[usize::from(*b) % words.len()].bytes()).take(len).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_compressed_comes_back(seed: u64, len in 0_usize..50_000, alphabet in 1_u8..=255) {
        let plain: Vec<u8> = noise(seed, len).iter().map(|b| b % alphabet).collect();
        if let Some(body) = packed(&plain) {
            prop_assert!(body.len() * 100 < plain.len() * 95 + 100);
            prop_assert_eq!(decompress(&body, len).unwrap(), plain);
        }
    }

    #[test]
    fn hostile_bodies_are_refused_without_panic(body in prop::collection::vec(any::<u8>(), 0..2000), len in 0_usize..100_000) {
        if let Ok(plain) = decompress(&body, len) {
            prop_assert_eq!(plain.len(), len);
        }
    }

    #[test]
    fn damaged_frames_never_give_another_length(flip in 0_usize..1000, bit in 0_u8..8, len in 100_usize..20_000) {
        let mut body = packed(&text(len)).unwrap();
        let at = flip % body.len();
        body[at] ^= 1 << bit;
        if let Ok(plain) = decompress(&body, len) {
            prop_assert_eq!(plain.len(), len);
        }
    }
}

#[test]
fn text_shrinks_to_less_than_half() {
    let plain = text(128 << 10);
    assert!(packed(&plain).unwrap().len() * 100 < plain.len() * 45);
}

#[test]
fn the_length_must_match_exactly() {
    let plain = text(10_000);
    let body = packed(&plain).unwrap();
    for len in [0, 1, 9_999, 10_001, 1 << 20] {
        assert_eq!(decompress(&body, len).unwrap_err().kind(), Kind::Corrupt);
    }
    let mut longer = body.clone();
    longer.push(0);
    assert_eq!(decompress(&longer, 10_000).unwrap_err().kind(), Kind::Corrupt, "no bytes after the frame");
}

#[test]
fn a_bomb_stops_at_the_declared_length() {
    let body = packed(&vec![0; 4 << 20]).unwrap();
    assert!(body.len() < 1000);
    assert_eq!(decompress(&body, 4096).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn noise_is_left_alone_and_looks_it() {
    for len in [0, 1, 63, 5000, 8192, 128 << 10, 512 << 10] {
        assert!(packed(&noise(1, len)).is_none(), "{len}");
    }
    assert!(looks_incompressible(&noise(2, 128 << 10)));
}

#[test]
fn patterns_with_even_byte_counts_are_not_taken_for_noise() {
    let counting: Vec<u8> = (0..128 << 10).map(|i: u32| i.to_le_bytes()[0]).collect();
    assert!(packed(&counting).is_some());
    let repeated = noise(3, 400).repeat(400);
    assert!(packed(&repeated).is_some());
    let sparse: Vec<u8> = noise(4, 64 << 10).into_iter().chain(vec![0; 64 << 10]).collect();
    assert!(packed(&sparse).is_some());
}

#[test]
fn base64_of_noise_is_worth_compressing() {
    let plain: Vec<u8> = noise(5, 128 << 10).iter().map(|b| b'A' + (b & 63) % 58).collect();
    assert!(packed(&plain).is_some());
}
