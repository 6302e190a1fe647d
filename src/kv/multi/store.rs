//! One store among many: its breaker, its pace, what went wrong last.
//!
//! Must never hold its lock while a store is asked.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::super::steady::jitter;
use super::super::{Kv, is_genuine};
use super::breaker::{Allows, Breaker};
use super::pace::Paces;
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Error, Result};
use crate::kv::sorted::Sorted;

/// A probe that takes longer has failed.
const PROBE: Duration = Duration::from_secs(5);

/// See the module.
pub struct Store {
    kv: Arc<dyn Kv>,
    seen: Mutex<Seen>,
    inventory: RwLock<Inventory>,
}

/// What a store is known to have.
#[derive(Default)]
enum Inventory {
    /// It was not listed yet.
    #[default]
    Unknown,
    /// What it says itself ([`Kv::knows`]).
    Own,
    /// The first eight bytes of each id; ids are hashes. 8 to 9 bytes a block.
    Listed(Sorted),
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
        match &*self.inventory.read() {
            Inventory::Unknown => None,
            Inventory::Own => self.kv.knows(id),
            Inventory::Listed(known) => Some(known.contains(short(id))),
        }
    }

    /// List it by pages of `page`, unless it keeps an index of its own: what is known of it is what it has now.
    pub async fn list(&self, page: usize) -> Result<()> {
        self.kv.has(&[]).await?; // what keeps an index looks whether that is still right
        if self.kv.knows(&Bid([0; 32])).is_some() {
            *self.inventory.write() = Inventory::Own;
            return Ok(());
        }
        let (mut known, mut after) = (Vec::new(), None);
        loop {
            let ids = self.kv.list(after, page).await?;
            after = ids.last().copied();
            known.extend(ids.iter().map(short));
            if ids.len() < page {
                break;
            }
        }
        self.set_listed(known);
        Ok(())
    }

    fn set_listed(&self, mut known: Vec<u64>) {
        known.sort_unstable();
        known.dedup();
        *self.inventory.write() = Inventory::Listed(Sorted::new(known));
    }

    /// It was listed: these are its blocks.
    #[cfg(test)]
    pub fn listed(&self, ids: impl Iterator<Item = Bid>) {
        self.set_listed(ids.map(|id| short(&id)).collect());
    }

    /// It has these blocks too.
    pub fn gained(&self, ids: &[Bid]) {
        let Inventory::Listed(known) = &mut *self.inventory.write() else { return };
        for id in ids.iter().map(short) {
            if !known.contains(id) {
                known.insert(id);
            }
        }
        if known.is_due(0) {
            known.settle(|_| true);
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
