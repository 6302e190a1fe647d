//! The encoded plaintext `E` of a block: header, optional salt, body, zero padding to a size class.
//!
//! Everything a reader must agree on is inside, so that the siv (a hash of `E`) commits to all of it.
//! Must never accept two encodings of one content: lengths, flags and padding are checked exactly.

use std::ops::Range;

use super::padding::padded_len;
use super::reference::Codec;
use crate::base::{Error, Kind, Result, limits};

const VERSION: u8 = 1;
const SALTED: u8 = 1;
/// version, codec, flags, zero, plain length, body length.
const HEADER: usize = 12;
/// Bytes of salt when deduplication is off.
pub const SALT: usize = 16;
/// Longest sealed block without its tag.
const MAX_FRAME: usize = limits::MAX_BLOCK - super::aead::TAG;

/// Where the body of a frame begins.
pub fn body_start(salted: bool) -> usize {
    HEADER + if salted { SALT } else { 0 }
}

/// What the header of a frame says, checked against the frame's size.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub codec: Codec,
    pub plain_len: u32,
    pub body: Range<usize>,
}

/// Append `E` to `out`, leaving room for the tag. One copy of `body`, one allocation at most.
/// [`Kind::TooBig`] if it would not fit a block, [`Kind::Invalid`] if a raw body is not `plain_len` long.
pub fn append(codec: Codec, body: &[u8], plain_len: u32, salt: Option<[u8; SALT]>, out: &mut Vec<u8>) -> Result<()> {
    let fixed = HEADER + salt.map_or(0, |s| s.len());
    let total = fixed.saturating_add(padded_len(body.len()));
    let body_len = u32::try_from(body.len()).unwrap_or(u32::MAX);
    if total > MAX_FRAME || plain_len as usize > limits::MAX_BLOCK {
        return Err(Error::new(Kind::TooBig, "seal block", format!("{} bytes", body.len())));
    }
    if codec == Codec::Raw && plain_len != body_len {
        return Err(Error::new(Kind::Invalid, "seal block", "a raw body has its plain length"));
    }
    let end = out.len() + total;
    out.reserve(total + super::aead::TAG);
    out.extend_from_slice(&[VERSION, codec.byte(), if salt.is_some() { SALTED } else { 0 }, 0]);
    out.extend_from_slice(&plain_len.to_le_bytes());
    out.extend_from_slice(&body_len.to_le_bytes());
    out.extend_from_slice(salt.as_ref().map_or(&[], |s| s.as_slice()));
    out.extend_from_slice(body);
    out.resize(end, 0);
    Ok(())
}

/// Read the header of an authenticated `E`. `None` if any byte of it is not what [`append`] writes.
pub fn parse(frame: &[u8]) -> Option<Frame> {
    let (&[version, codec, flags, zero], rest) = frame.split_first_chunk::<4>()?;
    let (plain_len, rest) = rest.split_first_chunk::<4>()?;
    let (body_len, rest) = rest.split_first_chunk::<4>()?;
    let (plain_len, body_len) = (u32::from_le_bytes(*plain_len), u32::from_le_bytes(*body_len));
    let codec = Codec::from_byte(codec)?;
    let salt = match flags {
        0 => 0,
        SALTED => SALT,
        _ => return None,
    };
    let size = usize::try_from(body_len).ok()?;
    let (_, body_and_pad) = rest.split_at_checked(salt)?;
    let (_, pad) = body_and_pad.split_at_checked(size)?;
    let exact = body_and_pad.len() == padded_len(size) && (codec != Codec::Raw || plain_len == body_len);
    let bounded = plain_len as usize <= limits::MAX_BLOCK;
    let valid = version == VERSION && zero == 0 && exact && bounded && pad.iter().all(|b| *b == 0);
    let start = HEADER + salt;
    valid.then_some(Frame { codec, plain_len, body: start..start + size })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(codec: Codec, body: &[u8], plain_len: u32, salt: Option<[u8; SALT]>) -> Vec<u8> {
        let mut out = Vec::new();
        append(codec, body, plain_len, salt, &mut out).unwrap();
        out
    }

    proptest! {
        #[test]
        fn a_frame_parses_back(
            body in proptest::collection::vec(any::<u8>(), 0..3000), zstd: bool, plain in 0..1_000_000_u32,
            salt: Option<[u8; SALT]>
        ) {
            let (codec, plain_len) =
                if zstd { (Codec::Zstd, plain) } else { (Codec::Raw, u32::try_from(body.len()).unwrap()) };
            let bytes = frame(codec, &body, plain_len, salt);
            let parsed = parse(&bytes).unwrap();
            prop_assert_eq!(&bytes[parsed.body.clone()], &body[..]);
            prop_assert_eq!((parsed.codec, parsed.plain_len), (codec, plain_len));
            prop_assert!(bytes.len() <= HEADER + SALT + body.len() + body.len() / 8);
        }

        #[test]
        fn parsing_arbitrary_bytes_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }

        #[test]
        fn every_encoding_is_the_only_one(
            body in proptest::collection::vec(any::<u8>(), 0..200), at: proptest::sample::Index, bit in 0..8_u8
        ) {
            let bytes = frame(Codec::Zstd, &body, 9, None);
            let mut changed = bytes.clone();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            if let Some(parsed) = parse(&changed) {
                let again = frame(parsed.codec, &changed[parsed.body.clone()], parsed.plain_len, None);
                prop_assert_eq!(again, changed);
            }
        }
    }

    #[test]
    fn bodies_beyond_a_block_and_lying_lengths_are_refused() {
        let mut out = Vec::new();
        let big = vec![0; limits::MAX_BLOCK];
        let e = append(Codec::Raw, &big, u32::try_from(big.len()).unwrap(), None, &mut out).unwrap_err();
        assert_eq!(e.kind(), Kind::TooBig);
        assert_eq!(append(Codec::Zstd, b"x", u32::MAX, None, &mut out).unwrap_err().kind(), Kind::TooBig);
        assert_eq!(append(Codec::Raw, b"abc", 4, None, &mut out).unwrap_err().kind(), Kind::Invalid);
        assert!(out.is_empty());
    }
}
