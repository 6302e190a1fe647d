//! Storing packs, and replacing them: by what is left of them, or many small ones by few.
//!
//! What goes into a new pack is read from the old one, as that one's own index says: what is in two packs may be leaving
//! the other one at this moment. Must never remove a pack before what is left of it is stored.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::index::Index;
use super::pack::{self, PackName, Span};
use super::{ObjectKv, pack_path};
use crate::base::{Bid, Error, Kind, Result};
use crate::kv::is_genuine;

/// Packs below this many bytes are small; so many of them are gathered into larger ones.
const SMALL: u64 = 1 << 20;
const TOO_MANY: usize = 32;

/// Says what is not to be kept.
pub(super) type Dead<'d> = &'d (dyn Fn(&Bid) -> bool + Sync);

/// Blocks whose copies here differ from what is to be stored, and the packs those are in.
#[derive(Default)]
pub(super) struct Doubtful {
    ids: BTreeSet<Bid>,
    packs: BTreeSet<PackName>,
}

impl ObjectKv {
    /// Store blocks in as few packs as hold them.
    pub(super) async fn write(&self, blocks: Vec<(Bid, Bytes)>, what: &'static str) -> Result<Vec<PackName>> {
        let mut names = Vec::new();
        for blocks in packed(blocks) {
            let (name, object, spans) = pack::build(blocks);
            let size = object.len() as u64;
            self.service.write(what, &pack_path(&name), object).await?;
            self.take(name, size, spans).await?;
            names.push(name);
        }
        Ok(names)
    }

    /// Of `blocks`, those that are not here or differ here; and the packs with a copy that differs.
    pub(super) async fn lacking(&self, blocks: Vec<(Bid, Bytes)>) -> Result<(Vec<(Bid, Bytes)>, Doubtful)> {
        self.fresh().await?;
        let (mut lacking, mut doubtful) = (Vec::new(), Doubtful::default());
        for (id, value) in blocks {
            let known = self.find(&id)?;
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

    /// The sound copies of what was doubtful are in `written`: drop the others.
    pub(super) async fn settle(&self, doubtful: Doubtful, written: &[PackName]) -> Result<()> {
        if doubtful.ids.is_empty() {
            return Ok(());
        }
        let old = doubtful.packs.into_iter().filter(|name| !written.contains(name)).collect();
        let _turn = self.turn.lock().await;
        self.rewrite(&old, &|id| doubtful.ids.contains(id)).await
    }

    /// Replace every pack that has any of `ids` by one of what is left of it.
    pub(super) async fn without(&self, ids: &BTreeSet<Bid>) -> Result<()> {
        let _turn = self.turn.lock().await;
        loop {
            let copies = self.ask(&ids.iter().copied().collect::<Vec<_>>(), Index::copies).await?;
            let packs: BTreeSet<PackName> = copies.into_iter().flatten().map(|(name, _)| name).collect();
            if packs.is_empty() {
                return Ok(());
            }
            self.rewrite(&packs, &|id| ids.contains(id)).await?;
            // What another device has put in the place of one of these may have the same ids.
            self.compare().await?;
        }
    }

    /// Replace `packs` by packs of what they have beside what is `dead`. With the turn held.
    pub(super) async fn rewrite(&self, packs: &BTreeSet<PackName>, dead: Dead<'_>) -> Result<()> {
        self.want();
        for name in packs {
            let Some(left) = self.rest(name, dead).await? else {
                self.forget(*name).await?; // another device has replaced it
                continue;
            };
            if !self.write(left, "rewrite a pack").await?.contains(name) {
                self.drop_pack(name).await?;
            }
        }
        Ok(())
    }

    /// What is in a pack beside what is `dead`; `None` if it is gone. Damaged blocks are left out, when a second look shows them
    /// damaged too: an answer may be garbled on its way.
    async fn rest(&self, name: &PackName, dead: Dead<'_>) -> Result<Option<Vec<(Bid, Bytes)>>> {
        let sound = |whole: &[(Bid, Bytes)]| whole.iter().all(|(id, bytes)| dead(id) || is_genuine(id, bytes));
        let mut whole = self.unpack(name).await?;
        if whole.as_deref().is_some_and(|whole| !sound(whole)) {
            whole = self.unpack(name).await?;
        }
        let keep = |(id, bytes): &(Bid, Bytes)| !dead(id) && is_genuine(id, bytes);
        Ok(whole.map(|whole| whole.into_iter().filter(keep).collect()))
    }

    async fn forget(&self, name: PackName) -> Result<()> {
        self.change(move |index| index.remove(&name)).await
    }

    async fn drop_pack(&self, name: &PackName) -> Result<()> {
        self.forget(*name).await?;
        self.service.delete("remove a pack", &pack_path(name)).await
    }

    /// Every block of a pack, as its own index says: what is in two packs may be leaving the other one at this
    /// moment. Not verified. `None` if it is not there (any more), [`Kind::Corrupt`] if its index does not verify.
    async fn unpack(&self, name: &PackName) -> Result<Option<Vec<(Bid, Bytes)>>> {
        let Some(object) = self.service.read("read a pack", &pack_path(name), pack::LARGEST).await? else {
            return Ok(None);
        };
        let start = object.len().saturating_sub(usize::try_from(name.index_len()).unwrap_or(usize::MAX));
        // What is remembered of it still leads to its blocks where its own index is damaged.
        let spans = pack::parse_index(*name, object.len() as u64, &object[start..]);
        let spans = spans.or_else(|| self.index.read().spans_of(name));
        let cut = |(id, span): (Bid, Span)| {
            let (start, end) = (span.offset as usize, span.offset as usize + span.len as usize);
            Some((id, object.get(start..end).map(|_| object.slice(start..end))?))
        };
        let garbled = || Error::new(Kind::Corrupt, "read a pack", self.service.name());
        Ok(Some(spans.ok_or_else(garbled)?.into_iter().filter_map(cut).collect()))
    }

    /// Gather small packs when there are many. One that is not whole stays as it is.
    pub(super) async fn gather(&self) -> Result<()> {
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
