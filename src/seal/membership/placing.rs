//! Which storage members keep a block: weighted rendezvous hashing of spans of ids over them.
//!
//! Pure, and in whole numbers, so that everyone who has the same membership finds the same places, the boxes too. Must
//! never depend on the order of members, and never move a span between two boxes that both stay. Why so:
//! `docs/decisions/0014-placement.md`.

use std::collections::BTreeMap;

use crate::base::{Bid, Digest, VolumeId, hash};

/// Sealed blocks of at most so many bytes go to every box: tree nodes are of 8 KiB on average, and no chunk inside a file
/// is as small.
pub const EVERYWHERE: u64 = 32 << 10;
/// Blocks are placed by the first twelve bits of their ids.
const SPANS: usize = 1 << 12;
const WORDS: usize = SPANS / 64;
/// Binary places of a logarithm.
const PLACES: u32 = 40;

/// A storage member that blocks may be placed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its identity.
    pub peer: [u8; 32],
    /// The class of its room: it gets in proportion to two to the power of that.
    pub class: Option<u8>,
}

/// The spans that one box keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share([u64; WORDS]);

impl Share {
    /// Nothing but small blocks.
    pub const NONE: Self = Self([0; WORDS]);
    /// Everything.
    pub const ALL: Self = Self([u64::MAX; WORDS]);

    /// Whether a block whose sealed bytes are `size` belongs to it.
    pub fn has(&self, bid: &Bid, size: u64) -> bool {
        size <= EVERYWHERE || self.has_span(span_of(bid))
    }

    /// Whether it asks for nothing that `other` does not.
    pub fn is_within(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(mine, theirs)| mine & !theirs == 0)
    }

    /// Out of a thousand large blocks, how many.
    pub fn permille(&self) -> u64 {
        let spans: u64 = self.0.iter().map(|word| u64::from(word.count_ones())).sum();
        spans * 1000 / SPANS as u64
    }

    /// Out of a hundred, to the nearest.
    pub fn percent(&self) -> u64 {
        (self.permille() + 5) / 10
    }

    /// As stored: 512 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Undo [`Self::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, rest) = bytes.as_chunks::<8>();
        let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        words.try_into().ok().filter(|_| rest.is_empty()).map(Self)
    }

    fn has_span(&self, span: usize) -> bool {
        self.0.get(span / 64).is_some_and(|word| word >> (span % 64) & 1 == 1)
    }

    fn add_span(&mut self, span: usize) {
        if let Some(word) = self.0.get_mut(span / 64) {
            *word |= 1 << (span % 64);
        }
    }
}

/// By box: what it keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Placement(BTreeMap<[u8; 32], Share>);

impl Placement {
    /// Place each span of `volume` at `copies` of `places`; 0, or as many as there are: everything at each.
    pub fn new(volume: VolumeId, copies: u8, places: &[Place]) -> Self {
        let places: BTreeMap<[u8; 32], Option<u8>> = places.iter().map(|place| (place.peer, place.class)).collect();
        let copies = usize::from(copies);
        if copies == 0 || copies >= places.len() {
            return Self(places.into_keys().map(|peer| (peer, Share::ALL)).collect());
        }
        let unknown = median(places.values().copied().flatten().collect());
        let mut shares: Vec<([u8; 32], Share)> = places.keys().map(|peer| (*peer, Share::NONE)).collect();
        let classes: Vec<u8> = places.into_values().map(|class| class.unwrap_or(unknown)).collect();
        let mut costs = Vec::with_capacity(shares.len());
        for span in 0..SPANS {
            costs.clear();
            let one =
                |(at, ((peer, _), class)): (usize, (&([u8; 32], Share), &u8))| (cost(volume, span, peer, *class), at);
            costs.extend(shares.iter().zip(&classes).enumerate().map(one));
            costs.sort_unstable();
            for (_, at) in costs.iter().take(copies) {
                if let Some((_, share)) = shares.get_mut(*at) {
                    share.add_span(span);
                }
            }
        }
        Self(shares.into_iter().collect())
    }

    /// What the box keeps; nothing of one that is not among them.
    pub fn share(&self, peer: &[u8; 32]) -> Option<&Share> {
        self.0.get(peer)
    }

    /// The boxes that keep a block whose sealed bytes are `size`.
    pub fn keepers<'a>(&'a self, bid: &'a Bid, size: u64) -> impl Iterator<Item = &'a [u8; 32]> {
        self.0.iter().filter(move |(_, share)| share.has(bid, size)).map(|(peer, _)| peer)
    }
}

fn span_of(bid: &Bid) -> usize {
    let [a, b, ..] = bid.0;
    usize::from(u16::from_be_bytes([a, b]) >> 4)
}

/// `-log2(h) / 2^class`, for an `h` in (0, 1] drawn for this span and box: the least is the best. The box with the least of
/// it is drawn in proportion to `2^class`, and what others there are changes nothing about it.
fn cost(volume: VolumeId, span: usize, peer: &[u8; 32], class: u8) -> u128 {
    let drawn: Digest = hash(&[b"lovage place", &volume.0, &(span as u64).to_le_bytes(), peer]);
    let drawn = drawn.first_chunk().map_or(0, |part| u64::from_le_bytes(*part)) | 1;
    let cost = (64_u64 << PLACES) - log2(drawn);
    u128::from(cost) << (63 - class.min(63))
}

/// The binary logarithm of `n`, which is not 0, times `2^PLACES`, rounded down: one place at a time, by squaring.
fn log2(n: u64) -> u64 {
    let whole = n.checked_ilog2().unwrap_or(0);
    // From 1 up to 2, with 63 binary places.
    let mut rest = n << (63 - whole);
    let mut log = u64::from(whole);
    for _ in 0..PLACES {
        let square = (u128::from(rest) * u128::from(rest)) >> 63;
        let carry = u32::from(square >> 64 != 0);
        rest = u64::try_from(square >> carry).unwrap_or(u64::MAX);
        log = log << 1 | u64::from(carry);
    }
    log
}

/// The lower one of two; 0 of none.
fn median(mut classes: Vec<u8>) -> u8 {
    classes.sort_unstable();
    let middle = classes.len().saturating_sub(1) / 2;
    classes.get(middle).copied().unwrap_or(0)
}

#[cfg(test)]
#[path = "placing/tests.rs"]
mod tests;
