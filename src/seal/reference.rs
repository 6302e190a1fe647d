//! References to blocks: what a parent stores of its child, and the right to read it.
//!
//! Must never hold more than a reader needs, nor change size: parents count on 72 bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::base::{Bid, Error, Kind, Result};

/// What a block is for. Bound to the sealed bytes: a block of one type never opens as another.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum BlockType {
    /// A piece of file content.
    Data = 1,
    /// A node of a file's manifest.
    Manifest = 2,
    /// A node of a volume's tree.
    Tree = 3,
    /// Something a head points at that is too big for the head.
    Attachment = 4,
}

impl BlockType {
    /// Every type.
    pub const ALL: [Self; 4] = [Self::Data, Self::Manifest, Self::Tree, Self::Attachment];

    /// From its byte in the format.
    pub fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.byte() == byte)
    }

    /// Its byte in the format.
    pub fn byte(self) -> u8 {
        self as u8
    }
}

/// How the body of a block is encoded. `seal` binds it and leaves the work to `cas`.
#[repr(u8)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Codec {
    /// As it is.
    Raw = 0,
    /// One zstd frame.
    Zstd = 1,
}

impl Codec {
    /// From its byte in the format.
    pub fn from_byte(byte: u8) -> Option<Self> {
        [Self::Raw, Self::Zstd].into_iter().find(|c| c.byte() == byte)
    }

    /// Its byte in the format.
    pub fn byte(self) -> u8 {
        self as u8
    }
}

/// The private id of a plaintext: keyed hash over type, level, length and content. Only ever a key of the
/// local dedup index; it must not leave the device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub [u8; 32]);

impl fmt::Debug for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, ..] = self.0;
        write!(f, "Pid({first:02x}{second:02x}{third:02x}..)")
    }
}

/// A reference: where a sealed block is (`bid`) and how to read it (`siv`, with the epoch's key).
///
/// Holding one, as a member, is holding the right to read that block. Serde and [`Ref::to_bytes`] give the
/// same 72 bytes: `bid || siv || epoch || len`, integers little-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Parts", into = "Parts")]
pub struct Ref {
    /// The name of the sealed bytes.
    pub bid: Bid,
    /// Synthetic initialisation vector: names the encoded plaintext, yields key and nonce.
    pub siv: [u8; 32],
    /// The epoch whose secret sealed it.
    pub epoch: u32,
    /// Length of the plaintext in bytes.
    pub len: u32,
}

type Parts = ([u8; 32], [u8; 32], [u8; 4], [u8; 4]);

impl Ref {
    /// Encoded length in bytes.
    pub const LEN: usize = 72;

    /// The fixed encoding.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        let fields = self.bid.0.iter().chain(&self.siv);
        let numbers = self.epoch.to_le_bytes().into_iter().chain(self.len.to_le_bytes());
        out.iter_mut().zip(fields.copied().chain(numbers)).for_each(|(to, from)| *to = from);
        out
    }

    /// Undo [`Ref::to_bytes`]; [`Kind::Corrupt`] unless exactly 72 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::decode(bytes).ok_or_else(|| Error::new(Kind::Corrupt, "decode reference", "wrong length"))
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (bid, rest) = bytes.split_first_chunk::<32>()?;
        let (siv, rest) = rest.split_first_chunk::<32>()?;
        let (epoch, rest) = rest.split_first_chunk::<4>()?;
        let len = <&[u8; 4]>::try_from(rest).ok()?;
        Some((*bid, *siv, *epoch, *len).into())
    }
}

impl From<Parts> for Ref {
    fn from((bid, siv, epoch, len): Parts) -> Self {
        Self { bid: Bid(bid), siv, epoch: u32::from_le_bytes(epoch), len: u32::from_le_bytes(len) }
    }
}

impl From<Ref> for Parts {
    fn from(r: Ref) -> Self {
        (r.bid.0, r.siv, r.epoch.to_le_bytes(), r.len.to_le_bytes())
    }
}

/// Shows the block's public name and never the siv, which with the epoch key reads it.
impl fmt::Debug for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ref({}, epoch {}, {} B)", self.bid, self.epoch, self.len)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_reference_round_trips_in_exactly_72_bytes(
            bid: [u8; 32], siv: [u8; 32], epoch: u32, len: u32
        ) {
            let r = Ref { bid: Bid(bid), siv, epoch, len };
            let bytes = r.to_bytes();
            prop_assert_eq!(Ref::from_bytes(&bytes).unwrap(), r);
            let serde = postcard::to_allocvec(&r).unwrap();
            prop_assert_eq!(&serde, &bytes);
            prop_assert_eq!(postcard::from_bytes::<Ref>(&serde).unwrap(), r);
        }

        #[test]
        fn other_lengths_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..160)) {
            prop_assume!(bytes.len() != Ref::LEN);
            prop_assert_eq!(Ref::from_bytes(&bytes).unwrap_err().kind(), Kind::Corrupt);
        }
    }

    #[test]
    fn types_and_codecs_round_trip_through_their_byte() {
        for byte in 0..=u8::MAX {
            assert!(BlockType::from_byte(byte).is_none_or(|t| t.byte() == byte));
            assert!(Codec::from_byte(byte).is_none_or(|c| c.byte() == byte));
        }
        assert_eq!(BlockType::from_byte(3), Some(BlockType::Tree));
        assert_eq!((BlockType::from_byte(0), Codec::from_byte(2)), (None, None));
    }

    #[test]
    fn debug_shows_neither_siv_nor_a_whole_pid() {
        let r = Ref { bid: Bid([1; 32]), siv: [0xcd; 32], epoch: 0, len: 9 };
        assert!(!format!("{r:?}").contains("cdcd"));
        assert!(format!("{:?}", Pid([0xab; 32])).len() < 20);
    }
}
