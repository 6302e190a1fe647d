//! Data frames: a header of twelve bytes, then the bytes of one block.
//!
//! Must never accept a length beyond [`MAX_DATA`]: readers check the header before they allocate.

use super::RequestId;
use crate::base::limits::MAX_BLOCK;
use crate::base::{Error, Kind, Result};

/// Length of a header in bytes.
pub const HEADER: usize = 12;
/// Largest body of a data frame, in bytes.
pub const MAX_DATA: usize = MAX_BLOCK + (64 << 10);

/// What a data frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flag {
    /// The sealed bytes of a block.
    Block,
    /// The block at this index is not here; no bytes. Only in answer to ids.
    Missing,
    /// The request is answered; `index` tells how many frames came before. No bytes.
    End,
    /// The request failed; one byte says why ([`Reason`]).
    Error,
}

/// Why a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The volume is not shared with the asker, or not known.
    Denied,
    /// The tree or manifest is not here.
    NotFound,
    /// Too many requests at once.
    Busy,
    /// This kind of request is not understood.
    Unsupported,
    /// It took too long.
    Timeout,
    /// Something else went wrong on the answering side.
    Failed,
}

const REASONS: [Reason; 6] =
    [Reason::Denied, Reason::NotFound, Reason::Busy, Reason::Unsupported, Reason::Timeout, Reason::Failed];

impl Reason {
    /// The byte on the wire.
    pub fn code(self) -> u8 {
        REASONS.iter().zip(0..).find(|(r, _)| **r == self).map_or(u8::MAX, |(_, code)| code)
    }

    /// From the byte; codes of later versions are [`Reason::Failed`].
    pub fn from_code(code: u8) -> Self {
        REASONS.get(usize::from(code)).copied().unwrap_or(Self::Failed)
    }

    /// As an error of the asker.
    pub fn kind(self) -> Kind {
        match self {
            Self::Denied => Kind::Denied,
            Self::NotFound => Kind::NotFound,
            Self::Busy => Kind::Busy,
            Self::Unsupported => Kind::Unsupported,
            Self::Timeout => Kind::Timeout,
            Self::Failed => Kind::Unreachable,
        }
    }
}

/// The fixed part of a data frame: `rid` u32, `index` u32, length u24, flag u8; little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The request this belongs to.
    pub rid: RequestId,
    /// Position in the order the selector implies.
    pub index: u32,
    /// What follows.
    pub flag: Flag,
    /// Bytes that follow.
    pub length: u32,
}

impl Header {
    /// The bytes on the wire.
    pub fn encode(&self) -> [u8; HEADER] {
        let flag = match self.flag {
            Flag::Block => 0_u32,
            Flag::Missing => 1,
            Flag::End => 2,
            Flag::Error => 3,
        };
        let mut out = [0; HEADER];
        out[..4].copy_from_slice(&self.rid.to_le_bytes());
        out[4..8].copy_from_slice(&self.index.to_le_bytes());
        out[8..].copy_from_slice(&(self.length & 0x00ff_ffff | flag << 24).to_le_bytes());
        out
    }

    /// Read a header. [`Kind::Invalid`] for an unknown flag or a length that does not go with it.
    pub fn decode(bytes: &[u8; HEADER]) -> Result<Self> {
        let word = |at: usize| {
            let (words, _) = bytes.as_chunks::<4>();
            words.get(at).map_or(0, |word| u32::from_le_bytes(*word))
        };
        let (rid, index, length) = (word(0), word(1), word(2) & 0x00ff_ffff);
        let (flag, most) = match word(2) >> 24 {
            0 => (Flag::Block, MAX_DATA),
            1 => (Flag::Missing, 0),
            2 => (Flag::End, 0),
            3 => (Flag::Error, 1),
            other => return Err(Error::new(Kind::Invalid, "read a data frame", format!("flag {other}"))),
        };
        if length as usize > most {
            return Err(Error::new(Kind::Invalid, "read a data frame", format!("{length} bytes")));
        }
        Ok(Self { rid, index, flag, length })
    }
}

/// Credit that a block of `length` bytes uses: its bytes and 64 for the bookkeeping of both sides.
pub fn cost(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX).saturating_add(64)
}
