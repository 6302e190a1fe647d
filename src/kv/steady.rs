//! A store made steady: a bound on what runs at once, a deadline for each attempt, a few attempts.
//!
//! Retries follow `pause * 2^n` with jitter, and only for errors that pass by themselves. Must never try again what was
//! refused, nor go on when its future is dropped.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::{Expect, Kv, KvStat, Task};
use crate::base::port::{Entropy, System};
use crate::base::{Bid, Error, Kind, Result};

/// The bounds of [`Steady`].
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Requests under way at once.
    pub at_once: usize,
    /// For each attempt; what is sent adds its time on a slow line.
    pub deadline: Duration,
    /// Attempts, the first included.
    pub attempts: u32,
    /// Before the second attempt; doubles with each.
    pub pause: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { at_once: 16, deadline: Duration::from_secs(30), attempts: 3, pause: Duration::from_millis(200) }
    }
}

/// What a block is taken to weigh before it is there, in bytes.
const TYPICAL: usize = 128 << 10;
/// The same for a pack that is read and written.
const PACK: usize = 32 << 20;
/// A line that carries less, in bytes a second, is taken for dead.
const SLOWEST: u64 = 32 << 10;

/// See the module.
pub struct Steady {
    inner: Arc<dyn Kv>,
    bounds: Bounds,
    room: Semaphore,
}

/// Between half of `pause` and all of it, so that those who failed together do not come back together.
pub(super) fn jitter(pause: Duration) -> Duration {
    let mut byte = [0];
    System.fill(&mut byte);
    pause / 2 + pause.mul_f64(f64::from(byte[0]) / 512.0)
}

fn passes(kind: Kind) -> bool {
    matches!(kind, Kind::Unreachable | Kind::Timeout | Kind::Busy)
}

impl Steady {
    /// `inner` within `bounds`.
    pub fn new(inner: Arc<dyn Kv>, bounds: Bounds) -> Self {
        Self { inner, room: Semaphore::new(bounds.at_once.max(1)), bounds }
    }

    async fn once<T>(&self, bytes: usize, task: Task<'_, T>) -> Result<T> {
        let late = || Error::new(Kind::Timeout, "wait for the store", self.inner.name());
        let deadline = self.bounds.deadline + Duration::from_secs(bytes as u64 / SLOWEST);
        tokio::time::timeout(deadline, task).await.unwrap_or_else(|_| Err(late()))
    }

    async fn run<'a, T>(&'a self, attempt: impl Fn() -> Task<'a, T> + Send) -> Result<T> {
        self.run_with(0, attempt).await
    }

    /// `bytes` go out with each attempt.
    async fn run_with<'a, T>(&'a self, bytes: usize, attempt: impl Fn() -> Task<'a, T> + Send) -> Result<T> {
        let closed = |e| Error::new(Kind::Other, "wait for a turn", self.inner.name()).with_source(e);
        let _turn = self.room.acquire().await.map_err(closed)?;
        let mut pause = self.bounds.pause;
        for _ in 1..self.bounds.attempts {
            match self.once(bytes, attempt()).await {
                Err(e) if passes(e.kind()) => tokio::time::sleep(jitter(pause)).await,
                other => return other,
            }
            pause *= 2;
        }
        self.once(bytes, attempt()).await
    }
}

impl Kv for Steady {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        Box::pin(self.run(move || self.inner.get(id)))
    }

    /// The deadline is for typical blocks.
    fn get_many<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<Option<Bytes>>> {
        Box::pin(self.run_with(ids.len().saturating_mul(TYPICAL), move || self.inner.get_many(ids)))
    }

    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        Box::pin(self.run_with(value.len(), move || self.inner.put(id, value.clone())))
    }

    fn put_many(&self, blocks: Vec<(Bid, Bytes)>) -> Task<'_, ()> {
        let bytes = blocks.iter().map(|(_, value)| value.len()).sum();
        Box::pin(self.run_with(bytes, move || self.inner.put_many(blocks.clone())))
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        Box::pin(self.run(move || self.inner.has(ids)))
    }

    fn knows(&self, id: &Bid) -> Option<bool> {
        self.inner.knows(id)
    }

    fn doubt(&self) {
        self.inner.doubt();
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        Box::pin(self.run(move || self.inner.delete(ids)))
    }

    /// A pack may be read and written for it.
    fn sweep<'a>(&'a self, dead: &'a [Bid], from: usize) -> Task<'a, Option<usize>> {
        Box::pin(self.run_with(PACK, move || self.inner.sweep(dead, from)))
    }

    fn compares(&self) -> Task<'_, bool> {
        Box::pin(self.run(|| self.inner.compares()))
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        Box::pin(self.run(move || self.inner.list(after, limit)))
    }

    fn stat(&self) -> Task<'_, KvStat> {
        Box::pin(self.run(|| self.inner.stat()))
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        Box::pin(self.run(move || self.inner.get_head(name)))
    }

    /// One attempt: whether a lost answer was a success shows only by reading again.
    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        Box::pin(self.once(0, self.inner.put_head(name, value, expect)))
    }

    fn list_heads(&self) -> Task<'_, Vec<String>> {
        Box::pin(self.run(|| self.inner.list_heads()))
    }

    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        Box::pin(self.run(move || self.inner.delete_head(name)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::MemoryKv;
    use super::super::faulty::{Faulty, Mood, in_virtual_time};
    use super::*;

    /// What comes of a question to a store that fails `ails` times before it works, and how often it was asked.
    fn asked(ails: u64, with: Option<Kind>) -> (Result<Option<Bytes>>, u64) {
        let mood = move |n| match with {
            _ if n >= ails => Mood::Fine(0),
            Some(kind) => Mood::Fails(kind),
            None => Mood::Silent,
        };
        let kv = Faulty::new(&Arc::new(MemoryKv::default()), mood);
        let steady = Steady::new(Arc::clone(&kv) as Arc<dyn Kv>, Bounds::default());
        (in_virtual_time(steady.get(&Bid([1; 32]))), kv.asked())
    }

    #[test]
    fn what_passes_by_itself_is_tried_again_and_not_for_ever() {
        for with in [Some(Kind::Unreachable), Some(Kind::Timeout), None] {
            assert!(matches!(asked(2, with), (Ok(None), 3)));
            let (answer, asked) = asked(9, with);
            assert_eq!((answer.unwrap_err().kind(), asked), (with.unwrap_or(Kind::Timeout), 3));
        }
    }

    #[test]
    fn what_was_refused_is_not_tried_again() {
        for kind in [Kind::Denied, Kind::Full, Kind::Corrupt, Kind::Invalid, Kind::NotFound] {
            let (answer, asked) = asked(1, Some(kind));
            assert_eq!((answer.unwrap_err().kind(), asked), (kind, 1));
        }
    }
}
