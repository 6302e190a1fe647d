//! Blocks and heads as objects of a service: S3 of any make, an SSH account, WebDAV.
//!
//! Blocks are gathered in packs (`packs/NAME`, see [`pack`]), so that a thousand small files are a handful of requests;
//! a head is `heads/NAME`. The indexes of all packs are read when the store is first used and kept in memory. Other
//! devices may write beside: packs are only ever added and replaced, and who misses one looks at the listing again.
//! Must never remove a pack before what is left of it is stored elsewhere.

mod index;
mod open;
mod pack;
mod service;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Expect, Kv, KvStat, Task, check_head_name, is_genuine};
use crate::base::sync::RwLock;
use crate::base::{Bid, Error, Kind, Result};

use index::Index;
use pack::{PackName, Span};
use service::Service;

pub use open::Place;

/// Requests for indexes under way at once.
const AT_ONCE: usize = 16;
/// Packs read whole at once, and the share of a pack's bytes (one in so many) from which on that is done.
const WHOLE_AT_ONCE: usize = 4;
const WORTH: u64 = 3;
/// Largest object believed to be a head, in bytes.
const MAX_HEAD: u64 = 4 << 20;
/// Packs below this many bytes are small; so many of them are gathered into larger ones.
const SMALL: u64 = 1 << 20;
const TOO_MANY: usize = 32;

/// See the module.
#[derive(Debug)]
pub struct ObjectKv {
    service: Arc<Service>,
    index: RwLock<Index>,
    /// How often there was reason to compare the index with the listing, and which of those is done.
    wanted: AtomicU64,
    compared: AtomicU64,
    /// Held by who compares, and by who replaces packs.
    turn: tokio::sync::Mutex<()>,
    /// Held while a head is compared and replaced: not every service does that in one step, whatever it says.
    heads: tokio::sync::Mutex<()>,
}

/// Blocks whose copies here differ from what is to be stored, and the packs those are in.
#[derive(Default)]
struct Doubtful {
    ids: BTreeSet<Bid>,
    packs: BTreeSet<PackName>,
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
    fn new(service: Service) -> Self {
        Self {
            service: Arc::new(service),
            index: RwLock::default(),
            wanted: AtomicU64::new(1),
            compared: AtomicU64::new(0),
            turn: tokio::sync::Mutex::default(),
            heads: tokio::sync::Mutex::default(),
        }
    }

    /// Others may have written: compare before the next answer that something is absent.
    fn want(&self) {
        self.wanted.fetch_add(1, Ordering::AcqRel);
    }

    /// Compare the index with the listing, unless that was done since it was last wanted.
    async fn fresh(&self) -> Result<()> {
        if self.compared.load(Ordering::Acquire) >= self.wanted.load(Ordering::Acquire) {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let wanted = self.wanted.load(Ordering::Acquire);
        if self.compared.load(Ordering::Acquire) < wanted {
            self.compare().await?;
            self.compared.store(wanted, Ordering::Release);
        }
        Ok(())
    }

    /// The same, once in the life of this value.
    async fn loaded(&self) -> Result<()> {
        if self.compared.load(Ordering::Acquire) == 0 { self.fresh().await } else { Ok(()) }
    }

    /// With the turn held.
    async fn compare(&self) -> Result<()> {
        let listed = self.service.list("list blocks", "packs/").await?;
        let listed: BTreeMap<PackName, u64> =
            listed.into_iter().filter_map(|(name, size)| Some((PackName::parse(&name)?, size))).collect();
        self.index.write().keep_only(&listed);
        let mut reading = JoinSet::new();
        let new: Vec<_> = listed.into_iter().filter(|(name, _)| !self.index.read().knows(name)).collect();
        let mut next = new.into_iter();
        loop {
            while reading.len() < AT_ONCE
                && let Some((name, size)) = next.next()
            {
                let service = Arc::clone(&self.service);
                reading.spawn(async move { read_index(&service, name, size).await.map(|spans| (name, size, spans)) });
            }
            let Some(read) = reading.join_next().await else { break };
            let lost = |e| Error::new(Kind::Other, "read the indexes of packs", self.service.name()).with_source(e);
            let (name, size, spans) = read.map_err(lost)??;
            if let Some(spans) = spans {
                self.index.write().add(name, size, &spans, false);
            }
        }
        Ok(())
    }

    async fn read(&self, id: &Bid) -> Result<Option<Bytes>> {
        self.loaded().await?;
        let first = self.index.read().find(id);
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
        let Some((name, span)) = self.index.read().find(id) else { return Ok(None) };
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
        for (at, id) in ids.iter().enumerate() {
            if let Some((name, span)) = self.index.read().find(id) {
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

    /// Store blocks in as few packs as hold them.
    async fn write(&self, blocks: Vec<(Bid, Bytes)>, what: &'static str) -> Result<Vec<PackName>> {
        let mut names = Vec::new();
        for blocks in packed(blocks) {
            let (name, object, spans) = pack::build(blocks);
            let size = object.len() as u64;
            self.service.write(what, &pack_path(&name), object).await?;
            self.index.write().add(name, size, &spans, true);
            names.push(name);
        }
        Ok(names)
    }

    /// Of `blocks`, those that are not here or differ here; and the packs with a copy that differs.
    async fn lacking(&self, blocks: Vec<(Bid, Bytes)>) -> Result<(Vec<(Bid, Bytes)>, Doubtful)> {
        self.fresh().await?;
        let (mut lacking, mut doubtful) = (Vec::new(), Doubtful::default());
        for (id, value) in blocks {
            let known = self.index.read().find(&id);
            if let Some((pack, _)) = known {
                match self.read(&id).await {
                    Ok(Some(found)) if found == value => continue,
                    Err(e) if e.kind() != Kind::Corrupt => return Err(e),
                    _ => {
                        doubtful.packs.insert(pack);
                        doubtful.ids.insert(id);
                    }
                }
            }
            lacking.push((id, value));
        }
        Ok((lacking, doubtful))
    }

    /// Replace every pack that has any of `ids` by one of what is left of it.
    async fn without(&self, ids: &BTreeSet<Bid>) -> Result<()> {
        let _turn = self.turn.lock().await;
        loop {
            let packs: BTreeSet<PackName> = {
                let index = self.index.read();
                ids.iter().filter_map(|id| index.find(id)).map(|(name, _)| name).collect()
            };
            if packs.is_empty() {
                return Ok(());
            }
            self.rewrite(&packs, ids).await?;
            // Packs that shared blocks with these were forgotten with them: they may have the same ids.
            self.compare().await?;
        }
    }

    /// Replace `packs` by packs of what they have beside `ids`. With the turn held.
    async fn rewrite(&self, packs: &BTreeSet<PackName>, ids: &BTreeSet<Bid>) -> Result<()> {
        self.want();
        for name in packs {
            let Some(left) = self.rest(name, ids).await? else {
                self.index.write().remove(name); // another device has replaced it
                continue;
            };
            if !self.write(left, "rewrite a pack").await?.contains(name) {
                self.drop_pack(name).await?;
            }
        }
        Ok(())
    }

    /// What is in a pack beside `ids`; `None` if it is gone. Damaged blocks are left out, when a second look shows them
    /// damaged too: an answer may be garbled on its way.
    async fn rest(&self, name: &PackName, ids: &BTreeSet<Bid>) -> Result<Option<Vec<(Bid, Bytes)>>> {
        let sound = |whole: &[(Bid, Bytes)]| whole.iter().all(|(id, bytes)| ids.contains(id) || is_genuine(id, bytes));
        let mut whole = self.unpack(name).await?;
        if whole.as_deref().is_some_and(|whole| !sound(whole)) {
            whole = self.unpack(name).await?;
        }
        let keep = |(id, bytes): &(Bid, Bytes)| !ids.contains(id) && is_genuine(id, bytes);
        Ok(whole.map(|whole| whole.into_iter().filter(keep).collect()))
    }

    async fn drop_pack(&self, name: &PackName) -> Result<()> {
        self.index.write().remove(name);
        self.service.delete("remove a pack", &pack_path(name)).await
    }

    /// Every block of a pack, as its own index says: what is in two packs may be leaving the other one at this
    /// moment. Not verified. `None` if it is not there (any more), [`Kind::Corrupt`] if its index does not verify.
    async fn unpack(&self, name: &PackName) -> Result<Option<Vec<(Bid, Bytes)>>> {
        let Some(object) = self.service.read("read a pack", &pack_path(name), pack::LARGEST).await? else {
            return Ok(None);
        };
        let start = object.len().saturating_sub(usize::try_from(name.index_len()).unwrap_or(usize::MAX));
        let spans = pack::parse_index(*name, object.len() as u64, &object[start..]);
        let cut = |(id, span): (Bid, Span)| {
            let (start, end) = (span.offset as usize, span.offset as usize + span.len as usize);
            Some((id, object.get(start..end).map(|_| object.slice(start..end))?))
        };
        let garbled = || Error::new(Kind::Corrupt, "read a pack", self.service.name());
        Ok(Some(spans.ok_or_else(garbled)?.into_iter().filter_map(cut).collect()))
    }

    /// Gather small packs when there are many. One that is not whole stays as it is.
    async fn gather(&self) -> Result<()> {
        if self.index.read().small(SMALL).len() < TOO_MANY {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let small = self.index.read().small(SMALL);
        let (mut blocks, mut gathered) = (Vec::new(), Vec::new());
        for name in small {
            let whole = match self.unpack(&name).await {
                Err(e) if e.kind() == Kind::Corrupt => None,
                other => other?,
            };
            if let Some(whole) = whole.filter(|whole| whole.iter().all(|(id, bytes)| is_genuine(id, bytes))) {
                blocks.extend(whole);
                gathered.push(name);
            }
        }
        if gathered.len() < TOO_MANY / 2 {
            return Ok(());
        }
        self.want();
        let written = self.write(blocks, "gather small packs").await?;
        for name in gathered.iter().filter(|name| !written.contains(name)) {
            self.drop_pack(name).await?;
        }
        Ok(())
    }
}

/// `blocks` in runs that each fit a pack.
fn packed(blocks: Vec<(Bid, Bytes)>) -> Vec<Vec<(Bid, Bytes)>> {
    let (mut runs, mut run, mut size) = (Vec::new(), Vec::new(), 0);
    for (id, value) in blocks {
        if !run.is_empty() && (size + value.len() > pack::FULL || run.len() == pack::MOST as usize) {
            runs.push(std::mem::take(&mut run));
            size = 0;
        }
        size += value.len();
        run.push((id, value));
    }
    if !run.is_empty() {
        runs.push(run);
    }
    runs
}

/// The spans in a pack; `None` if it went meanwhile, or does not verify: then it is as if it were not there.
async fn read_index(service: &Service, name: PackName, size: u64) -> Result<Option<Vec<(Bid, Span)>>> {
    let Some(start) = size.checked_sub(name.index_len()) else { return Ok(None) };
    let read = service.read_part("read the index of a pack", &pack_path(&name), start..size).await;
    let index = match read {
        Err(e) if e.kind() != Kind::Corrupt => return Err(e),
        Ok(None) => return Ok(None),
        other => other.ok().flatten().unwrap_or_default(),
    };
    let spans = pack::parse_index(name, size, &index);
    if spans.is_none() {
        tracing::error!(store = service.name(), pack = %name, "the index of a pack is damaged: its blocks are as if absent");
    }
    Ok(spans)
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
            // The sound copies are there before the others go.
            if !doubtful.ids.is_empty() {
                let old: BTreeSet<PackName> =
                    doubtful.packs.into_iter().filter(|name| !written.contains(name)).collect();
                let _turn = self.turn.lock().await;
                self.rewrite(&old, &doubtful.ids).await?;
            }
            self.gather().await
        })
    }

    fn has<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, Vec<bool>> {
        Box::pin(async move {
            self.fresh().await?;
            let index = self.index.read();
            Ok(ids.iter().map(|id| index.find(id).is_some()).collect())
        })
    }

    fn delete<'a>(&'a self, ids: &'a [Bid]) -> Task<'a, ()> {
        Box::pin(async move {
            self.fresh().await?;
            self.without(&ids.iter().copied().collect()).await
        })
    }

    fn list(&self, after: Option<Bid>, limit: usize) -> Task<'_, Vec<Bid>> {
        Box::pin(async move {
            self.fresh().await?;
            Ok(self.index.read().list(after, limit))
        })
    }

    fn stat(&self) -> Task<'_, KvStat> {
        Box::pin(async move {
            self.fresh().await?;
            let (blocks, bytes) = self.index.read().totals();
            Ok(KvStat { blocks, bytes })
        })
    }

    fn get_head<'a>(&'a self, name: &'a str) -> Task<'a, Option<Bytes>> {
        Box::pin(async move {
            let found = self.service.read("read head", &head_path(name)?, MAX_HEAD).await?;
            Ok(found)
        })
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
