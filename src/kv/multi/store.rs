//! One store among many: its breaker, its pace, what went wrong last.
//!
//! Must never hold its lock while a store is asked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::super::steady::jitter;
use super::super::{Kv, is_genuine};
use super::breaker::{Allows, Breaker};
use super::pace::Paces;
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Error};

/// A probe that takes longer has failed.
const PROBE: Duration = Duration::from_secs(5);

/// See the module.
pub struct Store {
    kv: Arc<dyn Kv>,
    seen: Mutex<Seen>,
    /// The first eight bytes of each id it is known to have; ids are hashes. 9 to 18 bytes a block.
    inventory: RwLock<Option<HashSet<u64>>>,
}

fn short(id: &Bid) -> u64 {
    id.0.first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
}

#[derive(Default)]
struct Seen {
    breaker: Breaker,
    paces: Paces,
    under_way: u32,
    corrupt: u64,
    trouble: String,
}

impl Store {
    pub(super) fn new(kv: Arc<dyn Kv>) -> Self {
        Self { kv, seen: Mutex::default(), inventory: RwLock::default() }
    }

    /// The store itself.
    pub fn kv(&self) -> &Arc<dyn Kv> {
        &self.kv
    }

    /// `ok`, or what went wrong last while it is not asked.
    pub fn state(&self) -> String {
        let seen = self.seen.lock();
        if seen.breaker.is_closed() && seen.trouble.is_empty() { "ok".to_owned() } else { seen.trouble.clone() }
    }

    /// Whether it is asked at all.
    pub fn is_ok(&self) -> bool {
        self.seen.lock().breaker.is_closed()
    }

    /// How long an answer takes; `None` before the first.
    pub fn latency(&self) -> Option<Duration> {
        self.seen.lock().paces.latency()
    }

    /// Blocks that it gave wrong.
    pub fn corrupt(&self) -> u64 {
        self.seen.lock().corrupt
    }

    pub(super) fn ask(&self, now: Instant) -> Allows {
        self.seen.lock().breaker.ask(now)
    }

    /// Expected time to an answer of `len` bytes, with what it has to do already.
    pub fn expected(&self, len: usize) -> Duration {
        let seen = self.seen.lock();
        let alone = seen.paces.expected(len);
        alone + alone * seen.under_way / 16
    }

    pub(super) fn late(&self, len: usize) -> Duration {
        self.seen.lock().paces.late(len)
    }

    /// What is known of it: whether it has a block. `None` before it was listed.
    pub fn holds(&self, id: &Bid) -> Option<bool> {
        let inventory = self.inventory.read();
        inventory.as_ref().map(|known| known.contains(&short(id)))
    }

    /// It was listed: these are its blocks.
    pub fn listed(&self, ids: impl Iterator<Item = Bid>) {
        *self.inventory.write() = Some(ids.map(|id| short(&id)).collect());
    }

    /// It has these blocks too.
    pub fn gained(&self, ids: &[Bid]) {
        if let Some(known) = &mut *self.inventory.write() {
            known.extend(ids.iter().map(short));
        }
    }

    /// It has these blocks no more.
    pub fn lost(&self, ids: &[Bid]) {
        if let Some(known) = &mut *self.inventory.write() {
            known.retain(|known| !ids.iter().any(|id| short(id) == *known));
        }
    }

    pub(super) fn started(&self) {
        self.seen.lock().under_way += 1;
    }

    pub(super) fn ended(&self) {
        let mut seen = self.seen.lock();
        seen.under_way = seen.under_way.saturating_sub(1);
    }

    /// It answered, be it that it has nothing.
    pub fn answered(&self, len: usize, took: Duration) {
        let mut seen = self.seen.lock();
        seen.paces.took(len, took);
        seen.breaker.success(Instant::now());
        if seen.breaker.is_closed() {
            seen.trouble.clear();
        }
    }

    /// It was overtaken after `waited`, when its answer was late already.
    pub(super) fn overtaken(&self, len: usize, waited: Duration) {
        let mut seen = self.seen.lock();
        seen.paces.took(len, waited);
        "does not answer in time".clone_into(&mut seen.trouble);
        seen.breaker.failure(Instant::now(), jitter);
    }

    /// It failed.
    pub fn failed(&self, error: &Error) {
        let mut seen = self.seen.lock();
        seen.trouble = error.chain();
        seen.breaker.failure(Instant::now(), jitter);
    }

    /// It gave wrong bytes for `id`.
    pub(super) fn lied(&self, id: &Bid) {
        tracing::error!(store = self.kv.name(), block = %id, "a store gave wrong bytes");
        let mut seen = self.seen.lock();
        seen.corrupt += 1;
        "gave wrong bytes".clone_into(&mut seen.trouble);
        seen.breaker.condemn(Instant::now());
    }

    /// Put the right bytes where wrong ones are, beside everything else.
    pub(super) fn repair(self: &Arc<Self>, id: Bid, bytes: Bytes) {
        let store = Arc::clone(self);
        tokio::spawn(async move {
            match store.kv.put(&id, bytes).await {
                Ok(()) if matches!(store.kv.get(&id).await, Ok(Some(bytes)) if is_genuine(&id, &bytes)) => {
                    tracing::info!(store = store.kv.name(), block = %id, "repaired");
                }
                Ok(()) => tracing::warn!(store = store.kv.name(), block = %id, "could not repair: still wrong bytes"),
                Err(e) => tracing::warn!(store = store.kv.name(), error = %e.chain(), "could not repair"),
            }
        });
    }

    /// One small question, beside everything else: is it back?
    pub(super) fn probe(self: &Arc<Self>, id: Bid) {
        let store = Arc::clone(self);
        tokio::spawn(async move {
            let begin = Instant::now();
            match timeout(PROBE, store.kv.has(&[id])).await {
                Ok(Ok(_)) => store.answered(0, begin.elapsed()),
                Ok(Err(error)) => store.failed(&error),
                Err(_) => store.overtaken(0, PROBE),
            }
        });
    }
}
