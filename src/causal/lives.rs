//! Lives: which run of a device made which of its changes, so that a device that was set back is found out.
//!
//! A restored backup or a copied machine goes on counting from where it was: its dots mean other changes than those
//! that others know under the same numbers, and a vector alone cannot tell. So every opening of a volume begins a
//! *life* with a random name. Must never call a device set back whose past is only longer than what is remembered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Vector;
use crate::base::WriterIndex;

/// Lives of a writer remembered: those before count as its common past.
const MOST: usize = 16;

/// The random name of a life.
pub type LifeId = [u8; 8];

/// The changes of a writer behind `since`, up to where the next life begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its name.
    pub id: LifeId,
    /// The writer's last change before it.
    pub since: u64,
}

/// The last lives of one writer, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lives(Vec<Life>);

impl Lives {
    /// A life begins behind the change `since`. One without any change gives way to it.
    pub fn begin(&mut self, id: LifeId, since: u64) {
        self.0.retain(|life| life.since < since);
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(Life { id, since });
    }

    /// The life that made the change `seq`, if it is remembered.
    pub fn at(&self, seq: u64) -> Option<LifeId> {
        self.0.iter().rev().find(|life| life.since < seq).map(|life| life.id)
    }

    /// Where the life called `id` stands, and where the next begins.
    fn find(&self, id: LifeId) -> Option<(Life, Option<u64>)> {
        let at = self.0.iter().position(|life| life.id == id)?;
        Some((self.0[at], self.0.get(at + 1).map(|next| next.since)))
    }

    /// Whether these are the lives of a device that was set back, for somebody who knows its changes up to `seq`, the
    /// last of them made in the life `id`. A device that is merely behind is not.
    pub fn forked(&self, id: LifeId, seq: u64) -> bool {
        match self.find(id) {
            Some((_, next)) => next.is_some_and(|next| seq > next),
            None => self.0.first().is_some_and(|oldest| seq > oldest.since),
        }
    }

    /// For the device itself, whose own changes go up to `reach`: others know its changes up to `seq`, the last made in
    /// the life `id`. `Some` if they know other changes than it made; with the last change that is certainly the same
    /// for both, as far as that can be told from one name.
    pub fn lost(&self, reach: u64, id: Option<LifeId>, seq: u64) -> Option<Option<u64>> {
        match id.and_then(|id| self.find(id)) {
            Some((_, Some(next))) if seq > next => Some(Some(next)),
            // Copied in the middle of a life: where is not known, but not before it began.
            Some((life, None)) if seq > reach => Some(Some(life.since)),
            None if seq > reach || id.is_some_and(|id| self.forked(id, seq)) => Some(None),
            _ => None,
        }
    }

    /// As [`Self::lost`], from a head of the device itself: its lives then, and its changes up to `seq`. The answer is
    /// always certain: in the worst case nothing is the same.
    pub fn diverged(&self, reach: u64, then: &Self, seq: u64) -> Option<u64> {
        let lived: Vec<Life> = then.0.iter().copied().filter(|life| life.since < seq).collect();
        let last = lived.last()?;
        self.lost(reach, Some(last.id), seq)?;
        let common = lived.iter().enumerate().rev().find_map(|(at, life)| {
            let (_, mine) = self.find(life.id)?;
            let theirs = lived.get(at + 1).map_or(seq, |next| next.since);
            // Who left the common life first did so at a beginning of a life; else it was copied within.
            Some(mine.filter(|mine| *mine <= theirs).unwrap_or(life.since))
        });
        Some(common.unwrap_or(0))
    }
}

/// For each writer the life in which its newest known change was made: the companion of a [`Vector`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lived(BTreeMap<WriterIndex, LifeId>);

impl Lived {
    /// The life of the newest known change of `writer`.
    pub fn get(&self, writer: WriterIndex) -> Option<LifeId> {
        self.0.get(&writer).copied()
    }

    /// Remember, or forget.
    pub fn set(&mut self, writer: WriterIndex, life: Option<LifeId>) {
        match life {
            Some(life) => drop(self.0.insert(writer, life)),
            None => drop(self.0.remove(&writer)),
        }
    }

    /// Take over what `theirs` knows newer changes of: before the vectors are united.
    pub fn unite(&mut self, mine: &Vector, theirs: (&Vector, &Self)) {
        for (writer, seq) in theirs.0.iter() {
            if seq > mine.get(writer) {
                self.set(writer, theirs.1.get(writer));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn id(n: u8) -> LifeId {
        [n; 8]
    }

    fn lives(all: &[(u8, u64)]) -> Lives {
        let mut lives = Lives::default();
        all.iter().for_each(|(n, since)| lives.begin(id(*n), *since));
        lives
    }

    #[test]
    fn lives_without_a_change_leave_no_trace_and_the_oldest_are_forgotten() {
        let mut mine = lives(&[(1, 0), (2, 5), (3, 5), (4, 9)]);
        assert_eq!(mine, lives(&[(1, 0), (3, 5), (4, 9)]));
        assert_eq!(
            (mine.at(0), mine.at(5), mine.at(6), mine.at(9), mine.at(10)),
            (None, Some(id(1)), Some(id(3)), Some(id(3)), Some(id(4)))
        );
        (5..40).for_each(|n| mine.begin(id(n), u64::from(n) * 10));
        assert_eq!((mine.0.len(), mine.at(6)), (MOST, None));
    }

    #[test]
    fn who_goes_on_or_is_behind_was_not_set_back() {
        let mine = lives(&[(1, 0), (2, 5), (3, 9)]);
        for (life, seq) in [(1, 3), (1, 5), (2, 6), (2, 9), (3, 10), (3, 99)] {
            assert!(!mine.forked(id(life), seq), "{life} up to {seq}");
        }
        assert_eq!(mine.lost(12, Some(id(3)), 12), None);
        assert_eq!(mine.diverged(12, &lives(&[(1, 0), (2, 5)]), 9), None);
        assert_eq!(mine.diverged(12, &mine.clone(), 12), None);
        // Older than anything remembered.
        assert!(!lives(&[(7, 50)]).forked(id(1), 50));
        assert_eq!(lives(&[(7, 50)]).lost(60, Some(id(1)), 50), None);
        // Nothing is known of the lives of old heads.
        assert_eq!(mine.lost(12, None, 12), None);
        assert_eq!(mine.diverged(12, &Lives::default(), 8), None);
    }

    /// The device lived 1 (to 5) and 2 (to 9), then was set back to 7, within 2, and lives 4.
    #[test]
    fn who_was_set_back_is_found_out_whether_it_is_behind_or_ahead() {
        let mine = lives(&[(1, 0), (2, 5), (4, 7)]);
        for reach in [7, 8, 20] {
            assert!(mine.forked(id(2), 9));
            assert_eq!(mine.lost(reach, Some(id(2)), 9), Some(Some(7)));
            assert_eq!(mine.diverged(reach, &lives(&[(1, 0), (2, 5)]), 9), Some(7));
            // The lost line opened the volume again, and again.
            let line = lives(&[(1, 0), (2, 5), (5, 9), (6, 11)]);
            assert!(mine.forked(id(6), 14));
            assert_eq!(mine.lost(reach, Some(id(6)), 14), Some(None));
            assert_eq!(mine.diverged(reach, &line, 14), Some(7));
        }
        // Opened again before anybody was met.
        let again = lives(&[(1, 0), (2, 5), (4, 7), (8, 30)]);
        assert!(again.forked(id(2), 9));
        assert_eq!(again.diverged(40, &lives(&[(1, 0), (2, 5)]), 9), Some(7));
    }

    #[test]
    fn a_copy_within_a_life_is_the_same_up_to_its_beginning() {
        let mine = lives(&[(1, 0), (2, 5)]);
        assert_eq!(mine.lost(7, Some(id(2)), 9), Some(Some(5)));
        assert_eq!(mine.diverged(7, &mine.clone(), 9), Some(5));
        assert_eq!(mine.diverged(7, &lives(&[(1, 0), (2, 5), (3, 8)]), 10), Some(5));
    }

    #[test]
    fn strangers_have_nothing_in_common() {
        assert_eq!(lives(&[(1, 0)]).diverged(4, &lives(&[(2, 0)]), 3), Some(0));
        assert_eq!(lives(&[(1, 0)]).lost(4, None, 5), Some(None));
    }

    #[test]
    fn the_newest_change_says_the_life() {
        let vector = |seq| {
            let mut vector = Vector::default();
            vector.raise(super::super::clock::Dot { writer: 3, seq });
            vector
        };
        let (mut mine, mut theirs) = (Lived::default(), Lived::default());
        mine.set(3, Some(id(1)));
        theirs.set(3, Some(id(2)));
        mine.unite(&vector(5), (&vector(5), &theirs));
        assert_eq!(mine.get(3), Some(id(1)));
        mine.unite(&vector(5), (&vector(6), &theirs));
        assert_eq!(mine.get(3), Some(id(2)));
        mine.unite(&vector(6), (&vector(7), &Lived::default()));
        assert_eq!(mine.get(3), None);
    }
}
