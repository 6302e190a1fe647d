//! One direction of a link: when a packet that comes now is there, or that it is lost.
//!
//! Knows no clock and no device: time is handed in. Must never reorder.

use std::time::Duration;

use super::profile::Profile;

/// A reader that was not scheduled for so long finds packets that came in time: the line counts as busy with them.
const LATE: Duration = Duration::from_millis(2);

/// What a way did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Packets that arrive.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Packets lost by chance.
    pub lost: u64,
    /// Packets that found the queue full.
    pub dropped: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Way {
    profile: Profile,
    /// When the line has sent everything that was given to it.
    free: Duration,
    /// Nothing arrives before this: order is kept.
    last: Duration,
    dice: u64,
    /// So far.
    pub figures: Figures,
}

impl Way {
    /// Equal seeds lose the same packets.
    pub fn new(profile: Profile, seed: u64) -> Self {
        Self { profile, free: Duration::ZERO, last: Duration::ZERO, dice: seed, figures: Figures::default() }
    }

    /// From now on otherwise.
    pub fn reshape(&mut self, profile: Profile) {
        self.profile = profile;
    }

    /// A packet of `len` bytes comes at `now`: when it is at the other end.
    pub fn pass(&mut self, now: Duration, len: usize) -> Option<Duration> {
        let (Profile { rate, delay, jitter, loss, queue }, len) = (self.profile, len as u64);
        if loss > 0.0 && self.chance() < loss {
            self.figures.lost += 1;
            return None;
        }
        let mut sent = now;
        if rate > 0 {
            let room = if queue == 0 { Duration::from_millis(100) } else { span(queue, rate) };
            if self.free.saturating_sub(now) > room {
                self.figures.dropped += 1;
                return None;
            }
            self.free = self.free.max(now.saturating_sub(LATE)) + span(len, rate);
            sent = self.free.max(now);
        }
        let more = if jitter.is_zero() { Duration::ZERO } else { jitter.mul_f64(self.chance()) };
        self.last = self.last.max(sent + delay + more);
        self.figures.packets += 1;
        self.figures.bytes += len;
        Some(self.last)
    }

    /// Evenly spread in 0..1 (splitmix64).
    fn chance(&mut self) -> f64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        #[allow(clippy::cast_precision_loss)]
        let share = ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64;
        share
    }
}

fn span(bytes: u64, rate: u64) -> Duration {
    Duration::from_nanos((u128::from(bytes) * 1_000_000_000 / u128::from(rate)).try_into().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_plain_way_takes_no_time_and_a_delay_is_the_delay() {
        assert_eq!(Way::new(Profile::default(), 1).pass(MS(7), 1500), Some(MS(7)));
        let mut far = Way::new(Profile { delay: MS(25), ..Profile::default() }, 1);
        assert_eq!(far.pass(MS(7), 1500), Some(MS(32)));
    }

    #[test]
    fn the_rate_holds_and_the_queue_is_bounded() {
        let mut way = Way::new(Profile { rate: 1_000_000, queue: 50_000, ..Profile::default() }, 1);
        let arrived: Vec<_> = (0..100).filter_map(|_| way.pass(MS(1000), 1000)).collect();
        assert_eq!(arrived.len(), 53, "50 kB wait, and what the line may have sent while nobody looked");
        assert_eq!(arrived.last(), Some(&MS(1051)));
        assert_eq!(way.figures.dropped, 47);
        assert!(way.pass(MS(1051), 1000).is_some(), "there is room again");
    }

    #[test]
    fn loss_is_what_was_asked_for_and_the_same_for_the_same_seed() {
        let lost = |seed| {
            let mut way = Way::new(Profile { loss: 0.03, ..Profile::default() }, seed);
            (0..100_000).map(|_| way.pass(MS(1), 1500).is_none()).collect::<Vec<_>>()
        };
        let share = lost(5).iter().filter(|l| **l).count();
        assert!((2_800..3_200).contains(&share), "{share}");
        assert_eq!(lost(5), lost(5));
        assert_ne!(lost(5), lost(6));
    }

    #[test]
    fn jitter_never_reorders() {
        let mut way = Way::new(Profile { delay: MS(5), jitter: MS(10), ..Profile::default() }, 3);
        let arrived: Vec<_> = (0..1000).map(|n| way.pass(Duration::from_micros(n * 100), 100).unwrap()).collect();
        assert!(arrived.is_sorted());
    }
}
