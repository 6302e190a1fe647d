//! Dots, version vectors and hybrid stamps.
//!
//! A dot names one change; a vector says which dots are known; a stamp orders changes for people
//! (the later one wins a name). Only vectors decide what is newer for the join.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::WriterIndex;
use crate::base::port::Time;

/// One change: the `seq`-th of `writer`, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot {
    /// Who.
    pub writer: WriterIndex,
    /// Which of theirs.
    pub seq: u64,
}

/// A version vector: every dot up to `seq` of each writer is known.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Vector(BTreeMap<WriterIndex, u64>);

impl Vector {
    /// Whether `dot` is known.
    pub fn covers(&self, dot: Dot) -> bool {
        self.get(dot.writer) >= dot.seq
    }

    /// The highest known seq of `writer`, 0 if none.
    pub fn get(&self, writer: WriterIndex) -> u64 {
        self.0.get(&writer).copied().unwrap_or(0)
    }

    /// Know everything up to `dot` of its writer.
    pub fn raise(&mut self, dot: Dot) {
        let known = self.0.entry(dot.writer).or_insert(0);
        *known = (*known).max(dot.seq);
    }

    /// A new dot of `writer`, known from now on.
    pub fn next(&mut self, writer: WriterIndex) -> Dot {
        let dot = Dot { writer, seq: self.get(writer).saturating_add(1) };
        self.raise(dot);
        dot
    }

    /// Know what either knows.
    pub fn unite(&mut self, other: &Self) {
        for (&writer, &seq) in &other.0 {
            self.raise(Dot { writer, seq });
        }
    }

    /// Know of `writer` up to `seq`, whatever was known: only for a device that has become another writer.
    pub(super) fn reset(&mut self, writer: WriterIndex, seq: u64) {
        if seq == 0 {
            self.0.remove(&writer);
        } else {
            self.0.insert(writer, seq);
        }
    }

    /// Whether everything `other` knows is known.
    pub fn includes(&self, other: &Self) -> bool {
        other.iter().all(|(writer, seq)| self.get(writer) >= seq)
    }

    /// All writers with their highest known seq, in order.
    pub fn iter(&self) -> impl Iterator<Item = (WriterIndex, u64)> + '_ {
        self.0.iter().map(|(&w, &s)| (w, s))
    }
}

/// A hybrid logical time: wall-clock nanoseconds, never repeated by one writer; ties go to the writer index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Stamp {
    /// Nanoseconds since 1970, pushed forward where the clock stood still or went back.
    pub time: Time,
    /// Who made it.
    pub writer: WriterIndex,
}

/// Makes stamps that grow strictly, whatever the clock does.
#[derive(Debug, Clone)]
pub struct HybridClock {
    writer: WriterIndex,
    last: Time,
}

impl HybridClock {
    /// Continue after `last`.
    pub fn new(writer: WriterIndex, last: Time) -> Self {
        Self { writer, last }
    }

    /// Stamp as another writer from now on.
    pub fn become_writer(&mut self, writer: WriterIndex) {
        self.writer = writer;
    }

    /// A stamp later than every earlier one, at `now` if the clock allows.
    pub fn stamp(&mut self, now: Time) -> Stamp {
        self.last = now.max(Time(self.last.0.saturating_add(1)));
        Stamp { time: self.last, writer: self.writer }
    }

    /// Never stamp before something seen elsewhere.
    pub fn observe(&mut self, seen: Stamp) {
        self.last = self.last.max(seen.time);
    }

    /// The latest stamp's time.
    pub fn last(&self) -> Time {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_grow_even_when_the_clock_goes_back() {
        let mut clock = HybridClock::new(3, Time(100));
        let a = clock.stamp(Time(50));
        let b = clock.stamp(Time(200));
        let c = clock.stamp(Time(200));
        assert!(a < b && b < c);
        assert_eq!(a.time, Time(101));
    }

    #[test]
    fn a_vector_covers_what_it_counted() {
        let mut v = Vector::default();
        let dot = v.next(1);
        assert_eq!(dot, Dot { writer: 1, seq: 1 });
        assert!(v.covers(dot) && !v.covers(Dot { writer: 1, seq: 2 }) && !v.covers(Dot { writer: 2, seq: 1 }));
    }
}
