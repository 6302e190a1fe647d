//! How fast a store answers, learnt from its answers; and how much may be asked twice.
//!
//! Pure. Must never divide by what nobody measured yet.

use std::time::Duration;

/// Weight of the newest answer.
const WEIGHT: f64 = 0.2;
/// Believed of a store that never answered.
const UNKNOWN: Duration = Duration::from_millis(50);
/// A second store is started after at least and at most so long.
const SOONEST: Duration = Duration::from_millis(2);
const LATEST: Duration = Duration::from_secs(2);
/// One byte in so many may be asked for twice, and this much before anything was read.
const SHARE: u64 = 50;
const ALLOWANCE: u64 = 4 << 20;

/// Answers are compared with those of their size: up to 16 KiB, 128 KiB, 1 MiB, and beyond.
const CLASSES: [usize; 3] = [16 << 10, 128 << 10, 1 << 20];

/// The paces of one store, by the size of what is asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paces([Pace; CLASSES.len() + 1]);

impl Paces {
    /// It answered with `len` bytes after `took`.
    pub fn took(&mut self, len: usize, took: Duration) {
        self.0[class(len)].took(took);
    }

    /// When an answer of `len` bytes is expected.
    pub fn expected(&self, len: usize) -> Duration {
        self.of(len).map_or(UNKNOWN, Pace::expected)
    }

    /// After this long, few answers of `len` bytes are still to come.
    pub fn late(&self, len: usize) -> Duration {
        self.of(len).map_or(2 * UNKNOWN, Pace::late)
    }

    /// The pace of the smallest answers it ever gave.
    pub fn latency(&self) -> Option<Duration> {
        self.of(0).map(Pace::expected)
    }

    /// The class's pace, or that of the nearest class it is known of.
    fn of(&self, len: usize) -> Option<&Pace> {
        let wanted = class(len);
        let known = self.0.iter().enumerate().filter(|(_, pace)| pace.known);
        known.min_by_key(|(class, _)| class.abs_diff(wanted)).map(|(_, pace)| pace)
    }
}

fn class(len: usize) -> usize {
    CLASSES.iter().filter(|limit| len > **limit).count()
}

/// Moving average and deviation of the time to an answer, in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    known: bool,
    mean: f64,
    deviation: f64,
}

impl Pace {
    fn took(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        if !self.known {
            (self.known, self.mean, self.deviation) = (true, seconds, seconds / 2.0);
            return;
        }
        let off = seconds - self.mean;
        self.mean += WEIGHT * off;
        self.deviation += WEIGHT * (off.abs() - self.deviation);
    }

    fn expected(&self) -> Duration {
        Duration::from_secs_f64(self.mean.max(0.0))
    }

    /// Two deviations beyond the mean, and never right beside it: a store as steady as a clock is not late.
    fn late(&self) -> Duration {
        let late = self.mean + (2.0 * self.deviation).max(self.mean / 2.0);
        Duration::from_secs_f64(late.max(0.0)).clamp(SOONEST, LATEST)
    }
}

/// Bytes asked for twice, as a share of those read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Budget {
    read: u64,
    twice: u64,
}

impl Budget {
    /// So much was read.
    pub fn read(&mut self, bytes: usize) {
        self.read = self.read.saturating_add(bytes as u64);
    }

    /// Take `bytes` for a second request, if they are left.
    pub fn take(&mut self, bytes: u64) -> bool {
        let left = self.twice.saturating_add(bytes) <= ALLOWANCE + self.read / SHARE;
        if left {
            self.twice = self.twice.saturating_add(bytes);
        }
        left
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_follows_its_answers() {
        let mut paces = Paces::default();
        assert_eq!(paces.expected(0), UNKNOWN);
        for _ in 0..50 {
            paces.took(4096, Duration::from_millis(10));
        }
        assert!(paces.expected(100).abs_diff(Duration::from_millis(10)) < Duration::from_millis(1));
        assert_eq!(paces.late(100), Duration::from_millis(15));
        paces.took(4096, Duration::from_secs(1));
        assert!(paces.late(100) > Duration::from_millis(100));
    }

    #[test]
    fn each_size_has_its_pace_and_one_never_seen_borrows_the_nearest() {
        let mut paces = Paces::default();
        paces.took(1000, Duration::from_millis(1));
        assert_eq!(paces.expected(4 << 20), Duration::from_millis(1));
        paces.took(1 << 20, Duration::from_millis(100));
        assert_eq!(paces.expected(4 << 20), Duration::from_millis(100));
        assert_eq!(paces.expected(10), Duration::from_millis(1));
        assert_eq!(paces.latency(), Some(Duration::from_millis(1)));
    }

    #[test]
    fn two_percent_are_asked_for_twice() {
        let mut budget = Budget::default();
        assert!(budget.take(ALLOWANCE));
        assert!(!budget.take(1));
        budget.read(5000);
        assert!(budget.take(100));
        assert!(!budget.take(1));
    }
}
