//! A store for tests that stalls, lies, fails and vanishes as told. Must never be part of a build for use.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::{Expect, Kv, KvStat, MemoryKv, Task};
use crate::base::{Bid, Error, Kind};

/// Run `test` on a clock that jumps to whatever comes next.
pub fn in_virtual_time<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(test)
}

/// What a store does wrong, by the number of the request.
type Fault = Box<dyn Fn(u64) -> Mood + Send + Sync>;

pub enum Mood {
    Fine(u64),
    Lies,
    Fails(Kind),
    Silent,
}

pub struct Faulty {
    inner: Arc<MemoryKv>,
    asked: AtomicU64,
    fault: Fault,
}

impl Faulty {
    pub fn new(inner: &Arc<MemoryKv>, fault: impl Fn(u64) -> Mood + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), asked: AtomicU64::new(0), fault: Box::new(fault) })
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Kv for Faulty {
    fn name(&self) -> &'static str {
        "faulty:"
    }

    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        let mood = (self.fault)(self.asked.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move {
            match mood {
                Mood::Fine(ms) => tokio::time::sleep(Duration::from_millis(ms)).await,
                Mood::Lies => return Ok(Some(Bytes::from_static(b"a lie"))),
                Mood::Fails(kind) => return Err(Error::new(kind, "read block", "")),
                Mood::Silent => std::future::pending().await,
            }
            self.inner.get(id).await
        })
    }

    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        self.inner.put(id, value)
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        match (self.fault)(self.asked()) {
            Mood::Silent => Box::pin(std::future::pending()),
            _ => self.inner.has(ids),
        }
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        self.inner.delete(ids)
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        self.inner.list(after, limit)
    }

    fn stat(&self) -> Task<'_, KvStat> {
        self.inner.stat()
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        self.inner.get_head(name)
    }

    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        self.inner.put_head(name, value, expect)
    }

    fn list_heads(&self) -> Task<'_, Vec<String>> {
        self.inner.list_heads()
    }

    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        self.inner.delete_head(name)
    }
}
