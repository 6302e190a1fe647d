//! Where one file's bytes are cut into blocks: a keyed gear hash, or fixed sizes.
//!
//! Cuts depend on the content, the cut key and the parameters only: never on how the bytes were fed,
//! on time, or on what else is stored. Must never do I/O. `docs/format-cas.md` is the specification.

use crate::base::{Derive, Error, Kind, Result};

/// Context under which the gear table is derived from a volume's cut key.
const GEAR_CONTEXT: &str = "lovage 2026 v1 gear table";
/// The hash remembers this many bytes; older ones have been shifted out.
const WINDOW: usize = 64;
/// Largest chunk the parameters may ask for, in bytes: sealed with its padding it stays below 4 MiB.
pub const MAX_CHUNK: usize = 2 << 20;

const FIXED_SMALL: usize = 128 << 10;
const FIXED_LARGE: usize = 1 << 20;
/// From this offset on, fixed chunks are large.
const FIXED_TURN: u64 = 64 << 20;

/// How a volume cuts files into chunks; written in its genesis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunking {
    /// Content-defined: sizes in bytes, `64 <= min < avg < max <= 2 MiB`.
    Cdc {
        /// No chunk but a file's last is shorter.
        min: u32,
        /// Expected size.
        avg: u32,
        /// No chunk is longer.
        max: u32,
    },
    /// By offset: 128 KiB chunks in the first 64 MiB of a file, 1 MiB chunks after that. Sizes say
    /// nothing about the content; growing a file never moves an earlier cut.
    Fixed,
}

impl Default for Chunking {
    fn default() -> Self {
        Self::Cdc { min: 32 << 10, avg: 128 << 10, max: 512 << 10 }
    }
}

/// Cuts byte streams. Cheap to share (`&self`), 2 KiB of state.
pub struct Chunker {
    plan: Plan,
}

enum Plan {
    Fixed,
    Gear(Box<Gear>),
}

struct Gear {
    table: [u64; 256],
    min: usize,
    /// Below this length cuts are four times rarer than `1/avg`, above it four times as frequent.
    turn: usize,
    max: usize,
    rare: u64,
    frequent: u64,
}

impl Chunker {
    /// A chunker under `cut_key`. [`Kind::Invalid`] for parameters out of their bounds.
    pub fn new(cut_key: &[u8; 32], chunking: Chunking) -> Result<Self> {
        let plan = match chunking {
            Chunking::Fixed => Plan::Fixed,
            Chunking::Cdc { min, avg, max } => Plan::Gear(Box::new(Gear::new(cut_key, min, avg, max)?)),
        };
        Ok(Self { plan })
    }

    /// The longest chunk that can start at `offset`: feed at least this much to be sure of a cut.
    pub fn longest(&self, offset: u64) -> usize {
        match &self.plan {
            Plan::Fixed => fixed_at(offset),
            Plan::Gear(gear) => gear.max,
        }
    }

    /// Length of the chunk at the start of `data`, for a chunk at the start of a file or where cuts
    /// do not depend on the offset. See [`Self::cut_at`].
    pub fn cut(&self, data: &[u8], eof: bool) -> usize {
        self.cut_at(0, data, eof)
    }

    /// Length of the chunk that starts at `offset` of a file, `data` being the bytes from there on.
    /// `eof` says that the file ends with `data`. Zero: no cut within `data`, feed more (or nothing
    /// was fed). O(length of the chunk).
    pub fn cut_at(&self, offset: u64, data: &[u8], eof: bool) -> usize {
        self.cut_across(offset, [data, &[]]).unwrap_or(if eof { data.len() } else { 0 })
    }

    /// Length of the chunk that starts at `offset`, whose bytes are the two parts one behind the other; `None`: no
    /// cut within them. O(length of the chunk).
    pub fn cut_across(&self, offset: u64, parts: [&[u8]; 2]) -> Option<usize> {
        match &self.plan {
            Plan::Fixed => Some(fixed_at(offset)).filter(|size| *size <= parts[0].len() + parts[1].len()),
            Plan::Gear(gear) => gear.cut(parts),
        }
    }
}

/// Size of the fixed chunk that starts at `offset`; a chunk at an odd place runs to the next regular cut.
fn fixed_at(offset: u64) -> usize {
    let size = if offset < FIXED_TURN { FIXED_SMALL } else { FIXED_LARGE };
    let into = usize::try_from(offset % size as u64).unwrap_or(0);
    size - into
}

impl Gear {
    fn new(cut_key: &[u8; 32], min: u32, avg: u32, max: u32) -> Result<Self> {
        let (min, avg, max) = (min as usize, avg as usize, max as usize);
        if min < WINDOW || min >= avg || avg >= max || max > MAX_CHUNK {
            return Err(Error::new(Kind::Invalid, "use chunking parameters", format!("{min}/{avg}/{max}")));
        }
        let mut bytes = [0; 256 * 8];
        Derive::fill(GEAR_CONTEXT, cut_key, &mut bytes);
        let mut table = [0; 256];
        for (entry, bytes) in table.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *entry = u64::from_le_bytes(*bytes);
        }
        // The turn lies below the average by what the frequent phase adds to it (measured: the mean
        // of the default parameters is within 3 % of 128 KiB).
        let turn = min.max(avg / 16 * 13);
        let (rare, frequent) = (u64::MAX / (avg as u64 * 4), u64::MAX / (avg as u64).div_ceil(4));
        Ok(Self { table, min, turn, max, rare, frequent })
    }

    /// The first cut in `parts`, if there is one whatever follows.
    fn cut(&self, parts: [&[u8]; 2]) -> Option<usize> {
        let len = (parts[0].len() + parts[1].len()).min(self.max);
        if len < self.min {
            return None;
        }
        let within = |start: usize, end: usize| {
            let border = parts[0].len();
            let (left, right) = (start.min(border)..end.min(border), start.max(border)..end.max(border));
            let right = parts[1].get(right.start - border..right.end - border);
            [parts[0].get(left).unwrap_or_default(), right.unwrap_or_default()]
        };
        // A candidate is judged by the 64 bytes before it, so the bytes up to `min` are not read.
        let warm = within(self.min - WINDOW, self.min);
        let mut hash = warm.into_iter().flatten().fold(0, |hash, byte| self.roll(hash, *byte));
        let (turn, mut at) = (self.turn.min(len), self.min);
        for (start, end, below) in [(self.min, turn, self.rare), (turn, len, self.frequent)] {
            for part in within(start, end) {
                match self.scan(part, hash, below) {
                    Ok(found) => return Some(at + found),
                    Err(last) => hash = last,
                }
                at += part.len();
            }
        }
        (len == self.max).then_some(len)
    }

    #[inline]
    fn of(&self, byte: u8) -> u64 {
        self.table[usize::from(byte)]
    }

    #[inline]
    fn roll(&self, hash: u64, byte: u8) -> u64 {
        (hash << 1).wrapping_add(self.of(byte))
    }

    /// `Ok(bytes up to and with the cut)`, or the hash at the end of `data`.
    ///
    /// Four steps at once: each candidate is computed from the hash four bytes back, so that the
    /// processor is not held up by one chain of dependent additions.
    #[inline(never)]
    fn scan(&self, data: &[u8], mut hash: u64, below: u64) -> std::result::Result<usize, u64> {
        let (words, rest) = data.as_chunks::<8>();
        let mut done = 0;
        for word in words {
            for half in [0, 4] {
                let one = self.of(word[half]);
                let two = (one << 1).wrapping_add(self.of(word[half + 1]));
                let three = (two << 1).wrapping_add(self.of(word[half + 2]));
                let four = (three << 1).wrapping_add(self.of(word[half + 3]));
                if (hash << 1).wrapping_add(one) < below {
                    return Ok(done + half + 1);
                }
                if (hash << 2).wrapping_add(two) < below {
                    return Ok(done + half + 2);
                }
                if (hash << 3).wrapping_add(three) < below {
                    return Ok(done + half + 3);
                }
                hash = (hash << 4).wrapping_add(four);
                if hash < below {
                    return Ok(done + half + 4);
                }
            }
            done += 8;
        }
        for (at, byte) in rest.iter().enumerate() {
            hash = self.roll(hash, *byte);
            if hash < below {
                return Ok(done + at + 1);
            }
        }
        Err(hash)
    }
}

#[cfg(test)]
pub(crate) mod tests;
