//! Whether a store is asked at all: closed, open with doubling pauses, half open for one probe.
//!
//! Pure: the caller brings the time and the jitter. Must never let more than one probe out at once.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open it.
const FAILURES: u32 = 3;
/// First and longest pause.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// What a breaker allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allows {
    /// Reads.
    All,
    /// One question, whose answer decides.
    Probe,
    /// Nothing.
    Nothing,
    /// Reads that nobody else can answer: it answers, and it lied.
    LastResort,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Breaker {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    pause: Duration,
    probing: bool,
    /// It lied: no answer ends the pause.
    condemned: bool,
}

impl Breaker {
    /// What is allowed now. After [`Allows::Probe`] nothing is until [`Self::success`] or [`Self::failure`].
    pub fn ask(&mut self, now: Instant) -> Allows {
        match &mut self.open {
            None => Allows::All,
            Some(open) if open.until <= now && !open.probing => {
                open.probing = true;
                Allows::Probe
            }
            Some(open) if open.condemned && !open.probing => Allows::LastResort,
            Some(_) => Allows::Nothing,
        }
    }

    /// It answered.
    pub fn success(&mut self, now: Instant) {
        self.failures = 0;
        if !self.open.as_ref().is_some_and(|open| open.condemned && now < open.until) {
            self.open = None;
        }
    }

    /// It failed or stalled; `jitter` makes of a pause the pause to keep.
    pub fn failure(&mut self, now: Instant, jitter: impl Fn(Duration) -> Duration) {
        self.failures = self.failures.saturating_add(1);
        let pause = match &self.open {
            Some(open) if open.probing => (open.pause * 2).min(LONGEST),
            None if self.failures >= FAILURES => FIRST,
            _ => return,
        };
        self.open = Some(Open { until: now + jitter(pause), pause, probing: false, condemned: false });
    }

    /// It lied: no more of it for the longest pause.
    pub fn condemn(&mut self, now: Instant) {
        self.open = Some(Open { until: now + LONGEST, pause: LONGEST, probing: false, condemned: true });
    }

    /// Whether it is closed.
    pub fn is_closed(&self) -> bool {
        self.open.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(pause: Duration) -> Duration {
        pause
    }

    #[test]
    fn three_failures_open_it_and_one_probe_at_a_time_decides() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..2 {
            breaker.failure(now, same);
            assert_eq!(breaker.ask(now), Allows::All);
        }
        breaker.failure(now, same);
        assert_eq!(breaker.ask(now), Allows::Nothing);
        assert_eq!(breaker.ask(now + FIRST), Allows::Probe);
        assert_eq!(breaker.ask(now + FIRST), Allows::Nothing, "one probe only");
        breaker.failure(now + FIRST, same);
        assert_eq!(breaker.ask(now + FIRST * 2), Allows::Nothing, "the pause doubles");
        assert_eq!(breaker.ask(now + FIRST * 3), Allows::Probe);
        breaker.success(now);
        assert_eq!(breaker.ask(now), Allows::All);
    }

    #[test]
    fn pauses_are_bounded_and_an_answer_between_failures_counts() {
        let (mut breaker, mut now) = (Breaker::default(), Instant::now());
        for _ in 0..100 {
            breaker.failure(now, same);
            now += LONGEST;
            breaker.ask(now);
        }
        breaker.failure(now, same);
        assert_eq!(breaker.ask(now + LONGEST), Allows::Probe);
        breaker.success(now);
        breaker.failure(now, same);
        breaker.failure(now, same);
        breaker.success(now);
        breaker.failure(now, same);
        assert!(breaker.is_closed());
    }

    #[test]
    fn a_liar_is_not_acquitted_by_other_answers() {
        let (mut breaker, now) = (Breaker::default(), Instant::now());
        breaker.condemn(now);
        breaker.success(now + FIRST);
        assert_eq!(breaker.ask(now + FIRST), Allows::LastResort);
        assert_eq!(breaker.ask(now + LONGEST), Allows::Probe);
        breaker.success(now + LONGEST);
        assert!(breaker.is_closed());
    }
}
