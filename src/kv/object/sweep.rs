//! Removing garbage from packs: a pack is replaced by what is left of it once enough of it is dead.
//!
//! Cost: each such pack is read and what is left of it written, once. Must never touch a pack for less than it is worth:
//! what stays dead in it is found again by the next collection.

use std::collections::{BTreeMap, BTreeSet};

use super::ObjectKv;
use super::index::Index;
use super::lookup::LOOKED_UP;
use super::pack::PackName;
use crate::base::{Bid, Kind, Result};

/// A pack is replaced when at least one in so many of its bytes is dead.
const WORTH: u64 = 16;

impl ObjectKv {
    /// See [`crate::kv::Kv::sweep`]: one pack at a time. The places are those of a plan that is made at the first.
    pub(super) async fn sweep_packs(&self, dead: &[Bid], from: usize) -> Result<Option<usize>> {
        let is_dead = |id: &Bid| dead.binary_search(id).is_ok();
        let _turn = self.turn.lock().await;
        if from == 0 {
            self.want();
            let wanted = self.wanted.load(std::sync::atomic::Ordering::Acquire);
            self.compare().await?;
            self.compared.store(wanted, std::sync::atomic::Ordering::Release);
            let worthwhile = self.worthwhile(dead).await?;
            *self.plan.lock() = worthwhile;
        }
        let next = self.plan.lock().get(from).copied();
        let Some(pack) = next else { return Ok(None) };
        match self.rewrite(&BTreeSet::from([pack]), &is_dead).await {
            // One that cannot be read must not keep all devices waiting: what is dead in it stays.
            Err(error) if error.kind() == Kind::Corrupt => {
                tracing::error!(error = %error.chain(), %pack, "a pack is damaged and stays as it is: see `store check`");
            }
            other => other?,
        }
        let more = self.plan.lock().len() > from + 1;
        if !more {
            self.compare().await?; // another device may have replaced one of them
        }
        Ok(more.then_some(from + 1))
    }

    /// Packs of which enough is dead.
    async fn worthwhile(&self, dead: &[Bid]) -> Result<Vec<PackName>> {
        let mut bytes: BTreeMap<PackName, u64> = BTreeMap::new();
        for dead in dead.chunks(LOOKED_UP) {
            for (name, span) in self.ask(dead, Index::copies).await?.into_iter().flatten() {
                *bytes.entry(name).or_default() += u64::from(span.len);
            }
        }
        let index = self.index.read();
        let worth = |(name, dead): &(PackName, u64)| dead * WORTH >= index.size(name);
        Ok(bytes.into_iter().filter(worth).map(|(name, _)| name).collect())
    }
}
