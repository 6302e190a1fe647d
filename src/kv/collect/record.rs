//! What a collection leaves in a store: the record, the list of condemned blocks in pages, a word of each party.
//!
//! Layout: `docs/format-collect.md`. Unsigned: whoever can write these can delete the blocks themselves. Must never
//! panic on what a store holds, nor believe a length before the bytes are there.

use crate::base::Bid;

/// Name of the record.
pub const RECORD: &str = "g.record";
/// Names of words begin so; the party's key in hex follows.
pub const WORD: &str = "g.word.";
/// Everything a collection leaves in a store begins so.
pub const OURS: &str = "g.";
/// Names of pages begin so.
pub const LIST: &str = "g.list.";
/// Ids of one page; few in tests, so that a list has several.
pub const PAGE: usize = if cfg!(test) { 4 } else { 1 << 15 };
/// Pages of one list: what goes beyond is left to the next collection.
pub const MOST_PAGES: u32 = 512;
const ID: usize = 16;

/// How far a collection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Parties say what they need of the list.
    Asking,
    /// Words stay as they are, and are looked at once more. Nothing has been removed: it may be asking again.
    Closing,
    /// What nobody needs is being removed.
    Sweeping,
    /// What was to be removed is gone.
    Done,
}

/// The record of the newest collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Random: no two collections share it.
    pub id: [u8; ID],
    /// Key of the device that collects.
    pub owner: [u8; 32],
    /// See [`Phase`].
    pub phase: Phase,
    /// Pages of the list.
    pub pages: u32,
}

impl Record {
    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        let phase = match self.phase {
            Phase::Asking => 0,
            Phase::Closing => 1,
            Phase::Sweeping => 2,
            Phase::Done => 3,
        };
        [&b"gcr1"[..], &self.id, &self.owner, &[phase], &self.pages.to_le_bytes()].concat()
    }

    /// `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let rest = bytes.strip_prefix(b"gcr1")?;
        let (id, rest) = rest.split_first_chunk::<ID>()?;
        let (owner, rest) = rest.split_first_chunk::<32>()?;
        let (phase, rest) = rest.split_first()?;
        let phase = match phase {
            0 => Phase::Asking,
            1 => Phase::Closing,
            2 => Phase::Sweeping,
            3 => Phase::Done,
            _ => return None,
        };
        let pages = u32::from_le_bytes(rest.try_into().ok()?);
        (pages <= MOST_PAGES).then_some(Self { id: *id, owner: *owner, phase, pages })
    }

    /// The name of a page of the list.
    pub fn page(&self, number: u32) -> String {
        format!("{LIST}{}.{number}", crate::base::hex(&self.id))
    }

    /// Whether it is under way.
    pub fn is_open(&self) -> bool {
        self.phase != Phase::Done
    }
}

/// A page of the list. The ids ascend.
pub fn encode_page(ids: &[Bid]) -> Vec<u8> {
    let mut bytes = b"gcl1".to_vec();
    for id in ids {
        bytes.extend_from_slice(id.as_bytes());
    }
    bytes
}

/// `None` if it is no page: too long, or not strictly ascending.
pub fn decode_page(bytes: &[u8]) -> Option<Vec<Bid>> {
    let (ids, rest) = bytes.strip_prefix(b"gcl1")?.as_chunks::<32>();
    if !rest.is_empty() || ids.len() > PAGE || !ids.is_sorted_by(|a, b| a < b) {
        return None;
    }
    Some(ids.iter().map(|id| Bid(*id)).collect())
}

/// One bit an id, in the order of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Bits(Vec<u8>);

impl Bits {
    /// Whether the id at this place is named.
    pub fn has(&self, at: usize) -> bool {
        self.0.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    /// Name the id at this place. Grows up to it.
    pub fn set(&mut self, at: usize) {
        if self.0.len() <= at / 8 {
            self.0.resize(at / 8 + 1, 0);
        }
        if let Some(byte) = self.0.get_mut(at / 8) {
            *byte |= 1 << (at % 8);
        }
    }

    /// Name all that `other` names.
    pub fn join(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(byte, more)| *byte |= more);
    }

    /// As sent and stored: one bit an id, the first in the lowest bit.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// From [`Self::bytes`]; what is missing is not named.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Whether it names all that `other` names.
    pub fn includes(&self, other: &Self) -> bool {
        other.0.iter().enumerate().all(|(at, more)| more & !self.0.get(at).copied().unwrap_or(0) == 0)
    }
}

/// What a party needs of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word {
    /// The collection it is about; zeros: none yet, only here to be waited for.
    pub id: [u8; ID],
    /// Grows with each writing: a write that was given up and comes late finds another word than it expects.
    pub count: u32,
    /// What it needs.
    pub needs: Bits,
}

impl Word {
    /// As stored.
    pub fn encode(&self) -> Vec<u8> {
        [&b"gcw1"[..], &self.id, &self.count.to_le_bytes(), &self.needs.0].concat()
    }

    /// `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.strip_prefix(b"gcw1")?.split_first_chunk::<ID>()?;
        let (count, needs) = rest.split_first_chunk::<4>()?;
        let count = u32::from_le_bytes(*count);
        (needs.len() <= LONGEST_WORD).then(|| Self { id: *id, count, needs: Bits(needs.to_vec()) })
    }
}

/// Bytes of bits for the longest list.
const LONGEST_WORD: usize = PAGE * MOST_PAGES as usize / 8;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_no_part_or_excess_of_one_is_taken() {
        let record = Record { id: [1; 16], owner: [2; 32], phase: Phase::Sweeping, pages: 3 };
        let bytes = record.encode();
        assert_eq!(Record::decode(&bytes), Some(record));
        (0..bytes.len()).for_each(|len| assert_eq!(Record::decode(&bytes[..len]), None));
        assert_eq!(Record::decode(&[&bytes[..], &[0]].concat()), None);
        let huge = Record { pages: MOST_PAGES + 1, ..record };
        assert_eq!(Record::decode(&huge.encode()), None);
    }

    #[test]
    fn pages_ascend_and_words_are_bits() {
        let ids = [Bid([1; 32]), Bid([2; 32])];
        assert_eq!(decode_page(&encode_page(&ids)).unwrap(), ids);
        assert_eq!(decode_page(&encode_page(&[ids[1], ids[0]])), None);
        assert_eq!(decode_page(&encode_page(&[ids[0], ids[0]])), None);
        assert_eq!(decode_page(b"gcl1x"), None);
        let mut word = Word { id: [7; 16], count: 9, needs: Bits::default() };
        word.needs.set(9);
        let word = Word::decode(&word.encode()).unwrap();
        assert_eq!((0..20).filter(|at| word.needs.has(*at)).collect::<Vec<_>>(), [9]);
        let mut more = Bits::default();
        more.set(2);
        assert!(!word.needs.includes(&more) && !more.includes(&word.needs));
        more.join(&word.needs);
        assert!(more.includes(&word.needs) && more.has(2) && more.has(9));
        assert_eq!(Word::decode(b"gcw1"), None);
    }
}
