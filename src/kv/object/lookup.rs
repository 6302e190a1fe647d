//! Looking blocks up, and keeping the index as the service is: what another device has added or removed shows in the
//! listing.
//!
//! The index may have to read its file, so whoever asks much of it does so off the threads that drive requests. Must never
//! take "the index cannot be read" for "it is not there".

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use super::index::Index;
use super::pack::{self, PackName, Span};
use super::service::Service;
use super::{ObjectKv, pack_path};
use crate::base::{Bid, Error, Kind, Result};
use crate::kv::blocking;

/// Requests for indexes under way at once.
const AT_ONCE: usize = 16;
/// Ids looked up together.
pub(super) const LOOKED_UP: usize = 4096;

impl ObjectKv {
    /// Others may have written: compare before the next answer that something is absent.
    pub(super) fn want(&self) {
        self.wanted.fetch_add(1, Ordering::AcqRel);
    }

    /// Compare the index with the listing, unless that was done since it was last wanted.
    pub(super) async fn fresh(&self) -> Result<()> {
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
    pub(super) async fn loaded(&self) -> Result<()> {
        if self.compared.load(Ordering::Acquire) == 0 { self.fresh().await } else { Ok(()) }
    }

    /// With the turn held.
    pub(super) async fn compare(&self) -> Result<()> {
        let renewals = self.index.read().renewals();
        let listed = self.service.list("list blocks", "packs/").await?;
        let listed: BTreeMap<PackName, u64> =
            listed.into_iter().filter_map(|(name, size)| Some((PackName::parse(&name)?, size))).collect();
        let new: Vec<(PackName, u64)> = self
            .change(move |index| {
                index.keep_only(&listed)?;
                index.compact_if_due();
                Ok(listed.into_iter().filter(|(name, _)| !index.knows(name)).collect())
            })
            .await?;
        let mut reading = JoinSet::new();
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
                self.take(name, size, spans).await?;
            }
        }
        let again = || Error::new(Kind::Unreachable, "read the indexes of packs", self.service.name());
        if self.index.write().completed(renewals) { Ok(()) } else { Err(again()) }
    }

    /// A pack is there, and has these blocks.
    pub(super) async fn take(&self, name: PackName, size: u64, spans: Vec<(Bid, Span)>) -> Result<()> {
        if !self.change(move |index| index.add(name, size, &spans)).await? {
            tracing::error!(store = self.service.name(), pack = %name, "ids of a pack begin alike: its blocks are as if absent");
        }
        Ok(())
    }

    /// Change the index.
    pub(super) async fn change<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Index) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let index = Arc::clone(&self.index);
        blocking(move || work(&mut index.write())).await.map_err(|error| self.failed(error))
    }

    /// Ask the index about each of many.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        ids: &[Bid],
        about: fn(&Index, &Bid) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut told = Vec::with_capacity(ids.len());
        for ids in ids.chunks(LOOKED_UP) {
            let (index, ids) = (Arc::clone(&self.index), ids.to_vec());
            let some = blocking(move || {
                let index = index.read();
                ids.iter().map(|id| about(&index, id)).collect::<Result<Vec<T>>>()
            });
            told.extend(some.await.map_err(|error| self.failed(error))?);
        }
        Ok(told)
    }

    /// Where a block is.
    pub(super) fn find(&self, id: &Bid) -> Result<Option<(PackName, Span)>> {
        let found = self.index.read().find(id);
        found.map_err(|error| self.failed(error))
    }

    /// Whether a block is there, as far as that is known without asking the service.
    pub(super) fn is_told(&self, id: &Bid) -> Option<bool> {
        if self.compared.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.find(id).ok().map(|found| found.is_some())
    }

    /// Forget what is known of all packs. It is read from the service before the next answer.
    pub(super) fn renew(&self) {
        self.index.write().renew();
        self.compared.store(0, Ordering::Release);
        self.want();
    }

    /// What the index cannot tell is no answer: it is read anew from the service, by whoever tries again.
    pub(super) fn failed(&self, error: Error) -> Error {
        if matches!(error.kind(), Kind::Full | Kind::TooBig | Kind::Unreachable) {
            return error;
        }
        tracing::warn!(store = self.service.name(), error = %error.chain(), "the index of a store is read anew");
        self.renew();
        Error::new(Kind::Unreachable, "look up blocks", self.service.name()).with_source(error)
    }
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
