//! Blocks from the stores of a volume: for reads, for pins, to tell what may leave this disk, to mend.
//!
//! Must never give out bytes that do not verify, nor be called on a thread that drives stores.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;

use super::super::exchange::Replica;
use super::{Attached, Stores};
use crate::base::{Bid, Error, Kind, Result, VolumeId};
use crate::kv::is_genuine;
use crate::seal::Ref;

/// Blocks asked of a store together, and what one is taken to weigh.
const TOGETHER: usize = 256;
const TYPICAL: usize = 128 << 10;
/// How long one of them may take.
const ONE: Duration = Duration::from_secs(60);
/// Blocks asked of stores at once.
const AT_ONCE: usize = 16;

impl Stores {
    /// Whether the stores can be asked for blocks of this volume.
    pub fn any(&self, id: VolumeId) -> bool {
        self.shelves.read().get(&id).is_some_and(|shelf| !shelf.multi.is_empty())
    }

    /// A block from the stores of a volume, verified; `None` if all lack it. Waits for at most `patience`.
    pub fn fetch(&self, id: VolumeId, r: &Ref, patience: Duration) -> Result<Option<Vec<u8>>> {
        let Some(shelf) = self.shelves.read().get(&id).cloned() else { return Ok(None) };
        let late = || Error::new(Kind::Timeout, "fetch a block", r.bid.to_string());
        let get = async {
            tokio::time::timeout(patience, shelf.multi.get(&r.bid, r.len as usize))
                .await
                .unwrap_or_else(|_| Err(late()))
        };
        Ok(self.runtime()?.block_on(get)?.map(|bytes| bytes.to_vec()))
    }

    /// Blocks from the stores of a volume, verified, in any order; those that no store gives are left out.
    pub fn fetch_many(
        &self,
        id: VolumeId,
        wanted: &[Ref],
        take: &mut dyn FnMut(&Ref, Bytes) -> Result<()>,
    ) -> Result<()> {
        let shelf = self.shelves.read().get(&id).cloned();
        let Some(shelf) = shelf.filter(|shelf| !wanted.is_empty() && !shelf.multi.is_empty()) else { return Ok(()) };
        let mut rest = Vec::new();
        for some in wanted.chunks(TOGETHER) {
            let ids: Vec<Bid> = some.iter().map(|r| r.bid).collect();
            let found = self.run(async { Ok(shelf.multi.get_many(&ids, TYPICAL).await) })?;
            for (r, bytes) in some.iter().zip(found) {
                match bytes {
                    Some(bytes) => take(r, bytes)?,
                    None => rest.push(*r),
                }
            }
        }
        self.run(async {
            let (mut next, mut under_way) = (rest.into_iter(), JoinSet::new());
            loop {
                while under_way.len() < AT_ONCE
                    && let Some(r) = next.next()
                {
                    let multi = Arc::clone(&shelf.multi);
                    under_way.spawn(async move {
                        let late = || Error::new(Kind::Timeout, "fetch a block", r.bid.to_string());
                        let got = tokio::time::timeout(ONE, multi.get(&r.bid, r.len as usize)).await;
                        (r, got.unwrap_or_else(|_| Err(late())))
                    });
                }
                let Some(done) = under_way.join_next().await else { return Ok(()) };
                match done {
                    Ok((r, Ok(Some(bytes)))) => take(&r, bytes)?,
                    Ok((r, Err(error))) => tracing::debug!(block = %r.bid, error = %error.chain(), "no store gave it"),
                    Ok((_, Ok(None))) | Err(_) => {}
                }
            }
        })
    }

    /// For each of `ids`, the stores of a volume that say now that they have it.
    pub fn holders(&self, id: VolumeId, ids: &[Bid]) -> Vec<Vec<Arc<Attached>>> {
        let mut holders = vec![Vec::new(); ids.len()];
        let all = self.attached(id);
        let Some(runtime) = self.runtime().ok().filter(|_| !all.is_empty()) else { return holders };
        for attached in all {
            let has = runtime.block_on(attached.has(id, ids)).unwrap_or_else(|error| {
                tracing::debug!(store = attached.name, error = %error.chain(), "cannot tell what it has");
                Vec::new()
            });
            for (holders, _) in holders.iter_mut().zip(has).filter(|(_, has)| *has) {
                holders.push(Arc::clone(&attached));
            }
        }
        holders
    }

    /// Whether a store is known to have a block and to answer sooner than somebody `away` so far.
    pub fn is_nearer(&self, id: VolumeId, r: &Ref, away: Option<Duration>) -> bool {
        let Some(shelf) = self.shelves.read().get(&id).cloned() else { return false };
        let having =
            shelf.multi.stores().into_iter().filter(|store| store.holds(&r.bid) == Some(true) && store.is_ok());
        having
            .map(|store| store.expected(r.len as usize))
            .min()
            .is_some_and(|store| away.is_none_or(|away| store < away))
    }

    /// How many blocks a store has that neither the log nor another store has, asked now.
    pub async fn only_in(&self, replica: &Replica, attached: &Attached) -> Result<u64> {
        let others = self.attached(replica.known.id);
        let (kv, log) = (attached.store.kv(), replica.volume.blocks().log());
        attached.is_ours(replica.known.id).await?;
        let (mut only, mut after) = (0, None);
        loop {
            let page = kv.list(after, 10_000).await?;
            after = page.last().copied();
            let last = page.len() < 10_000;
            let mut left: Vec<Bid> = page.into_iter().filter(|id| !log.contains(id)).collect();
            for other in others.iter().filter(|other| other.name != attached.name) {
                let has = other.has(replica.known.id, &left).await.unwrap_or_default();
                let mut has = has.into_iter();
                left.retain(|_| !has.next().unwrap_or(false));
            }
            only += left.len() as u64;
            if last {
                return Ok(only);
            }
        }
    }

    /// Put the right bytes of a block into a store that has wrong ones. [`Kind::NotFound`] if nobody has them.
    pub fn mend(&self, replica: &Replica, attached: &Attached, bid: &Bid) -> Result<()> {
        let here = replica.volume.blocks().log().get(bid).ok().flatten().filter(|sealed| is_genuine(bid, sealed));
        let others = self.attached(replica.known.id);
        self.run(async {
            let mut sound = here.map(Bytes::from);
            for other in others.iter().filter(|other| other.name != attached.name) {
                if sound.is_none() {
                    sound = other.store.kv().get(bid).await.ok().flatten().filter(|sealed| is_genuine(bid, sealed));
                }
            }
            let nobody = || Error::new(Kind::NotFound, "find a sound copy of the block", bid.to_string());
            attached.store.kv().put(bid, sound.ok_or_else(nobody)?).await?;
            let now = attached.store.kv().get(bid).await?;
            let wrong = || Error::new(Kind::Corrupt, "mend the store", &attached.name);
            now.filter(|sealed| is_genuine(bid, sealed)).map(drop).ok_or_else(wrong)
        })
    }
}
