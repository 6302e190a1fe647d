//! The list of a collection as a party keeps it, and what it may not rely on any more because it said so.
//!
//! Eight bytes an id: ids are hashes, and one that is taken for another is kept, or fetched, in vain. Must never be
//! used to tell what is removed.

use std::collections::BTreeSet;
use std::ops::Range;

use super::record::Bits;
use crate::base::Bid;

/// The start of an id, in the order of ids.
pub fn short(id: &Bid) -> u64 {
    id.0.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first))
}

/// What a collection condemns.
#[derive(Debug, PartialEq, Eq)]
pub struct List {
    /// Of the collection.
    pub id: [u8; 16],
    /// As in the store: ascending.
    ids: Vec<u64>,
}

impl List {
    /// Of the collection `id`; the ids ascend.
    pub fn new(id: [u8; 16], ids: Vec<u64>) -> Self {
        Self { id, ids }
    }

    /// The starts of its ids, ascending.
    pub fn ids(&self) -> &[u64] {
        &self.ids
    }

    /// The places where `id` may be.
    pub fn places(&self, id: &Bid) -> Range<usize> {
        let short = short(id);
        self.ids.partition_point(|known| *known < short)..self.ids.partition_point(|known| *known <= short)
    }

    /// The places of all that `needs` says.
    pub fn bits<'i>(&self, needs: impl IntoIterator<Item = &'i Bid>) -> Bits {
        let mut bits = Bits::default();
        needs.into_iter().flat_map(|id| self.places(id)).for_each(|at| bits.set(at));
        bits
    }
}

/// What a device said it does not need of a store, or has not said yet: it may be gone at any time. Before a device
/// relies on anything new it looks here, which needs no store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubts {
    /// The collection.
    pub id: [u8; 16],
    /// Ascending.
    ids: Vec<u64>,
    /// While nothing was said yet: what has come to be needed meanwhile.
    claimed: Option<BTreeSet<u64>>,
}

const MAGIC: &[u8] = b"gcd1";

impl Doubts {
    /// Nothing was said yet about the whole list.
    pub fn new(list: &List) -> Self {
        Self { id: list.id, ids: list.ids.clone(), claimed: Some(BTreeSet::new()) }
    }

    /// Whether `id` is doubted.
    pub fn has(&self, id: &Bid) -> bool {
        self.ids.binary_search(&short(id)).is_ok()
    }

    /// These are about to be relied upon. Gives those of them that must not be: what was said cannot be taken back
    /// without asking the store.
    pub fn claim(&mut self, ids: &[Bid]) -> Vec<Bid> {
        let doubted: Vec<Bid> = ids.iter().filter(|id| self.has(id)).copied().collect();
        match &mut self.claimed {
            Some(claimed) => {
                claimed.extend(doubted.iter().map(short));
                Vec::new()
            }
            None => doubted,
        }
    }

    /// `needs`, and what was claimed meanwhile, is about to be said. The rest stays doubted.
    pub fn told(&mut self, list: &List, mut needs: Bits) -> Bits {
        let claimed = self.claimed.take().unwrap_or_default();
        list.ids.iter().enumerate().filter(|(_, id)| claimed.contains(id)).for_each(|(at, _)| needs.set(at));
        self.ids = list.ids.iter().enumerate().filter(|(at, _)| !needs.has(*at)).map(|(_, id)| *id).collect();
        needs
    }

    /// What was said to be needed of the list, that being all it is not in doubt about.
    pub fn needs(&self, list: &List) -> Bits {
        let mut needs = Bits::default();
        let trusted = |id: &u64| self.ids.binary_search(id).is_err();
        list.ids.iter().enumerate().filter(|(_, id)| trusted(id)).for_each(|(at, _)| needs.set(at));
        needs
    }

    /// Whether the device has said what it needs.
    pub fn is_told(&self) -> bool {
        self.claimed.is_none()
    }

    /// As kept on this device: what was not said yet is said anew after a restart.
    pub fn encode(&self) -> Vec<u8> {
        let ids = self.ids.iter().flat_map(|id| id.to_be_bytes());
        let mut bytes = [MAGIC, &self.id, &[u8::from(self.is_told())]].concat();
        bytes.extend(ids);
        bytes
    }

    /// `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (id, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<16>()?;
        let (told, rest) = rest.split_first()?;
        let (ids, rest) = rest.as_chunks::<8>();
        let ids: Vec<u64> = ids.iter().map(|id| u64::from_be_bytes(*id)).collect();
        let claimed = (*told == 0).then(BTreeSet::new);
        (rest.is_empty() && ids.is_sorted()).then_some(Self { id: *id, ids, claimed })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(n: u8) -> Bid {
        Bid([n; 32])
    }

    #[test]
    fn what_is_claimed_before_the_word_is_in_it_and_what_is_claimed_after_it_is_refused() {
        let list = List::new([1; 16], [1, 2, 3, 4].map(|n| short(&id(n))).to_vec());
        let mut doubts = Doubts::new(&list);
        assert_eq!(doubts.claim(&[id(2), id(9)]), []);
        let said = doubts.told(&list, list.bits(&[id(3)]));
        assert_eq!((0..9).filter(|at| said.has(*at)).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(doubts.needs(&list), said);
        assert_eq!(doubts.claim(&[id(1), id(2), id(3), id(4), id(9)]), [id(1), id(4)]);
        assert_eq!(Doubts::decode(&doubts.encode()), Some(doubts.clone()));
        let bytes = doubts.encode();
        assert_eq!(Doubts::decode(&bytes[..bytes.len() - 1]), None);
        assert_eq!(Doubts::decode(b"gcd1"), None);
    }

    #[test]
    fn ids_that_begin_alike_are_all_meant() {
        let (mut one, mut two) = (id(5), id(5));
        (one.0[31], two.0[31]) = (1, 2);
        let list = List::new([1; 16], vec![short(&one), short(&two)]);
        let bits = list.bits(&[one]);
        assert!(bits.has(0) && bits.has(1));
    }
}
