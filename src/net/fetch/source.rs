//! What the scheduler knows of one peer: how fast, how far, how much is under way. Sans-IO.
//!
//! Must never let what a peer claims enter: all figures are our own observations.

use std::time::Duration;

/// Assumed until measured, in bytes per second.
const FIRST_RATE: f64 = 8e6;
/// Assumed until measured.
const FIRST_RTT: Duration = Duration::from_millis(20);
/// Least and most bytes asked of a peer ahead of time.
const WINDOW: std::ops::RangeInclusive<u64> = 1 << 20..=10 << 20;
/// A window holds so many round trips of the peer's rate, so that a packet that has to be sent again does not let it run dry,
const TRIPS: f64 = 3.0;
/// and so many seconds: disks and threads have their own delays.
const AHEAD: f64 = 0.05;
/// The best figure of so much time counts, and for as long again: what a lost packet or our own window held up for a while says
/// little of what the way can do, and believing it would make the window smaller still.
const MEMORY: Duration = Duration::from_secs(5);
/// One figure raises the rate so much at most.
const GROWTH: f64 = 1.25;

/// Estimates about one session.
#[derive(Debug)]
pub(super) struct Source {
    /// Bytes per second.
    rate: f64,
    /// The best figure since `since`.
    best: f64,
    since: Option<Duration>,
    rtt: Option<Duration>,
    /// Bytes asked of it and not arrived, of all classes.
    pub outstanding: u64,
    /// The same, without what somebody waits for.
    pub bulk: u64,
    /// Bytes received from it.
    pub delivered: u64,
    /// Nothing arrived for too long; others are preferred until something does.
    pub stalled: bool,
    /// It said it is busy: ask nothing before.
    pub paused_until: Duration,
}

impl Source {
    pub fn new(rtt: Option<Duration>) -> Self {
        Self {
            rate: FIRST_RATE,
            best: 0.0,
            since: None,
            rtt,
            outstanding: 0,
            bulk: 0,
            delivered: 0,
            stalled: false,
            paused_until: Duration::ZERO,
        }
    }

    /// The shortest round trip seen.
    pub fn rtt(&self) -> Duration {
        self.rtt.unwrap_or(FIRST_RTT)
    }

    /// `bytes` arrived during `span`, the life of a request: what it and its neighbours brought meanwhile. Unless the
    /// peer was kept `busy` a low figure says nothing.
    pub fn sample(&mut self, bytes: u64, span: Duration, busy: bool, now: Duration) {
        #[allow(clippy::cast_precision_loss)] // estimates
        let rate = bytes as f64 / span.as_secs_f64().max(1e-5);
        // What was held up comes at once: one figure alone may not promise too much.
        let rate = rate.clamp(1e4, 1e11).min(self.rate * GROWTH);
        self.rate = self.rate.max(rate);
        if !busy {
            return;
        }
        self.best = self.best.max(rate);
        if now.saturating_sub(*self.since.get_or_insert(now)) >= MEMORY {
            (self.rate, self.best, self.since) = (self.best, rate, Some(now));
        }
    }

    /// The first answer of a request came after `span`. The shortest counts for good: if it faded, our own queue would
    /// pass for distance and grow without end.
    pub fn answered_after(&mut self, span: Duration) {
        self.rtt = Some(self.rtt.map_or(span, |rtt| rtt.min(span)));
    }

    /// Bytes worth having under way: some bandwidth-delay products, clamped.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // positive and clamped
    pub fn window(&self) -> u64 {
        let time = TRIPS * self.rtt().as_secs_f64() + AHEAD;
        ((self.rate * time) as u64).clamp(*WINDOW.start(), *WINDOW.end())
    }

    /// Room for requests nobody waits for; none until a fair part of the window is free, so that runs stay long.
    pub fn room(&self) -> u64 {
        let (window, used) = (self.window(), self.bulk);
        let room = window.saturating_sub(used);
        if room >= window / 4 { room } else { 0 }
    }

    /// Seconds until `bytes` more would have arrived.
    #[allow(clippy::cast_precision_loss)] // estimates
    pub fn finish(&self, bytes: u64) -> f64 {
        let penalty = if self.stalled { 60.0 } else { 0.0 };
        (self.outstanding + bytes) as f64 / self.rate + self.rtt().as_secs_f64() + penalty
    }

    /// How long nothing may arrive for a request of `bytes` before others take over.
    pub fn patience(&self) -> Duration {
        #[allow(clippy::cast_precision_loss)] // estimates
        let expected = Duration::from_secs_f64((self.outstanding as f64 / self.rate).min(30.0));
        Duration::from_secs(2).max(self.rtt() * 8).max(expected * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_grows_with_rate_and_distance_within_its_clamps() {
        let mut source = Source::new(Some(Duration::from_millis(50)));
        assert_eq!(source.window(), 1_600_000);
        let second = Duration::from_secs(1);
        (0..20).for_each(|_| source.sample(25_000_000, second, true, second));
        assert_eq!(source.window(), 5_000_000);
        source.sample(1 << 30, second, true, second);
        assert_eq!(source.window(), 6_250_000, "one figure alone");
        (0..20).for_each(|_| source.sample(1 << 30, second, true, second));
        source.sample(1, second, false, second * 60);
        assert_eq!(source.window(), *WINDOW.end());
        // One bad second changes nothing, many do.
        source.sample(10_000, second, true, second * 2);
        assert_eq!(source.window(), *WINDOW.end());
        (3..20).for_each(|n| source.sample(10_000, second, true, second * n));
        assert_eq!(source.window(), *WINDOW.start());
    }

    #[test]
    fn the_shortest_round_trip_counts() {
        let mut source = Source::new(None);
        source.answered_after(Duration::from_millis(10));
        source.answered_after(Duration::from_millis(90));
        assert!(source.rtt() == Duration::from_millis(10));
    }
}
