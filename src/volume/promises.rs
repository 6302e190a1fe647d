//! Blocks that another device was told it may rely on: kept for a while even if nothing here refers to them.
//!
//! In memory only: after a restart nobody was promised anything that a collection could break within that time.
//! Must never promise a block that is on its way out.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use super::Volume;
use crate::base::Bid;

/// How long a promise stands: longer than any eviction takes.
const LASTING: Duration = Duration::from_secs(3600);
/// Most promises at once; beyond them the answer is no.
const MOST: usize = 1 << 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Promises {
    until: HashMap<Bid, Instant>,
    leaving: HashSet<Bid>,
}

impl Promises {
    /// Those that stand; the others are forgotten.
    pub fn standing(&mut self, now: Instant) -> HashSet<Bid> {
        self.until.retain(|_, until| *until > now);
        self.until.keys().copied().collect()
    }

    fn promise(&mut self, bid: &Bid, now: Instant) -> bool {
        if self.leaving.contains(bid) || self.until.len() >= MOST && !self.until.contains_key(bid) {
            return false;
        }
        self.until.insert(*bid, now + LASTING);
        true
    }

    /// Those of `ids` that may go, as nobody relies on them. Until [`Self::stay`] they are promised to nobody.
    fn leave(&mut self, ids: &[Bid], now: Instant) -> Vec<Bid> {
        let free = |bid: &&Bid| self.until.get(*bid).is_none_or(|until| *until <= now);
        let free: Vec<Bid> = ids.iter().filter(free).copied().collect();
        self.leaving.extend(&free);
        free
    }

    fn stay(&mut self, ids: &[Bid]) {
        for bid in ids {
            self.leaving.remove(bid);
        }
    }
}

impl Volume {
    /// Which of `ids` are here; with `promise` those also stay for an hour, so that somebody else may drop them.
    pub fn holds(&self, ids: &[Bid], promise: bool) -> Vec<bool> {
        let (log, now) = (self.blocks.log(), Instant::now());
        let here: Vec<bool> = {
            let mut promises = self.promises.lock();
            let holds =
                |bid| if promise { self.blocks.hold(bid) && promises.promise(bid, now) } else { log.contains(bid) };
            ids.iter().map(holds).collect()
        };
        // What a power cut could take is not here for others.
        if promise && log.sync(log.end()).is_err() { vec![false; ids.len()] } else { here }
    }

    /// Those of `ids` that nobody was promised. None of them is promised until [`Self::settled`].
    pub fn leaving(&self, ids: &[Bid]) -> Vec<Bid> {
        self.promises.lock().leave(ids, Instant::now())
    }

    /// What was [`Self::leaving`] is gone, or stays.
    pub fn settled(&self, ids: &[Bid]) {
        self.promises.lock().stay(ids);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_devices_that_evict_at_once_do_not_rely_on_each_other() {
        let (bid, now) = (Bid([1; 32]), Instant::now());
        let mut ours = Promises::default();
        assert_eq!(ours.leave(&[bid], now), [bid]);
        assert!(!ours.promise(&bid, now), "it is on its way out");
        ours.stay(&[bid]);
        assert!(ours.promise(&bid, now));
        assert!(ours.leave(&[bid], now).is_empty(), "somebody relies on it");
        assert!(ours.standing(now).contains(&bid));
        assert_eq!(ours.leave(&[bid], now + LASTING), [bid]);
        assert!(ours.standing(now + LASTING).is_empty());
    }
}
