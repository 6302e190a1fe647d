//! A limit on the bytes a second that a store is given.
//!
//! Must never let two batches pass at once that together exceed it, nor hold anybody to a limit that was lifted.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::base::sync::Mutex;

/// A batch under a limit is what passes in so long: the line is free for others in between.
const SPAN: Duration = Duration::from_millis(500);
/// Smaller batches would be all overhead.
const SMALLEST: u64 = 64 << 10;

/// See the module. At first there is none.
#[derive(Debug, Default)]
pub struct Limit {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Bytes a second.
    rate: Option<u64>,
    /// When what passed so far has had its time.
    free: Option<Instant>,
}

impl Limit {
    /// From now on `rate` bytes a second; none: as fast as can be.
    pub fn set(&self, rate: Option<u64>) {
        *self.state.lock() = State { rate, free: None };
        self.changed.notify_waiters();
    }

    /// Bytes a second.
    pub fn rate(&self) -> Option<u64> {
        self.state.lock().rate
    }

    /// How large a batch should be, when `usual` is good without a limit.
    pub fn batch(&self, usual: u64) -> u64 {
        let span = u64::try_from(SPAN.as_millis()).unwrap_or(u64::MAX);
        self.rate().map_or(usual, |rate| (rate.saturating_mul(span) / 1000).clamp(SMALLEST, usual))
    }

    /// Wait until `bytes` may pass.
    pub async fn pass(&self, bytes: u64) {
        loop {
            let changed = self.changed.notified();
            let Some(at) = self.reserve(bytes) else { return };
            tokio::select! {
                () = sleep_until(at) => return,
                () = changed => {}
            }
        }
    }

    #[allow(clippy::cast_precision_loss)] // a moment more or less
    fn reserve(&self, bytes: u64) -> Option<Instant> {
        let mut state = self.state.lock();
        let rate = state.rate?;
        let now = Instant::now();
        let at = state.free.unwrap_or(now).max(now);
        state.free = Some(at + Duration::from_secs_f64(bytes as f64 / rate.max(1) as f64));
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_pass_at_the_rate_that_was_set_and_no_faster_side_by_side() {
        let limit = Arc::new(Limit::default());
        limit.set(Some(1 << 20));
        let begin = Instant::now();
        let all: Vec<_> = (0..11)
            .map(|_| Arc::clone(&limit))
            .map(|limit| tokio::spawn(async move { limit.pass(limit.batch(8 << 20)).await }))
            .collect();
        for one in all {
            one.await.unwrap();
        }
        assert_eq!(begin.elapsed().as_secs(), 5, "ten half seconds, and the last is on its way");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_let_go_when_the_limit_is_lifted() {
        let limit = Arc::new(Limit::default());
        limit.set(Some(1024));
        limit.pass(1 << 30).await;
        let waiter = Arc::clone(&limit);
        let waiting = tokio::spawn(async move { waiter.pass(1).await });
        tokio::task::yield_now().await;
        let begin = Instant::now();
        limit.set(None);
        waiting.await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }

    #[test]
    fn batches_shrink_with_the_rate_within_bounds() {
        let limit = Limit::default();
        assert_eq!(limit.batch(8 << 20), 8 << 20);
        for (rate, batch) in [(1 << 30, 8 << 20), (1 << 20, 512 << 10), (1, 64 << 10), (u64::MAX, 8 << 20)] {
            limit.set(Some(rate));
            assert_eq!(limit.batch(8 << 20), batch);
        }
    }
}
