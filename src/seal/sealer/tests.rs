//! Tests of block sealing: round trips, determinism, tampering, nonces.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::base::limits;

const VOLUME: VolumeId = VolumeId([9; 16]);

fn secrets(epochs: u32) -> Vec<(u32, EpochSecret)> {
    (0..epochs).map(|n| (n, EpochSecret::new([u8::try_from(n).unwrap() + 1; 32]))).collect()
}

fn sealer(epochs: u32) -> Sealer {
    Sealer::new(VOLUME, &secrets(epochs)).unwrap()
}

fn seal(s: &Sealer, t: BlockType, level: u8, body: &[u8]) -> (Ref, Vec<u8>) {
    let mut out = Vec::new();
    let r = s.seal(t, level, Codec::Raw, body, u32::try_from(body.len()).unwrap(), None, &mut out).unwrap();
    (r, out)
}

fn refused(s: &Sealer, t: BlockType, level: u8, r: &Ref, sealed: &[u8]) -> bool {
    let mut buffer = sealed.to_vec();
    s.open(t, level, r, &mut buffer).is_err_and(|e| matches!(e.kind(), Kind::Corrupt | Kind::Denied))
}

/// How many rounds: more at night, by environment (`LOVAGE_MUTATIONS=1000000`).
fn rounds(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

fn any_type() -> impl Strategy<Value = BlockType> {
    proptest::sample::select(BlockType::ALL.to_vec())
}

proptest! {
    #[test]
    fn what_is_sealed_opens_again(
        t in any_type(), level: u8, body in proptest::collection::vec(any::<u8>(), 0..5000),
        salt: Option<[u8; 16]>, zstd: bool, prefix in 0..9_usize,
    ) {
        let s = sealer(2);
        let (codec, plain_len) =
            if zstd { (Codec::Zstd, 77) } else { (Codec::Raw, u32::try_from(body.len()).unwrap()) };
        let mut out = vec![5; prefix];
        let r = s.seal(t, level, codec, &body, plain_len, salt, &mut out).unwrap();
        let mut sealed = out.split_off(prefix);
        prop_assert_eq!(out, vec![5; prefix]);
        prop_assert!(Sealer::verify_bid(&r.bid, &sealed));
        let opened = s.open(t, level, &r, &mut sealed).unwrap();
        prop_assert_eq!(&sealed[opened.body], &body[..]);
        prop_assert_eq!((opened.codec, opened.plain_len, r.len, r.epoch), (codec, plain_len, plain_len, 1));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_under_an_arbitrary_reference_are_refused_without_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), siv: [u8; 32], epoch in 0..4_u32, len: u32,
        t in any_type(), level: u8, right_bid: bool,
    ) {
        let bid = if right_bid { bid_of(&bytes) } else { Bid(siv) };
        let r = Ref { bid, siv, epoch, len };
        prop_assert!(refused(&sealer(2), t, level, &r, &bytes));
    }
}

#[test]
fn a_known_block_reopens_as_it_opens_and_any_flipped_bit_is_refused() {
    let s = sealer(2);
    for len in [0, 1, 1000, 100_000] {
        let (r, sealed) = seal(&s, BlockType::Data, 0, &vec![7; len]);
        let (mut a, mut b) = (sealed.clone(), sealed.clone());
        let opened = s.open(BlockType::Data, 0, &r, &mut a).unwrap();
        let again = s.reopen(&r, &mut b).unwrap();
        assert_eq!((&opened, &a[opened.body.clone()]), (&again, &b[again.body.clone()]));
        for at in (0..sealed.len()).step_by(1 + sealed.len() / 50) {
            let mut bad = sealed.clone();
            bad[at] ^= 4;
            assert_eq!(s.reopen(&r, &mut bad).unwrap_err().kind(), Kind::Corrupt);
        }
        for wrong in [Ref { siv: [1; 32], ..r }, Ref { len: r.len + 1, ..r }] {
            assert_eq!(s.reopen(&wrong, &mut sealed.clone()).unwrap_err().kind(), Kind::Corrupt);
        }
        assert_eq!(s.reopen(&Ref { epoch: 9, ..r }, &mut sealed.clone()).unwrap_err().kind(), Kind::Denied);
        assert!(s.reopen(&r, &mut sealed[..sealed.len() - 1].to_vec()).is_err());
    }
}

/// Every block against every other's reference, type, level and epoch: only its own opens it.
#[test]
fn only_its_own_reference_type_and_level_open_a_block() {
    let (old, new) = (sealer(1), sealer(2));
    let mut blocks = Vec::new();
    for s in [&old, &new] {
        for t in BlockType::ALL {
            for level in [0, 1, 255] {
                blocks.push((t, level, seal(s, t, level, b"the same content")));
            }
        }
    }
    for (i, (t, level, (r, _))) in blocks.iter().enumerate() {
        for (j, (_, _, (other, sealed))) in blocks.iter().enumerate() {
            let adjusted = Ref { bid: other.bid, ..*r };
            let swapped_epoch = Ref { epoch: 1 - other.epoch, ..*other };
            assert_eq!(refused(&new, *t, *level, r, sealed), i != j);
            assert_eq!(refused(&new, *t, *level, &adjusted, sealed), i != j);
            assert!(refused(&new, *t, *level, &swapped_epoch, sealed));
        }
    }
}

#[test]
fn sealers_are_shared_between_threads() {
    fn shared<T: Send + Sync + Clone>(_: &T) {}
    let s = sealer(1);
    shared(&s);
    let refs: Vec<Ref> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| seal(&s, BlockType::Data, 0, &[5; 9000]).0)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    assert!(refs.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn equal_content_gives_equal_blocks_and_anything_else_differs() {
    let s = sealer(1);
    let base = seal(&s, BlockType::Data, 0, b"content");
    assert_eq!(base, seal(&s.clone(), BlockType::Data, 0, b"content"));
    let other_volume = Sealer::new(VolumeId([8; 16]), &secrets(1)).unwrap();
    let others = [
        seal(&s, BlockType::Tree, 0, b"content"),
        seal(&s, BlockType::Data, 1, b"content"),
        seal(&s, BlockType::Data, 0, b"contenu"),
        seal(&sealer(2), BlockType::Data, 0, b"content"),
        seal(&other_volume, BlockType::Data, 0, b"content"),
    ];
    for (r, sealed) in &others {
        assert!(r.siv != base.0.siv && r.bid != base.0.bid && *sealed != base.1);
    }
}

#[test]
fn a_salt_makes_equal_content_differ() {
    let s = sealer(1);
    let salted = |salt| s.seal(BlockType::Data, 0, Codec::Raw, b"same", 4, salt, &mut Vec::new()).unwrap();
    let refs = [salted(None), salted(Some([0; 16])), salted(Some([1; 16]))];
    assert!(refs[0].siv != refs[1].siv && refs[1].siv != refs[2].siv && refs[0].siv != refs[2].siv);
}

#[test]
fn old_epochs_open_and_the_newest_seals() {
    let (r, sealed) = seal(&sealer(1), BlockType::Data, 0, b"old");
    let newer = sealer(3);
    assert_eq!((r.epoch, newer.epoch()), (0, 2));
    assert!(newer.open(BlockType::Data, 0, &r, &mut sealed.clone()).is_ok());
    let (r, mut sealed) = seal(&newer, BlockType::Data, 0, b"new");
    assert_eq!(sealer(1).open(BlockType::Data, 0, &r, &mut sealed).unwrap_err().kind(), Kind::Denied);
}

#[test]
fn a_new_epoch_seals_at_once_and_who_has_not_learnt_it_cannot_read_what_it_sealed() {
    let (ours, removed) = (sealer(1), sealer(1));
    let mut old = Vec::new();
    let before = ours.seal(BlockType::Data, 0, Codec::Raw, b"before", 6, None, &mut old).unwrap();
    let clone = ours.clone();
    assert!(ours.learn(65_536, &EpochSecret::new([42; 32])) && !ours.learn(65_536, &EpochSecret::new([42; 32])));
    assert_eq!(clone.epoch(), 65_536);
    let mut new = Vec::new();
    let after = clone.seal(BlockType::Data, 0, Codec::Raw, b"after", 5, None, &mut new).unwrap();
    assert_eq!((before.epoch, after.epoch), (0, 65_536));
    for (r, bytes) in [(&before, &old), (&after, &new)] {
        assert!(ours.open(BlockType::Data, 0, r, &mut bytes.clone()).is_ok());
    }
    // Whoever was put out has the bytes and even the reference.
    assert!(removed.open(BlockType::Data, 0, &before, &mut old.clone()).is_ok());
    assert_eq!(removed.open(BlockType::Data, 0, &after, &mut new.clone()).unwrap_err().kind(), Kind::Denied);
    let guess = Ref { epoch: 0, ..after };
    assert_eq!(removed.open(BlockType::Data, 0, &guess, &mut new.clone()).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn keys_need_epoch_zero_and_no_epoch_twice() {
    let twice = [secrets(1), secrets(1)].concat();
    for bad in [vec![], secrets(2).split_off(1), twice] {
        assert_eq!(Sealer::new(VOLUME, &bad).unwrap_err().kind(), Kind::Invalid);
    }
    let mut reversed = secrets(3);
    reversed.reverse();
    assert_eq!(Sealer::new(VOLUME, &reversed).unwrap().epoch(), 2);
}

#[test]
fn only_the_logical_key_survives_a_change_of_epoch() {
    let (a, b) = (sealer(1), sealer(2));
    assert_eq!(a.logical_key(), b.logical_key());
    assert!(a.cut_key() != b.cut_key() && a.pack_key() != b.pack_key());
    assert_ne!(a.pid(BlockType::Data, 0, b"x"), b.pid(BlockType::Data, 0, b"x"));
    let keys = [a.logical_key(), a.cut_key(), a.pack_key()];
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
}

#[test]
fn a_pid_tells_type_level_and_content_apart() {
    let s = sealer(1);
    let base = s.pid(BlockType::Data, 0, b"x");
    assert_eq!(base, s.pid(BlockType::Data, 0, b"x"));
    assert_ne!(base, s.pid(BlockType::Tree, 0, b"x"));
    assert_ne!(base, s.pid(BlockType::Data, 1, b"x"));
    assert_ne!(base, s.pid(BlockType::Data, 0, b"x\0"));
}

#[test]
fn stored_sizes_are_size_classes() {
    let s = sealer(1);
    let size = |n: usize| seal(&s, BlockType::Data, 0, &vec![1; n]).1.len();
    assert_eq!(size(100_001), size(100_352), "both in the class of 100352");
    assert_eq!(size(128 << 10), (128 << 10) + 28, "a fixed chunk wastes nothing");
}

#[test]
fn a_whole_block_fits_the_limit_and_no_more() {
    let s = sealer(1);
    let most = vec![0; limits::MAX_BLOCK - (128 << 10)];
    assert!(seal(&s, BlockType::Data, 0, &most).1.len() <= limits::MAX_BLOCK);
    let mut out = vec![1];
    let over = vec![0; limits::MAX_BLOCK];
    let len = u32::try_from(over.len()).unwrap();
    let e = s.seal(BlockType::Data, 0, Codec::Raw, &over, len, None, &mut out).unwrap_err();
    assert_eq!((e.kind(), out), (Kind::TooBig, vec![1]));
}

#[test]
fn debug_shows_volume_and_epoch_and_no_key() {
    assert_eq!(format!("{:?}", sealer(2)), format!("Sealer({VOLUME}, epoch 1)"));
}

/// C3: mutations, truncations, extensions and swaps of everything a block is opened with.
#[test]
fn ten_thousand_mutations_are_all_refused() {
    let s = sealer(3);
    let entropy = crate::base::port::Seeded::new(3);
    let random = move || {
        let mut bytes = [0; 8];
        crate::base::port::Entropy::fill(&entropy, &mut bytes);
        usize::try_from(u64::from_le_bytes(bytes) >> 1).unwrap()
    };
    let blocks: Vec<(Ref, Vec<u8>)> =
        (0..16).map(|n| seal(&s, BlockType::Data, 0, &vec![u8::try_from(n).unwrap(); 10 + n * 37])).collect();
    for round in 0..rounds("LOVAGE_MUTATIONS", 10_000) {
        let (r, sealed) = &blocks[random() % blocks.len()];
        let (mut r2, mut bad, mut t, mut level) = (*r, sealed.clone(), BlockType::Data, 0);
        match round % 10 {
            0..3 => bad[random() % sealed.len()] ^= 1 << (random() % 8),
            3 => bad.truncate(random() % sealed.len()),
            4 => bad.extend((0..=random() % 40).map(|_| 0)),
            5 => t = BlockType::ALL[1 + random() % 3],
            6 => level = u8::try_from(1 + random() % 255).unwrap(),
            7 => r2.epoch = u32::try_from(random() % 6).unwrap(),
            8 => r2.len ^= 1 << (random() % 32),
            _ => r2.siv[random() % 32] ^= 1 << (random() % 8),
        }
        if r2 == *r && bad == *sealed && t == BlockType::Data && level == 0 {
            continue;
        }
        assert!(refused(&s, t, level, &r2, &bad), "round {round}");
        // The same with a bid that matches, as a hostile store with write access to references would do.
        r2.bid = bid_of(&bad);
        assert!(refused(&s, t, level, &r2, &bad), "round {round}, bid adjusted");
    }
}

#[test]
fn a_block_never_opens_through_the_reference_of_another() {
    let s = sealer(1);
    let (a, sealed_a) = seal(&s, BlockType::Data, 0, b"one");
    let (b, sealed_b) = seal(&s, BlockType::Data, 0, b"two");
    assert!(refused(&s, BlockType::Data, 0, &a, &sealed_b));
    assert!(refused(&s, BlockType::Data, 0, &b, &sealed_a));
    let mixed = Ref { bid: b.bid, ..a };
    assert!(refused(&s, BlockType::Data, 0, &mixed, &sealed_a) && refused(&s, BlockType::Data, 0, &mixed, &sealed_b));
}

/// A member who knows every key can make bytes that decrypt; the siv still commits to one content.
#[test]
fn forged_bytes_under_a_valid_key_fail_the_commitment_and_leave_no_plaintext() {
    let s = sealer(1);
    let (r, _) = seal(&s, BlockType::Data, 0, b"the original");
    let mut forged = Vec::new();
    frame::append(Codec::Raw, b"the forgery!", 12, None, &mut forged).unwrap();
    let (key, nonce) = key_and_nonce(&r.siv);
    let tag = aead::encrypt(&key, nonce, &s.associated(0, BlockType::Data, 0), &mut forged).unwrap();
    forged.extend_from_slice(&tag);
    let r = Ref { bid: bid_of(&forged), ..r };
    assert_eq!(s.open(BlockType::Data, 0, &r, &mut forged).unwrap_err().kind(), Kind::Corrupt);
    assert!(forged.is_empty());
}

#[test]
fn a_badly_encoded_frame_is_refused_even_when_everything_verifies() {
    let s = sealer(1);
    let mut frames = vec![vec![], vec![1, 0, 0], vec![0; 12], vec![9; 64]];
    let mut padded = Vec::new();
    frame::append(Codec::Raw, &[7; 9], 9, None, &mut padded).unwrap();
    *padded.last_mut().unwrap() = 1;
    frames.push(padded);
    for mut text in frames {
        let siv = s.siv(&s.newest(), BlockType::Data, 0, &text);
        let (key, nonce) = key_and_nonce(&siv);
        let tag = aead::encrypt(&key, nonce, &s.associated(0, BlockType::Data, 0), &mut text).unwrap();
        text.extend_from_slice(&tag);
        let r = Ref { bid: bid_of(&text), siv, epoch: 0, len: 9 };
        assert!(refused(&s, BlockType::Data, 0, &r, &text));
    }
}

/// C2, small: over types, levels, codecs, salts and epochs, a (key, nonce) belongs to one input only.
#[test]
fn no_key_and_nonce_ever_meet_two_inputs() {
    let mut seen: HashMap<([u8; 32], [u8; 12]), Vec<u8>> = HashMap::new();
    let (mut blocks, plaintexts) = (0, rounds("LOVAGE_NONCES", 500));
    for epochs in 1..3 {
        let s = sealer(epochs);
        for n in 0..u32::try_from(plaintexts).unwrap() {
            let plain = vec![u8::try_from(n % 250).unwrap(); usize::try_from(n % 3000).unwrap()];
            for (codec, body) in [
                (Codec::Raw, plain.clone()),
                (Codec::Zstd, plain.clone()),
                (Codec::Zstd, zip(&plain, 1)),
                (Codec::Zstd, zip(&plain, 9)),
            ] {
                for (t, level, salt) in
                    [(BlockType::Data, 0, None), (BlockType::Tree, 1, None), (BlockType::Data, 0, Some([1; 16]))]
                {
                    let mut out = Vec::new();
                    let r = s.seal(t, level, codec, &body, n, salt, &mut out).unwrap();
                    let (key, nonce) = key_and_nonce(&r.siv);
                    let before = seen.insert((*key, nonce), out.clone());
                    assert!(before.is_none_or(|same| same == out));
                    blocks += 1;
                }
            }
        }
    }
    assert_eq!(blocks, plaintexts * 24);
    assert!(seen.len() > blocks / 10 * 9, "the inputs were different ones");
}

/// Stands for a compressor: what matters is another body for the same plaintext.
fn zip(plain: &[u8], level: u8) -> Vec<u8> {
    let mut out = vec![0x28, 0xb5, level];
    out.extend(plain.iter().step_by(2));
    out
}
