//! What happened to a file since a plan to settle it was made, so that the result can be used although the
//! file was written to meanwhile.
//!
//! Pure bookkeeping. Must never forget a change: what it does not list is taken from the settled result.

use std::collections::BTreeMap;
use std::ops::Range;

/// Separate ranges remembered; beyond this the plan is given up.
const MAX_RANGES: usize = 1 << 16;

/// Changes since one plan.
#[derive(Debug)]
pub(super) struct Since {
    /// Which plan.
    pub plan: u64,
    /// The smallest size the file had since: beyond it nothing of the plan's content shows.
    pub low: u64,
    /// Changed ranges, apart from each other: start to end.
    ranges: BTreeMap<u64, u64>,
    /// Content was moved about, or too much changed: the plan is of no use.
    pub void: bool,
}

impl Since {
    /// Nothing changed yet since `plan` of a file of `size` bytes.
    pub fn new(plan: u64, size: u64) -> Self {
        Self { plan, low: size, ranges: BTreeMap::new(), void: false }
    }

    /// `range` changed. O(log n + ranges it touches).
    pub fn changed(&mut self, range: Range<u64>) {
        if range.is_empty() || self.void {
            return;
        }
        let Range { mut start, mut end } = range;
        if let Some((&at, &stop)) = self.ranges.range(..=start).next_back()
            && stop >= start
        {
            (start, end) = (at, end.max(stop));
        }
        while let Some((&at, &stop)) = self.ranges.range(start..=end).next() {
            self.ranges.remove(&at);
            end = end.max(stop);
        }
        self.ranges.insert(start, end);
        self.void = self.ranges.len() > MAX_RANGES;
    }

    /// Whether nothing changed at all: a plan of `planned` bytes for a file that has `size` now. A size can grow
    /// without a byte being written.
    pub fn is_nothing(&self, planned: u64, size: u64) -> bool {
        self.ranges.is_empty() && !self.void && self.low == planned && size == planned
    }

    /// The changed ranges in order.
    pub fn ranges(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.ranges.iter().map(|(&start, &end)| start..end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ranges_are_united_and_nothing_is_forgotten(changes in proptest::collection::vec((0..200u64, 0..20u64), 0..60)) {
            let mut since = Since::new(1, 300);
            let mut model = vec![false; 300];
            for (at, len) in changes {
                since.changed(at..at + len);
                (at..at + len).for_each(|n| if let Some(slot) = usize::try_from(n).ok().and_then(|n| model.get_mut(n)) { *slot = true });
            }
            let listed: Vec<_> = since.ranges().collect();
            prop_assert!(listed.windows(2).all(|w| w[0].end < w[1].start));
            for (n, changed) in model.iter().enumerate() {
                prop_assert_eq!(listed.iter().any(|r| r.contains(&(n as u64))), *changed);
            }
        }
    }

    #[test]
    fn a_size_that_grew_without_a_byte_written_is_a_change() {
        let mut since = Since::new(1, 10);
        since.changed(20..20);
        assert!(since.is_nothing(10, 10));
        assert!(!since.is_nothing(10, 20));
    }

    #[test]
    fn too_many_ranges_void_the_plan() {
        let mut since = Since::new(1, 1 << 40);
        (0..=MAX_RANGES as u64).for_each(|n| since.changed(n * 10..n * 10 + 1));
        assert!(since.void);
    }
}
