//! Lives: which run of a device made which of its changes, so that a device that was set back is found out.
//!
//! A restored backup or a copied machine goes on counting from where it was: its dots mean other changes than those
//! that others know under the same numbers, and a vector alone cannot tell. So every opening of a volume begins a
//! *life* with a random name. Must never call a device set back whose past is only longer than what is remembered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Vector;
use crate::base::WriterIndex;

/// Lives of a writer remembered: the last ones, and of those before ever fewer.
const MOST: usize = 16;
/// The newest lives are all remembered.
const NEWEST: usize = 8;

/// The random name of a life.
pub type LifeId = [u8; 8];

/// The changes of a writer behind `since`, up to `until`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Life {
    /// Its name.
    pub id: LifeId,
    /// The writer's last change before it.
    pub since: u64,
    /// Its last change, once another life has begun.
    pub until: Option<u64>,
    /// When it began, in seconds since 1970 by the device's clock.
    pub began: u64,
}

/// The last lives of one writer, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lives(Vec<Life>);

impl Lives {
    /// A life begins behind the change `since`. One without any change gives way to it.
    pub fn begin(&mut self, id: LifeId, since: u64, began: u64) {
        self.0.retain(|life| life.since < since);
        if let Some(last) = self.0.last_mut() {
            last.until = Some(since);
        }
        if self.0.len() >= MOST {
            let old = self.0.len() - NEWEST;
            let mut at = 0;
            self.0.retain(|_| {
                at += 1;
                at > old || at % 2 == 1
            });
        }
        self.0.push(Life { id, since, until: None, began });
    }

    /// The life that made the change `seq`, and when that life began, if it is remembered.
    pub fn at(&self, seq: u64) -> Option<(LifeId, u64)> {
        self.around(seq).map(|life| (life.id, life.began))
    }

    fn around(&self, seq: u64) -> Option<&Life> {
        self.0.iter().find(|life| life.since < seq && life.until.is_none_or(|until| seq <= until))
    }

    fn find(&self, id: LifeId) -> Option<&Life> {
        self.0.iter().find(|life| life.id == id)
    }

    /// Whether these are the lives of a device that was set back, for somebody who knows its changes up to `seq`, the
    /// last of them made in the life `id`. A device that is merely behind is not, and what is not remembered is no proof.
    pub fn forked(&self, id: LifeId, seq: u64) -> bool {
        match self.find(id) {
            Some(life) => life.until.is_some_and(|until| seq > until),
            None => self.around(seq).is_some(),
        }
    }

    /// For the device itself, whose own changes go up to `reach`: others know its changes up to `seq`, the last made in
    /// the life `life`. `Some` if they know other changes than it made; with the last change that is the same for both
    /// as far as that can be told from a name and a time: `None` if there is neither.
    pub fn lost(&self, reach: u64, life: Option<(LifeId, u64)>, seq: u64) -> Option<Option<u64>> {
        let Some((id, began)) = life else { return (seq > reach).then_some(None) };
        match self.find(id) {
            Some(life) => match life.until {
                Some(until) => (seq > until).then_some(Some(until)),
                // Copied in the middle of a life: where is not known, but not before it began.
                None => (seq > reach).then_some(Some(life.since)),
            },
            None => (seq > reach || self.forked(id, seq)).then(|| Some(self.before(began))),
        }
    }

    /// The last change of the lives that began before a lost one did.
    fn before(&self, began: u64) -> u64 {
        let last = self.0.iter().rev().find(|life| life.began <= began);
        last.map_or(0, |life| life.until.unwrap_or(life.since))
    }

    /// As [`Self::lost`], from a head of the device itself: its lives then, and its changes up to `seq`. Needs no clock
    /// as long as any life is remembered by both.
    pub fn diverged(&self, reach: u64, then: &Self, seq: u64) -> Option<u64> {
        let lived: Vec<&Life> = then.0.iter().filter(|life| life.since < seq).collect();
        let last = lived.last()?;
        let guess = self.lost(reach, Some((last.id, last.began)), seq)?;
        let common = lived.iter().rev().find_map(|life| {
            let mine = self.find(life.id)?;
            let theirs = life.until.map_or(seq, |until| until.min(seq));
            // Who left the common life first did so at a beginning of a life; else it was copied within.
            Some(mine.until.filter(|mine| *mine <= theirs).unwrap_or(mine.since))
        });
        Some(common.or(guess).unwrap_or(0))
    }
}

/// For each writer the life in which its newest known change was made: the companion of a [`Vector`].
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Lived(BTreeMap<WriterIndex, (LifeId, u64)>);

impl Lived {
    /// The life of the newest known change of `writer`, and when that life began.
    pub fn get(&self, writer: WriterIndex) -> Option<(LifeId, u64)> {
        self.0.get(&writer).copied()
    }

    /// Remember, or forget.
    pub fn set(&mut self, writer: WriterIndex, life: Option<(LifeId, u64)>) {
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

    /// Lives by name and beginning, an hour apart.
    fn lives(all: &[(u8, u64)]) -> Lives {
        let mut lives = Lives::default();
        all.iter().for_each(|(n, since)| lives.begin(id(*n), *since, u64::from(*n) * 3600));
        lives
    }

    #[allow(clippy::unnecessary_wraps)] // as it is asked for
    fn known(n: u8) -> Option<(LifeId, u64)> {
        Some((id(n), u64::from(n) * 3600))
    }

    #[test]
    fn lives_without_a_change_leave_no_trace_and_old_ones_are_thinned() {
        let mut mine = lives(&[(1, 0), (2, 5), (3, 5), (4, 9)]);
        assert_eq!(mine, lives(&[(1, 0), (3, 5), (4, 9)]));
        assert_eq!([0, 5, 6, 9, 10].map(|seq| mine.at(seq)), [None, known(1), known(3), known(3), known(4)]);
        (5..100).for_each(|n| mine.begin(id(n), u64::from(n) * 10, u64::from(n) * 3600));
        assert!(mine.0.len() <= MOST);
        assert_eq!(mine.at(1), known(1), "the first stays");
        assert_eq!(
            (92..100_u8).map(|n| mine.at(u64::from(n) * 10 + 1)).collect::<Vec<_>>(),
            (92..100).map(known).collect::<Vec<_>>()
        );
        // A healthy device is never suspected, whatever others know of its past.
        for n in 5..100 {
            let reach = u64::from(n + 1) * 10;
            assert!(!mine.forked(id(n), reach));
            assert_eq!(mine.lost(2000, known(n), reach), None, "{n}");
        }
    }

    #[test]
    fn who_goes_on_or_is_behind_was_not_set_back() {
        let mine = lives(&[(1, 0), (2, 5), (3, 9)]);
        for (life, seq) in [(1, 3), (1, 5), (2, 6), (2, 9), (3, 10), (3, 99)] {
            assert!(!mine.forked(id(life), seq), "{life} up to {seq}");
        }
        assert_eq!(mine.lost(12, known(3), 12), None);
        assert_eq!(mine.diverged(12, &lives(&[(1, 0), (2, 5)]), 9), None);
        assert_eq!(mine.diverged(12, &mine.clone(), 12), None);
        // Older than anything remembered.
        assert!(!lives(&[(7, 50)]).forked(id(1), 50));
        assert_eq!(lives(&[(7, 50)]).lost(60, known(1), 50), None);
        // Nothing is known of the lives of old heads.
        assert_eq!(mine.lost(12, None, 12), None);
        assert_eq!(mine.diverged(12, &Lives::default(), 8), None);
    }

    /// The device lived 1 (to 5) and 2 (to 9), then was set back to 7, within 2, and lives 7.
    #[test]
    fn who_was_set_back_is_found_out_whether_it_is_behind_or_ahead() {
        let mine = lives(&[(1, 0), (2, 5), (7, 7)]);
        for reach in [7, 8, 20] {
            assert!(mine.forked(id(2), 9));
            assert_eq!(mine.lost(reach, known(2), 9), Some(Some(7)));
            assert_eq!(mine.diverged(reach, &lives(&[(1, 0), (2, 5)]), 9), Some(7));
            // The lost line opened the volume again, and again: its last life alone tells by its time.
            let line = lives(&[(1, 0), (2, 5), (5, 9), (6, 11)]);
            assert!(mine.forked(id(6), 14));
            assert_eq!(mine.lost(reach, known(6), 14), Some(Some(7)));
            assert_eq!(mine.diverged(reach, &line, 14), Some(7));
        }
        // Opened again before anybody was met.
        let again = lives(&[(1, 0), (2, 5), (7, 7), (8, 30)]);
        assert!(again.forked(id(2), 9));
        assert_eq!(again.diverged(40, &lives(&[(1, 0), (2, 5)]), 9), Some(7));
        assert_eq!(again.lost(40, known(6), 14), Some(Some(7)));
        // A clock that was wrong in the lost past may only make more of this one move.
        assert_eq!(again.lost(40, Some((id(6), 0)), 14), Some(Some(0)));
        assert_eq!(again.diverged(40, &lives(&[(1, 0), (2, 5), (6, 11)]), 14), Some(7));
    }

    #[test]
    fn a_copy_within_a_life_is_the_same_up_to_its_beginning() {
        let mine = lives(&[(1, 0), (2, 5)]);
        assert_eq!(mine.lost(7, known(2), 9), Some(Some(5)));
        assert_eq!(mine.diverged(7, &mine.clone(), 9), Some(5));
        assert_eq!(mine.diverged(7, &lives(&[(1, 0), (2, 5), (3, 8)]), 10), Some(5));
    }

    #[test]
    fn strangers_have_nothing_in_common() {
        assert_eq!(lives(&[(3, 0)]).diverged(4, &lives(&[(2, 0)]), 3), Some(0));
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
        mine.set(3, known(1));
        theirs.set(3, known(2));
        mine.unite(&vector(5), (&vector(5), &theirs));
        assert_eq!(mine.get(3), known(1));
        mine.unite(&vector(5), (&vector(6), &theirs));
        assert_eq!(mine.get(3), known(2));
        mine.unite(&vector(6), (&vector(7), &Lived::default()));
        assert_eq!(mine.get(3), None);
    }
}
