//! A part reads as the whole does, and neither aside nor block can be changed unnoticed.

use proptest::prelude::*;

use super::*;
use crate::base::{Kind, VolumeId};
use crate::seal::EpochSecret;

fn sealer(seed: u8) -> Sealer {
    Sealer::new(VolumeId([9; 16]), &[(0, EpochSecret::new([seed; 32]))]).unwrap()
}

fn noise(len: usize) -> Vec<u8> {
    (0..len).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1].wrapping_mul(57)).collect()
}

fn seal(s: &Sealer, plain: &[u8], salt: Option<[u8; 16]>) -> (Ref, Vec<u8>, Vec<u8>) {
    let mut sealed = Vec::new();
    let len = u32::try_from(plain.len()).unwrap();
    let (r, aside) = s.seal_data(Codec::Raw, plain, len, salt, &mut sealed).unwrap();
    (r, aside, sealed)
}

fn read(s: &Sealer, r: &Ref, aside: &[u8], sealed: &[u8], wanted: Range<usize>) -> Option<Vec<u8>> {
    let part = s.part(r, aside, wanted)?;
    let mut bytes = sealed.get(part.sealed.clone())?.to_vec();
    let range = part.open(&mut bytes)?;
    Some(bytes[range].to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_part_reads_as_the_whole_does(
        len in 6 * GROUP..300_000_usize, salt: Option<[u8; 16]>, places in proptest::collection::vec(any::<(u32, u16)>(), 20)
    ) {
        let (s, plain) = (sealer(1), noise(len));
        let (r, aside, sealed) = seal(&s, &plain, salt);
        let mut whole = Vec::new();
        let again = s.seal(BlockType::Data, 0, Codec::Raw, &plain, r.len, salt, &mut whole).unwrap();
        prop_assert!(again == r && whole == sealed, "an aside changes nothing about the block");
        for (from, wanted) in places {
            let from = from as usize % len;
            let to = (from + 1 + wanted as usize).min(len);
            prop_assert!(read(&s, &r, &aside, &sealed, from..to).unwrap() == plain[from..to]);
        }
        let (_, noted) = s.reopen_noting(&r, &mut sealed.clone()).unwrap();
        prop_assert_eq!(noted, aside);
    }
}

#[test]
fn parts_at_every_border_are_right() {
    let (s, plain) = (sealer(1), noise(5 * GROUP + 3));
    let (r, aside, sealed) = seal(&s, &plain, None);
    let around = |n: usize| n.saturating_sub(18)..(n + 3).min(plain.len());
    for border in 0..=6 {
        for from in around(border * GROUP) {
            for to in [from + 1, from + 17, from + 4096, from + GROUP, plain.len()] {
                let to = to.min(plain.len());
                assert!(read(&s, &r, &aside, &sealed, from..to).unwrap() == plain[from..to], "{from}..{to}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_in_an_aside_is_always_noticed() {
    let s = sealer(1);
    let (r, aside, _) = seal(&s, &noise(70_000), None);
    assert_eq!(aside.len(), MARK + 1 + 9 * 32);
    for bit in 0..aside.len() * 8 {
        let mut bad = aside.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(s.part(&r, &bad, 0..1).is_none(), "bit {bit}");
    }
    for len in 0..aside.len() {
        assert!(s.part(&r, &aside[..len], 0..1).is_none());
    }
    assert!(s.part(&r, &[&aside[..], &[0; 32]].concat(), 0..1).is_none());
}

#[test]
fn a_flipped_bit_in_a_group_is_noticed_and_does_no_harm_elsewhere() {
    let (s, plain) = (sealer(1), noise(70_000));
    let (r, aside, sealed) = seal(&s, &plain, Some([3; 16]));
    for at in (0..sealed.len()).step_by(997).chain([0, GROUP - 5, GROUP - 4, sealed.len() - 1]) {
        let mut bad = sealed.clone();
        bad[at] ^= 1 << (at % 8);
        for from in (0..plain.len() - 4096).step_by(4096) {
            let touched = s.part(&r, &aside, from..from + 4096).unwrap().sealed.contains(&at);
            let found = read(&s, &r, &aside, &bad, from..from + 4096);
            assert_eq!(found, (!touched).then(|| plain[from..from + 4096].to_vec()), "byte {at}, read at {from}");
        }
    }
}

#[test]
fn short_bytes_other_references_and_other_keys_are_refused() {
    let (s, plain) = (sealer(1), noise(70_000));
    let (r, aside, sealed) = seal(&s, &plain, None);
    let part = s.part(&r, &aside, 100..200).unwrap();
    assert!(part.open(&mut sealed[part.sealed.start..part.sealed.end - 1].to_vec()).is_none());
    assert!(part.open(&mut []).is_none());
    assert!(sealer(2).part(&r, &aside, 0..1).is_none());
    let others =
        [Ref { len: r.len - 1, ..r }, Ref { siv: [0; 32], ..r }, Ref { bid: Bid([0; 32]), ..r }, Ref { epoch: 7, ..r }];
    for other in others {
        assert!(s.part(&other, &aside, 0..1).is_none());
    }
    for wanted in [0..0, 5..5, 69_999..70_001, usize::MAX - 1..usize::MAX] {
        assert!(s.part(&r, &aside, wanted).is_none());
    }
}

#[test]
fn compressed_and_small_blocks_have_no_aside() {
    let s = sealer(1);
    let mut sealed = Vec::new();
    let (r, aside) = s.seal_data(Codec::Zstd, &noise(70_000), 90_000, None, &mut sealed).unwrap();
    assert!(aside.is_empty() && s.part(&r, &aside, 0..1).is_none());
    assert!(s.reopen_noting(&r, &mut sealed).unwrap().1.is_empty());
    let (r, aside, mut sealed) = seal(&s, &noise(20_000), None);
    assert!(aside.is_empty());
    assert!(s.reopen_noting(&r, &mut sealed).unwrap().1.is_empty());
}

#[test]
fn a_damaged_block_gives_no_aside() {
    let s = sealer(1);
    let (r, _, mut sealed) = seal(&s, &noise(70_000), None);
    sealed[50_000] ^= 1;
    assert_eq!(s.reopen_noting(&r, &mut sealed).unwrap_err().kind(), Kind::Corrupt);
}
