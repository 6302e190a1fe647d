//! Recognising data that was stored before, without sealing it again.
//!
//! Private ids of recent blocks in memory, all others in a local map that may be deleted at any time:
//! losing it costs work, never data and no space (equal data seals to equal blocks). Values are sealed
//! under the device's local key, for holding a reference is the right to read. Must never make a
//! writer wait for the disk, and never answer for the log: a hit counts only if the log has the block.

use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use quick_cache::sync::Cache;

use crate::base::sync::{Condvar, Mutex};
use crate::base::{Error, Kind, Result};
use crate::kv::local::Map;
use crate::seal::{LocalSealer, Pid, Ref};

/// The first half of a private id: enough that two never meet by chance.
type Prefix = [u8; 16];

/// Entries written at once.
const BATCH: usize = 256;
/// Entries that wait at most; beyond this new ones are not indexed.
const MAX_WAITING: usize = 8192;
/// How long a lone entry waits for company.
const PATIENCE: Duration = Duration::from_millis(500);
/// A map in use by someone else is tried again this often, after such pauses.
const OPEN_RETRIES: usize = 200;
const OPEN_PAUSE: Duration = Duration::from_millis(20);

/// Recent private ids, least useful forgotten first. Fixed memory: about 128 bytes an entry.
pub(super) struct Recent(Cache<Prefix, Ref>);

impl Recent {
    pub(super) fn new(entries: usize) -> Self {
        Self(Cache::new(entries))
    }

    pub(super) fn get(&self, pid: &Pid) -> Option<Ref> {
        self.0.get(&prefix(pid))
    }

    pub(super) fn insert(&self, pid: &Pid, r: Ref) {
        self.0.insert(prefix(pid), r);
    }

    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

/// The map of private ids on disk and the thread that writes it. Dropping it writes what waits.
pub struct DedupIndex {
    shared: Arc<Shared>,
    worker: Option<JoinHandle<()>>,
}

struct Shared {
    local: LocalSealer,
    /// Unset while opening, `None` if that failed.
    map: OnceLock<Option<Map>>,
    state: Mutex<State>,
    wake: Condvar,
    written: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Prefix, Ref)>,
    /// Entries taken in and entries dealt with, ever.
    taken: u64,
    done: u64,
    opened: bool,
    hurry: bool,
    closing: bool,
}

impl DedupIndex {
    /// Run `open` on a thread of its own and use the map once it is there; until then nothing is found
    /// and nobody waits. While the map is [`Kind::Busy`] (whoever had it is just closing it) `open` is
    /// called again, for some seconds. If it fails, nothing is ever found.
    pub fn start(local: LocalSealer, open: impl Fn() -> Result<Map> + Send + 'static) -> Result<Self> {
        let shared = Arc::new(Shared {
            local,
            map: OnceLock::new(),
            state: Mutex::default(),
            wake: Condvar::new(),
            written: Condvar::new(),
        });
        let own = Arc::clone(&shared);
        let worker = std::thread::Builder::new().name("dedup-index".into()).spawn(move || own.run(open));
        let worker = worker.map_err(|e| Error::io("start thread", "dedup-index", e))?;
        Ok(Self { shared, worker: Some(worker) })
    }

    /// The reference stored for `pid`. One lookup in the map; anything odd in it is a miss.
    pub fn get(&self, pid: &Pid) -> Option<Ref> {
        let map = self.shared.map.get()?.as_ref()?;
        let prefix = prefix(pid);
        let sealed = map.get(&prefix).ok()??;
        let plain = self.shared.local.open(&purpose(&prefix), &sealed).ok()?;
        Ref::from_bytes(&plain).ok()
    }

    /// Remember `r` for `pid`, some time soon. Never waits; under pressure it forgets.
    pub fn insert(&self, pid: &Pid, r: Ref) {
        let mut state = self.shared.state.lock();
        if state.waiting.len() >= MAX_WAITING {
            return;
        }
        state.waiting.push((prefix(pid), r));
        state.taken += 1;
        if state.waiting.len() == BATCH || state.waiting.len() == 1 {
            self.shared.wake.notify_one();
        }
    }

    /// Wait until the map has opened, all that was inserted before is in it, and it is on disk.
    pub fn flush(&self) -> Result<()> {
        let mut state = self.shared.state.lock();
        let until = state.taken;
        state.hurry = true;
        self.shared.wake.notify_one();
        while !state.opened || state.done < until {
            self.shared.written.wait(&mut state);
        }
        drop(state);
        match self.shared.map.get() {
            Some(Some(map)) => map.flush(),
            _ => Err(Error::new(Kind::Other, "flush dedup index", "it did not open")),
        }
    }
}

impl Drop for DedupIndex {
    fn drop(&mut self) {
        self.shared.state.lock().closing = true;
        self.shared.wake.notify_one();
        if let Some(worker) = self.worker.take() {
            drop(worker.join());
        }
    }
}

impl Shared {
    fn run(&self, open: impl Fn() -> Result<Map>) {
        let map = self.open(open).inspect_err(|e| tracing::warn!(error = %e.chain(), "no dedup index")).ok();
        let map = self.map.get_or_init(|| map).as_ref();
        self.state.lock().opened = true;
        self.written.notify_all();
        while let Some(batch) = self.next_batch() {
            if let Some(Err(e)) = map.map(|map| self.write(map, &batch)) {
                tracing::warn!(error = %e.chain(), "the dedup index was not written");
            }
            self.state.lock().done += batch.len() as u64;
            self.written.notify_all();
        }
    }

    fn open(&self, open: impl Fn() -> Result<Map>) -> Result<Map> {
        for _ in 0..OPEN_RETRIES {
            match open() {
                Err(e) if e.kind() == Kind::Busy => {}
                other => return other,
            }
            let mut state = self.state.lock();
            if state.closing {
                break;
            }
            self.wake.wait_for(&mut state, OPEN_PAUSE);
        }
        open()
    }

    /// Wait for a batch; `None` when closing and nothing is left.
    fn next_batch(&self) -> Option<Vec<(Prefix, Ref)>> {
        let mut state = self.state.lock();
        loop {
            let idle = state.waiting.is_empty();
            if !idle && (state.hurry || state.closing || state.waiting.len() >= BATCH) {
                break;
            }
            if state.closing {
                return None;
            }
            state.hurry = false;
            if idle {
                self.wake.wait(&mut state);
            } else if self.wake.wait_for(&mut state, PATIENCE).timed_out() {
                break;
            }
        }
        Some(std::mem::take(&mut state.waiting))
    }

    fn write(&self, map: &Map, batch: &[(Prefix, Ref)]) -> Result<()> {
        for (prefix, r) in batch {
            let sealed = self.local.seal(&purpose(prefix), &r.to_bytes())?;
            map.insert(prefix, &sealed)?;
        }
        Ok(())
    }
}

fn prefix(pid: &Pid) -> Prefix {
    let mut prefix = Prefix::default();
    prefix.iter_mut().zip(pid.0).for_each(|(to, from)| *to = from);
    prefix
}

/// Binds a value to its key, so that values cannot be swapped.
fn purpose(prefix: &Prefix) -> Vec<u8> {
    [b"dedup index ".as_slice(), prefix].concat()
}

#[cfg(test)]
mod tests;
