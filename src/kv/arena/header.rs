//! The first page of an arena: who it is and what came before. Two copies in separate sectors.
//!
//! Must never be rewritten once durable.

use super::record::Salt;

/// Records start here.
pub const FIRST: u64 = 4096;
/// Bytes of one copy.
const COPY: usize = 40;
/// Where the copies stand.
const PLACES: [usize; 2] = [0, 512];
const MAGIC: &[u8; 8] = b"LvArena1";

/// Identity of an arena and the promise about its predecessor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArenaHeader {
    /// Number of this arena; rises along the log.
    pub number: u32,
    /// Number of the arena before this one, 0 for the first.
    pub previous: u32,
    /// Where the previous arena's records end. All before it was durable when this header was
    /// written; whatever the file holds behind it does not count.
    pub previous_end: u64,
    /// Salt of the checksums.
    pub salt: Salt,
}

impl ArenaHeader {
    /// The whole first page.
    pub fn page(&self) -> Vec<u8> {
        let mut copy = [0; COPY];
        copy[..8].copy_from_slice(MAGIC);
        copy[8..12].copy_from_slice(&self.number.to_le_bytes());
        copy[12..16].copy_from_slice(&self.previous.to_le_bytes());
        copy[16..24].copy_from_slice(&self.previous_end.to_le_bytes());
        copy[24..32].copy_from_slice(&self.salt);
        let crc = crc32c::crc32c(&copy[..36]);
        copy[36..].copy_from_slice(&crc.to_le_bytes());
        let mut page = vec![0; usize::try_from(FIRST).unwrap_or(4096)];
        for at in PLACES {
            page[at..at + COPY].copy_from_slice(&copy);
        }
        page
    }

    /// The first copy that verifies.
    pub fn parse(page: &[u8]) -> Option<Self> {
        PLACES.iter().find_map(|at| Self::parse_copy(page.get(*at..at + COPY)?.try_into().ok()?))
    }

    fn parse_copy(copy: &[u8; COPY]) -> Option<Self> {
        let (word, long) =
            (|at: usize| copy[at..at + 4].try_into().map(u32::from_le_bytes), |at: usize| copy[at..at + 8].try_into());
        if &copy[..8] != MAGIC || word(36).ok()? != crc32c::crc32c(&copy[..36]) {
            return None;
        }
        Some(Self {
            number: word(8).ok()?,
            previous: word(12).ok()?,
            previous_end: u64::from_le_bytes(long(16).ok()?),
            salt: long(24).ok()?,
        })
    }
}

/// The file name of arena `number`.
pub fn arena_name(number: u32) -> String {
    format!("{number:08x}.arena")
}

/// The number in an arena's file name.
pub fn parse_arena_name(name: &str) -> Option<u32> {
    let hex = name.strip_suffix(".arena").filter(|h| h.len() == 8)?;
    u32::from_str_radix(hex, 16).ok().filter(|n| *n > 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn one_damaged_copy_does_no_harm_and_two_are_refused() {
        let header = ArenaHeader { number: 7, previous: 6, previous_end: 9000, salt: [5; 8] };
        let mut page = header.page();
        assert_eq!(ArenaHeader::parse(&page), Some(header));
        page[3] ^= 1;
        assert_eq!(ArenaHeader::parse(&page), Some(header));
        page[530] ^= 1;
        assert_eq!(ArenaHeader::parse(&page), None);
        assert_eq!(ArenaHeader::parse(&page[..100]), None);
    }

    #[test]
    fn names_round_trip() {
        assert_eq!(parse_arena_name(&arena_name(0xabc)), Some(0xabc));
        for bad in ["x.arena", "00000000.arena", "00000001.index", "1.arena"] {
            assert_eq!(parse_arena_name(bad), None);
        }
    }
}
