//! A sorted set of numbers in 8 to 9 bytes each: one run, and what came since it was made.
//!
//! What came since grows to a sixteenth of the run, then both become one: 16 moves a number in all. Must never hold
//! twice what it needs for longer than that takes.

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::ops::RangeInclusive;

/// So many may always wait.
const LEAST: usize = 4096;

/// See the module.
#[derive(Debug, Default)]
pub struct Sorted {
    run: Vec<u64>,
    recent: BTreeSet<u64>,
}

impl Sorted {
    /// Of these, in any order, none twice.
    pub fn new(mut numbers: Vec<u64>) -> Self {
        numbers.sort_unstable();
        Self { run: numbers, recent: BTreeSet::new() }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.run.len() + self.recent.len()
    }

    /// Whether it is there.
    pub fn contains(&self, number: u64) -> bool {
        self.run.get(self.place(number)) == Some(&number) || self.recent.contains(&number)
    }

    /// Where in the run the first is that is not below `number`. Looked for first where it is if they are spread evenly, as
    /// hashes are: so a run ten times as long costs hardly more.
    fn place(&self, number: u64) -> usize {
        let len = self.run.len();
        let guess = usize::try_from((u128::from(number) * len as u128) >> 64).unwrap_or(len);
        let reach = 4 * len.isqrt() + 8;
        let (low, high) = (guess.saturating_sub(reach), (guess + reach).min(len));
        let begins = low.checked_sub(1).is_none_or(|before| self.run[before] < number);
        let ends = self.run.get(high).is_none_or(|after| *after >= number);
        let (low, high) = if begins && ends { (low, high) } else { (0, len) };
        low + self.run[low..high].partition_point(|n| *n < number)
    }

    /// One more, which is not there yet. See [`Self::is_due`].
    pub fn insert(&mut self, number: u64) {
        self.recent.insert(number);
    }

    /// Whether it is time to [`Self::settle`]: so much has come, or of so many it is known that they may go.
    pub fn is_due(&self, may_go: usize) -> bool {
        self.recent.len().max(may_go) > LEAST.max(self.run.len() / 16)
    }

    /// Those in `range`, ascending.
    pub fn range(&self, range: RangeInclusive<u64>) -> Merged<'_> {
        let start = self.place(*range.start());
        let rest = &self.run[start..];
        let len = match rest.first() {
            Some(first) if range.contains(first) => rest.partition_point(|n| range.contains(n)),
            _ => 0,
        };
        Merged { run: rest[..len].iter().peekable(), recent: self.recent.range(range).peekable() }
    }

    /// Make one run of those that `keep` says. Cost: all of them are moved.
    pub fn settle(&mut self, keep: impl Fn(u64) -> bool) {
        self.run.retain(|n| keep(*n));
        let recent: Vec<u64> = std::mem::take(&mut self.recent).into_iter().filter(|n| keep(*n)).collect();
        let (mut from, mut left) = (self.run.len(), recent.len());
        self.run.reserve_exact(left);
        self.run.resize(from + left, 0);
        for to in (0..self.run.len()).rev() {
            if left == 0 {
                break; // the others are where they belong
            }
            if from > 0 && self.run[from - 1] > recent[left - 1] {
                from -= 1;
                self.run[to] = self.run[from];
            } else {
                left -= 1;
                self.run[to] = recent[left];
            }
        }
        if self.run.capacity() > self.run.len() + self.run.len() / 8 {
            self.run.shrink_to_fit();
        }
    }

    /// Put another number in the place of each of a settled set; their order must stay.
    pub fn renumber(&mut self, number: impl Fn(u64) -> u64) {
        self.run.iter_mut().for_each(|n| *n = number(*n));
    }

    /// Bytes of memory it takes, about.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.run.capacity() * 8 + self.recent.len() * 14
    }
}

/// See [`Sorted::range`].
pub struct Merged<'s> {
    run: Peekable<std::slice::Iter<'s, u64>>,
    recent: Peekable<std::collections::btree_set::Range<'s, u64>>,
}

impl Iterator for Merged<'_> {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let from_run = match (self.run.peek(), self.recent.peek()) {
            (Some(run), Some(recent)) => run < recent,
            (run, _) => run.is_some(),
        };
        if from_run { self.run.next().copied() } else { self.recent.next().copied() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_place_is_found_however_they_are_spread(
            close in proptest::collection::vec(0_u64..5000, 0..2000),
            far in proptest::collection::vec(any::<u64>(), 0..2000),
            asked in proptest::collection::vec(prop_oneof![0_u64..5000, any::<u64>()], 1..50),
        ) {
            let sorted = Sorted::new(close.into_iter().chain(far).collect());
            for number in asked.into_iter().chain([0, u64::MAX]).chain(sorted.run.first().copied()) {
                prop_assert_eq!(sorted.place(number), sorted.run.partition_point(|n| *n < number));
            }
        }

        #[test]
        fn it_is_a_sorted_set_however_it_came_to_be(
            start in proptest::collection::btree_set(0_u64..500, 0..100),
            steps in proptest::collection::vec((0_u64..500, any::<bool>()), 0..200),
            (low, high) in (0_u64..500, 0_u64..500),
        ) {
            let mut model = start.clone();
            let mut sorted = Sorted::new(start.into_iter().rev().collect());
            for (number, settles) in steps {
                if model.insert(number) {
                    sorted.insert(number);
                }
                if settles {
                    model.retain(|n| n % 7 != number % 7);
                    sorted.settle(|n| n % 7 != number % 7);
                }
            }
            prop_assert_eq!(sorted.len(), model.len());
            prop_assert!((0..500).all(|n| sorted.contains(n) == model.contains(&n)));
            let within: Vec<u64> = model.iter().copied().filter(|n| (low..=high).contains(n)).collect();
            if low <= high {
                prop_assert_eq!(sorted.range(low..=high).collect::<Vec<_>>(), within);
            }
            prop_assert_eq!(sorted.range(0..=u64::MAX).collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
        }
    }
}
