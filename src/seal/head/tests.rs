//! Tests of heads: round trips, what a store sees, tampering.

use proptest::prelude::*;

use super::*;
use crate::base::port::Seeded;
use crate::seal::secret::{EpochSecret, Secret};

fn sealer(volume: u8, epochs: u32) -> Sealer {
    let secrets: Vec<_> = (0..epochs).map(|n| (n, EpochSecret::new([u8::try_from(n).unwrap() + 1; 32]))).collect();
    Sealer::new(VolumeId([volume; 16]), &secrets).unwrap()
}

fn key(n: u8) -> AuthorKey {
    AuthorKey::from_seed(&Secret::take(&mut [n; 32]))
}

fn head(body: &[u8]) -> Vec<u8> {
    seal_head(&sealer(1, 1), &key(1), 4, 9, body, &Seeded::new(1)).unwrap()
}

proptest! {
    #[test]
    fn a_head_opens_again(body in proptest::collection::vec(any::<u8>(), 0..4000), writer: u32, seq: u64) {
        let bytes = seal_head(&sealer(1, 2), &key(1), writer, seq, &body, &Seeded::new(seq)).unwrap();
        let opened = open_head(&sealer(1, 2), &key(1).public(), &bytes).unwrap();
        prop_assert_eq!(&opened.body, &body);
        prop_assert_eq!((opened.writer, opened.seq), (writer, seq));
        let envelope = verify_envelope(&key(1).public(), &bytes).unwrap();
        prop_assert_eq!((envelope.writer, envelope.seq, envelope.epoch), (writer, seq, 1));
        prop_assert_eq!(envelope.hash, opened.hash);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(open_head(&sealer(1, 1), &key(1).public(), &bytes).is_err());
        let framed = [MAGIC.as_slice(), &bytes].concat();
        prop_assert!(verify_envelope(&key(1).public(), &framed).is_err());
    }
}

#[test]
fn every_flipped_byte_truncation_and_extension_is_refused() {
    let bytes = head(b"some body");
    let refused = |b: &[u8]| open_head(&sealer(1, 1), &key(1).public(), b).unwrap_err().kind() == Kind::Corrupt;
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x40;
        assert!(refused(&bad) && refused(&bytes[..at]), "at {at}");
    }
    assert!(refused(&[bytes.as_slice(), &[0]].concat()));
}

#[test]
fn a_head_is_bound_to_author_volume_and_epoch() {
    let bytes = head(b"body");
    let open = |s: &Sealer, k: u8| open_head(s, &key(k).public(), &bytes).map_err(|e| e.kind());
    assert!(open(&sealer(1, 1), 1).is_ok());
    assert!(open(&sealer(1, 2), 1).is_ok(), "an old epoch stays readable");
    assert_eq!(open(&sealer(1, 1), 2).unwrap_err(), Kind::Corrupt);
    assert_eq!(open(&sealer(2, 1), 1).unwrap_err(), Kind::Corrupt);
    let newer = seal_head(&sealer(1, 2), &key(1), 0, 1, b"", &Seeded::new(1)).unwrap();
    assert_eq!(open_head(&sealer(1, 1), &key(1).public(), &newer).unwrap_err().kind(), Kind::Denied);
}

/// A member who can sign, and knows the head key, re-wraps another's body as its own.
#[test]
fn an_envelope_around_anothers_body_is_refused() {
    let (s, thief) = (sealer(1, 1), key(2));
    let mut out = Vec::new();
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&s.volume().0);
    out.extend_from_slice(&thief.public());
    out.extend_from_slice(&[4_u32.to_le_bytes(), 9_u32.to_le_bytes(), [0; 4], [0; 4]].concat());
    let associated = out.clone();
    let inside = inner(&key(1).public(), 4, 9, b"body").unwrap();
    aead::xseal(s.head_key(0).unwrap().expose(), [0; 24], &associated, &inside, &mut out).unwrap();
    out.extend_from_slice(&thief.sign(&out.clone()));
    assert!(verify_envelope(&thief.public(), &out).is_ok());
    assert_eq!(open_head(&s, &thief.public(), &out).unwrap_err().kind(), Kind::Corrupt);
}

#[test]
fn two_heads_under_one_sequence_have_two_hashes() {
    let hash = |body: &[u8], seed| {
        let bytes = seal_head(&sealer(1, 1), &key(1), 0, 1, body, &Seeded::new(seed)).unwrap();
        verify_envelope(&key(1).public(), &bytes).unwrap().hash
    };
    assert_ne!(hash(b"one", 1), hash(b"two", 1));
    assert_ne!(hash(b"one", 1), hash(b"one", 2));
}

#[test]
fn the_longest_body_fits_a_head_and_no_more() {
    assert!(head(&vec![1; MAX_BODY]).len() <= limits::MAX_HEAD);
    let over = seal_head(&sealer(1, 1), &key(1), 0, 0, &vec![0; MAX_BODY + 1], &Seeded::new(1));
    assert_eq!(over.unwrap_err().kind(), Kind::TooBig);
}

#[test]
fn nothing_of_the_body_shows_outside() {
    let bytes = head(&[0x5a; 600]);
    assert!(!bytes.windows(8).any(|w| w == [0x5a; 8]));
    let opened = open_head(&sealer(1, 1), &key(1).public(), &bytes).unwrap();
    assert_eq!(format!("{opened:?}"), "OpenedHead(writer 4, seq 9, 600 B)");
}
