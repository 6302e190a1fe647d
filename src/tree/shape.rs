//! Where nodes end, and what content is called independently of how it is sealed.
//!
//! Both are functions of content and the volume's keys only. This file must never look at references,
//! neighbours or history: equal contents must give equal trees on every device.

use crate::base::{Digest, derive_key, keyed_hash};

/// Expected encoded size of a node in bytes. A power of two, so that the threshold is a shift.
pub(super) const TARGET: usize = 1 << 13;
/// A node that reaches this many bytes ends, whatever the hash says. Chance never comes here
/// (e^-128); someone who knows the key and picks names could, and must not make a block too big.
pub(super) const MAX_WEIGHT: usize = 1 << 20;
/// The level at which nothing ends a node any more, so that every tree has a root.
pub(super) const TOP: u8 = 15;
/// Longest key in bytes.
pub const MAX_KEY: usize = 1024;
/// Largest value in bytes.
pub const MAX_VALUE: usize = 1 << 20;

/// The volume's keyed rules.
#[derive(Clone)]
pub(super) struct Shape {
    boundary: Digest,
    logical: Digest,
}

impl Shape {
    /// From the volume's logical key, which never changes with epochs.
    pub(super) fn new(logical_key: Digest) -> Self {
        Self { boundary: derive_key("lovage 2026 v1 tree boundary", &logical_key), logical: logical_key }
    }

    /// Whether the entry itself ends its node: `H(boundary, level || key)` as a little-endian u64 is
    /// below `weight * 2^64 / TARGET`, with `weight` the encoded size of the entry. Weighting by size
    /// makes node sizes exponential around the target whatever the sizes of values.
    pub(super) fn ends_node(&self, level: u8, key: &[u8], weight: usize) -> bool {
        if level >= TOP {
            return false;
        }
        let Some(threshold) = threshold(weight) else { return true };
        let digest = keyed_hash(&self.boundary, &[&[level], key]);
        digest.first_chunk().is_some_and(|head| u64::from_le_bytes(*head) < threshold)
    }

    /// The logical id of content given as consecutive parts.
    pub(super) fn logical(&self, parts: &[&[u8]]) -> Digest {
        keyed_hash(&self.logical, parts)
    }
}

/// `weight * 2^64 / TARGET`; none where every hash is below.
fn threshold(weight: usize) -> Option<u64> {
    let weight = u64::try_from(weight).ok().filter(|w| *w < TARGET as u64)?;
    Some(weight << (64 - TARGET.trailing_zeros()))
}

/// Whether a node must end for its size alone.
pub(super) fn is_full(level: u8, weight: usize) -> bool {
    level < TOP && weight >= MAX_WEIGHT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_the_weights_share_of_the_target() {
        assert_eq!(threshold(0), Some(0));
        assert_eq!(threshold(TARGET / 2), Some(1 << 63));
        assert_eq!(threshold(TARGET), None);
        assert_eq!(threshold(usize::MAX), None);
    }

    #[test]
    fn entries_end_nodes_as_often_as_their_weight_says() {
        let shape = Shape::new([7; 32]);
        let ends = (0u32..40_000).filter(|i| shape.ends_node(0, &i.to_be_bytes(), 512)).count();
        assert!((2_300..2_700).contains(&ends), "expected about 2500 of 40000, got {ends}");
    }

    #[test]
    fn levels_decide_independently_and_the_top_never_ends() {
        let shape = Shape::new([7; 32]);
        let at =
            |level: u8| (0u32..2_000).filter(|i| shape.ends_node(level, &i.to_be_bytes(), 512)).collect::<Vec<_>>();
        assert_ne!(at(0), at(1));
        assert!(at(TOP).is_empty());
        assert!(!is_full(TOP, usize::MAX) && is_full(0, MAX_WEIGHT));
    }

    #[test]
    fn another_key_gives_other_ends_and_other_ids() {
        let (a, b) = (Shape::new([1; 32]), Shape::new([2; 32]));
        let ends = |s: &Shape| (0u32..2_000).filter(|i| s.ends_node(0, &i.to_be_bytes(), 512)).collect::<Vec<_>>();
        assert_ne!(ends(&a), ends(&b));
        assert_ne!(a.logical(&[b"x"]), b.logical(&[b"x"]));
        assert_eq!(a.logical(&[b"x", b"y"]), a.logical(&[b"xy"]));
    }
}
