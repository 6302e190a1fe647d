//! The highest head seen of every author, and what it tells when another comes.
//!
//! A lower number than before is a rollback; the same number with another hash proves that an author
//! signed two histories. Must never forget a proof.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::Digest;

/// Authors remembered at most; membership bounds them long before.
const MAX_AUTHORS: usize = 4096;

/// The highest heads, by author's public key.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Heads(BTreeMap<[u8; 32], Seen>);

/// The highest head of one author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    pub seq: u64,
    pub hash: Digest,
    /// Two heads of one number were seen.
    pub forked: bool,
}

/// How a head compares with what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    Newer,
    Same,
    Older,
    Forked,
}

impl Heads {
    /// Compare, without remembering.
    pub fn compare(&self, author: &[u8; 32], seq: u64, hash: &Digest) -> Compared {
        match self.0.get(author) {
            None => Compared::Newer,
            Some(seen) if seen.forked => Compared::Forked,
            Some(seen) if seq > seen.seq => Compared::Newer,
            Some(seen) if seq < seen.seq => Compared::Older,
            Some(seen) if seen.hash == *hash => Compared::Same,
            Some(_) => Compared::Forked,
        }
    }

    /// Remember a head; what is already known to be forked stays so.
    pub fn remember(&mut self, author: &[u8; 32], seq: u64, hash: &Digest, forked: bool) {
        if self.0.len() >= MAX_AUTHORS && !self.0.contains_key(author) {
            return;
        }
        let seen = self.0.entry(*author).or_insert(Seen { seq, hash: *hash, forked });
        seen.forked |= forked;
        if seq > seen.seq {
            (seen.seq, seen.hash) = (seq, *hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rollback_and_equivocation_are_told_apart_and_a_proof_stays() {
        let mut heads = Heads::default();
        let author = [1; 32];
        assert_eq!(heads.compare(&author, 5, &[5; 32]), Compared::Newer);
        heads.remember(&author, 5, &[5; 32], false);
        assert_eq!(heads.compare(&author, 5, &[5; 32]), Compared::Same);
        assert_eq!(heads.compare(&author, 4, &[4; 32]), Compared::Older);
        assert_eq!(heads.compare(&author, 5, &[6; 32]), Compared::Forked);
        heads.remember(&author, 5, &[6; 32], true);
        assert_eq!(heads.compare(&author, 9, &[9; 32]), Compared::Forked);
        assert_eq!(heads.compare(&[2; 32], 1, &[9; 32]), Compared::Newer);
    }
}
