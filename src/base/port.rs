//! Ports to the outside world that tests replace: time and randomness.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A moment: nanoseconds since 1970, negative before. Covers 1677 to 2262; conversions saturate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Time(pub i64);

impl Time {
    /// From seconds and nanoseconds, saturating at the ends of the range.
    pub fn from_parts(secs: i64, nanos: u32) -> Self {
        Self(secs.saturating_mul(1_000_000_000).saturating_add(i64::from(nanos)))
    }

    /// Whole seconds, rounded down.
    pub fn secs(self) -> i64 {
        self.0.div_euclid(1_000_000_000)
    }

    /// Nanoseconds past the whole second.
    pub fn nanos(self) -> u32 {
        u32::try_from(self.0.rem_euclid(1_000_000_000)).unwrap_or(0)
    }
}

/// Wall-clock time.
pub trait Clock: Send + Sync + Debug {
    /// Now.
    fn now(&self) -> Time;
}

/// Unpredictable bytes.
pub trait Entropy: Send + Sync + Debug {
    /// Fill `out` completely.
    fn fill(&self, out: &mut [u8]);
}

/// The operating system's clock and randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct System;

impl Clock for System {
    fn now(&self) -> Time {
        let nanos = |d: std::time::Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => Time(nanos(after)),
            Err(before) => Time(-nanos(before.duration())),
        }
    }
}

impl Entropy for System {
    fn fill(&self, out: &mut [u8]) {
        // Without randomness no key and no id may be made: there is nothing to continue with.
        #[allow(clippy::panic)]
        if let Err(e) = getrandom::fill(out) {
            panic!("the operating system gives no randomness: {e}");
        }
    }
}

/// A clock and entropy that repeat exactly, for tests: time advances one microsecond a call.
#[derive(Debug)]
pub struct Seeded {
    now: AtomicU64,
    counter: AtomicU64,
    seed: [u8; 32],
}

impl Seeded {
    /// Start from `seed`, at 2026-01-01.
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self { now: AtomicU64::new(1_767_225_600_000_000_000), counter: AtomicU64::new(0), seed: key }
    }
}

impl Clock for Seeded {
    fn now(&self) -> Time {
        Time(i64::try_from(self.now.fetch_add(1_000, Ordering::Relaxed)).unwrap_or(i64::MAX))
    }
}

impl Entropy for Seeded {
    fn fill(&self, out: &mut [u8]) {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        super::keyed_xof(&self.seed, &[&n.to_le_bytes()], out);
    }
}
