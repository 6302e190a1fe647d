//! Blocks and heads as objects of a service: S3 of any make, an SSH account, WebDAV.
//!
//! Blocks are gathered in packs (`packs/NAME`, see [`pack`]), so that a thousand small files are a handful of requests;
//! a head is `heads/NAME`. The indexes of all packs are read once and kept in a file of this device's ([`index`]). Other
//! devices may write beside: packs are only ever added and replaced, and who misses one looks at the listing again.
//! Must never remove a pack before what is left of it is stored elsewhere.

#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod index;
mod lookup;
mod open;
mod pack;
mod rewrite;
mod service;
mod sweep;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Expect, Kv, KvStat, Task, blocking, check_head_name};
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Error, Kind, Result};

use index::Index;
use pack::{PackName, Span};
use service::Service;

pub use open::Place;

/// Packs read whole at once, and the share of a pack's bytes (one in so many) from which on that is done.
const WHOLE_AT_ONCE: usize = 4;
const WORTH: u64 = 3;
/// Largest object believed to be a head, in bytes.
const MAX_HEAD: u64 = 4 << 20;

/// See the module.
#[derive(Debug)]
pub struct ObjectKv {
    service: Arc<Service>,
    index: Arc<RwLock<Index>>,
    /// How often there was reason to compare the index with the listing, and which of those is done.
    wanted: AtomicU64,
    compared: AtomicU64,
    /// Held by who compares, and by who replaces packs.
    turn: tokio::sync::Mutex<()>,
    /// The packs that a sweep goes through.
    plan: Mutex<Vec<PackName>>,
    /// Held while a head is compared and replaced: not every service does that in one step, whatever it says.
    heads: tokio::sync::Mutex<()>,
}

fn pack_path(name: &PackName) -> String {
    format!("packs/{name}")
}

fn head_path(name: &str) -> Result<String> {
    check_head_name(name)?;
    Ok(format!("heads/{name}"))
}

fn bytes_of(span: Span) -> Range<u64> {
    u64::from(span.offset)..u64::from(span.offset) + u64::from(span.len)
}

impl ObjectKv {
    fn new(service: Service, index: Index) -> Self {
        Self {
            service: Arc::new(service),
            index: Arc::new(RwLock::new(index)),
            wanted: AtomicU64::new(1),
            compared: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
            plan: Mutex::default(),
            heads: tokio::sync::Mutex::default(),
        }
    }

    async fn read(&self, id: &Bid) -> Result<Option<Bytes>> {
        self.loaded().await?;
        let first = self.find(id)?;
        if let Some((name, span)) = first
            && let Some(bytes) = self.service.read_part("read block", &pack_path(&name), bytes_of(span)).await?
        {
            return Ok(Some(bytes));
        }
        if first.is_some() {
            // Its pack was replaced by another device.
            self.want();
        }
        self.fresh().await?;
        let Some((name, span)) = self.find(id)? else { return Ok(None) };
        if first == Some((name, span)) {
            return Err(Error::new(Kind::Corrupt, "read block", self.service.name())
                .with_source("a pack is listed and cannot be read"));
        }
        self.service.read_part("read block", &pack_path(&name), bytes_of(span)).await
    }

    /// Packs of which much is wanted are read whole.
    async fn read_many(&self, ids: &[Bid]) -> Result<Vec<Option<Bytes>>> {
        self.loaded().await?;
        let mut values = vec![None; ids.len()];
        let mut packs: BTreeMap<PackName, Vec<(usize, Span)>> = BTreeMap::new();
        for (at, found) in self.ask(ids, Index::find).await?.into_iter().enumerate() {
            if let Some((name, span)) = found {
                packs.entry(name).or_default().push((at, span));
            }
        }
        let mut reading = JoinSet::new();
        let mut next = packs.into_iter();
        loop {
            while reading.len() < WHOLE_AT_ONCE
                && let Some((name, wanted)) = next.next()
            {
                let bytes: u64 = wanted.iter().map(|(_, span)| u64::from(span.len)).sum();
                if bytes * WORTH >= self.index.read().size(&name) {
                    let service = Arc::clone(&self.service);
                    reading.spawn(async move {
                        (wanted, service.read("read a pack", &pack_path(&name), pack::LARGEST).await)
                    });
                }
            }
            let Some(read) = reading.join_next().await else { break };
            let lost = |e| Error::new(Kind::Other, "read packs", self.service.name()).with_source(e);
            let (wanted, object) = read.map_err(lost)?;
            let Some(object) = object? else { continue };
            for (at, span) in wanted {
                let (start, end) = (span.offset as usize, span.offset as usize + span.len as usize);
                if let Some(value) = values.get_mut(at).filter(|_| end <= object.len()) {
                    // Copied: a few blocks must not keep a whole pack in memory.
                    *value = Some(Bytes::copy_from_slice(&object[start..end]));
                }
            }
        }
        for (id, value) in ids.iter().zip(&mut values) {
            if value.is_none() {
                *value = self.read(id).await?;
            }
        }
        Ok(values)
    }
}

impl Kv for ObjectKv {
    fn name(&self) -> &str {
        self.service.name()
    }

    fn get<'a>(&'a self, id: &'a Bid) -> Task<'a, Option<Bytes>> {
        Box::pin(self.read(id))
    }

    fn get_many<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<Option<Bytes>>> {
        Box::pin(self.read_many(ids))
    }

    fn put<'a>(&'a self, id: &'a Bid, value: Bytes) -> Task<'a, ()> {
        self.put_many(vec![(*id, value)])
    }

    fn put_many(&self, blocks: Vec<(Bid, Bytes)>) -> Task<'_, ()> {
        Box::pin(async move {
            let (lacking, doubtful) = self.lacking(blocks).await?;
            let written = self.write(lacking, "store blocks").await?;
            self.settle(doubtful, &written).await?;
            self.gather().await
        })
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        Box::pin(async move {
            self.fresh().await?;
            self.ask(ids, |index, id| Ok(index.find(id)?.is_some())).await
        })
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        Box::pin(async move {
            self.fresh().await?;
            self.without(&ids.iter().copied().collect()).await
        })
    }

    fn sweep<'a>(&'a self, dead: &'a [Bid], from: usize) -> Task<'a, Option<usize>> {
        Box::pin(async move {
            let next = self.sweep_packs(dead, from).await?;
            if next.is_none() {
                self.gather().await?;
            }
            Ok(next)
        })
    }

    /// Tried: not every service does what it is asked to.
    fn compares(&self) -> Task<'_, bool> {
        Box::pin(async move { Ok(self.service.compares() && self.service.is_true_to_conditions().await?) })
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        Box::pin(async move {
            self.fresh().await?;
            let index = Arc::clone(&self.index);
            blocking(move || index.read().list(after, limit)).await.map_err(|error| self.failed(error))
        })
    }

    fn knows(&self, id: &Bid) -> Option<bool> {
        self.is_told(id)
    }

    /// The indexes of all packs are read anew.
    fn doubt(&self) {
        self.renew();
    }

    fn stat(&self) -> Task<'_, KvStat> {
        Box::pin(async move {
            self.fresh().await?;
            let (blocks, bytes) = self.index.read().totals();
            Ok(KvStat { blocks, bytes })
        })
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        Box::pin(async move { self.service.read("read head", &head_path(name)?, MAX_HEAD).await })
    }

    fn put_head<'a>(&'a self, name: &'a str, value: Bytes, expect: Expect) -> Task<'a, ()> {
        Box::pin(async move {
            let path = head_path(name)?;
            let _turn = self.heads.lock().await;
            if self.service.compares() {
                return self.service.replace(name, &path, value, expect).await;
            }
            expect.check(name, self.service.read("read head", &path, MAX_HEAD).await?.as_deref())?;
            self.service.write("replace head", &path, value).await
        })
    }

    /// Also has the next miss look for packs that came with the heads.
    fn list_heads(&self) -> Task<'_, Vec<String>> {
        Box::pin(async move {
            let names = self.service.list("list heads", "heads/").await?.into_iter().map(|(name, _)| name);
            let mut names: Vec<String> = names.filter(|n| check_head_name(n).is_ok()).collect();
            names.sort_unstable();
            self.want();
            Ok(names)
        })
    }

    fn delete_head<'a>(&'a self, name: &'a str) -> Task<'a, ()> {
        Box::pin(async move { self.service.delete("delete head", &head_path(name)?).await })
    }
}
