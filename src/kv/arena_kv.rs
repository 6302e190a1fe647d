//! `arena:DIR`: the log as a store, heads as files beside it.
//!
//! Must never answer a put before the log's sync has.

use std::collections::BinaryHeap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::arena::{Log, Options, RealDisk};
use super::heads::Heads;
use super::{Expect, Kv, KvStat, Task, blocking};
use crate::base::{Bid, Result};

/// A log used as a store of its own. Closed cleanly when dropped.
#[derive(Debug)]
pub struct ArenaKv {
    name: String,
    log: Arc<Log>,
    heads: Heads,
    /// Bytes stored since the last mark.
    unmarked: AtomicU64,
}

/// So much is read and checked at most when it is opened after a kill.
const MARK: u64 = 256 << 20;

impl ArenaKv {
    /// Use `dir`, creating it if absent. `Busy` when it is open elsewhere.
    pub fn open(dir: &Path, options: Options) -> Result<Self> {
        let (log, _) = Log::open(Arc::new(RealDisk::open(dir)?), options)?;
        let heads = Heads::open(dir.join("heads"))?;
        Ok(Self { name: format!("arena:{}", dir.display()), log: Arc::new(log), heads, unmarked: AtomicU64::new(0) })
    }

    /// The folder of heads.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Store blocks, put right what is there with other bytes, and sync once. A mark is left now and then: what lies
    /// before it is not read again at the next opening.
    pub fn store(&self, blocks: &[(Bid, Bytes)]) -> Result<()> {
        put_all(&self.log, blocks)?;
        let bytes: u64 = blocks.iter().map(|(_, value)| value.len() as u64).sum();
        if self.unmarked.fetch_add(bytes, Ordering::Relaxed) + bytes >= MARK {
            self.unmarked.store(0, Ordering::Relaxed);
            self.log.checkpoint(&[])?;
        }
        Ok(())
    }

    /// The log underneath.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }
}

impl Drop for ArenaKv {
    fn drop(&mut self) {
        // Everything acknowledged is durable already; what fails here costs a scan at the next open.
        let _ = self.log.checkpoint(&[]).and_then(|()| self.log.close());
    }
}

/// The `limit` smallest ids behind `after`. One pass over the log's ids.
fn list(log: &Log, after: Option<Bid>, limit: usize) -> Result<Vec<Bid>> {
    let mut smallest = BinaryHeap::new();
    log.for_each(|id, _| {
        if after.is_none_or(|a| id > a) && (smallest.len() < limit || smallest.peek().is_some_and(|top| id < *top)) {
            smallest.push(id);
            if smallest.len() > limit {
                smallest.pop();
            }
        }
    })?;
    let mut ids = smallest.into_sorted_vec();
    ids.dedup();
    Ok(ids)
}

fn put_all(log: &Log, blocks: &[(Bid, Bytes)]) -> Result<()> {
    let differs = |id: &Bid, value: &Bytes| log.contains(id) && log.get(id).ok().flatten().as_deref() != Some(value);
    let put = |(id, value): &(Bid, Bytes)| if differs(id, value) { log.repair(id, value) } else { log.put(id, value) };
    let last = blocks.iter().map(put).collect::<Result<Vec<_>>>()?.into_iter().max();
    last.map_or(Ok(()), |lsn| log.sync(lsn))
}

impl Kv for ArenaKv {
    fn name(&self) -> &str {
        &self.name
    }

    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        let (log, id) = (Arc::clone(&self.log), *id);
        Box::pin(blocking(move || Ok(log.get(&id)?.map(Bytes::from))))
    }

    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        self.put_many(vec![(*id, value)])
    }

    /// One sync for all.
    fn put_many(&self, blocks: Vec<(Bid, Bytes)>) -> Task<'_, ()> {
        let log = Arc::clone(&self.log);
        Box::pin(blocking(move || put_all(&log, &blocks)))
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        let (log, ids) = (Arc::clone(&self.log), ids.to_vec());
        Box::pin(blocking(move || Ok(ids.iter().map(|id| log.contains(id)).collect())))
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        let (log, ids) = (Arc::clone(&self.log), ids.to_vec());
        Box::pin(blocking(move || log.delete(&ids).map(drop)))
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        let log = Arc::clone(&self.log);
        Box::pin(blocking(move || list(&log, after, limit)))
    }

    fn stat(&self) -> Task<'_, KvStat> {
        let log = Arc::clone(&self.log);
        Box::pin(blocking(move || {
            let stat = log.stat();
            Ok(KvStat { blocks: stat.blocks, bytes: stat.live_bytes })
        }))
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        let (heads, name) = (self.heads.clone(), name.to_owned());
        Box::pin(blocking(move || heads.get(&name)))
    }

    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        let (heads, name) = (self.heads.clone(), name.to_owned());
        Box::pin(blocking(move || heads.put(&name, &value, expect)))
    }

    fn list_heads(&self) -> Task<'_, Vec<String>> {
        let heads = self.heads.clone();
        Box::pin(blocking(move || heads.list()))
    }

    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        let (heads, name) = (self.heads.clone(), name.to_owned());
        Box::pin(blocking(move || heads.delete(&name)))
    }
}
