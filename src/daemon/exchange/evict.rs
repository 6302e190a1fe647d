//! Dropping local copies: only what is pinned by nobody here, and kept by enough stores and members.
//!
//! Must never drop the last copy: stores are looked into and members asked, block by block, before ours goes.

use std::collections::HashSet;

use super::holds::MOST_IDS;
use super::{Exchange, Replica};
use crate::base::{Bid, Kind, NodeId, Result};
use crate::net::Peer;
use crate::seal::BlockType;

/// What an eviction did, in bytes of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evicted {
    /// No longer here.
    pub dropped: u64,
    /// Given back to the disk.
    pub freed: u64,
    /// Here still, because a pin covers it.
    pub pinned: u64,
    /// Here still, because too few others said that they keep it.
    pub unconfirmed: u64,
    /// Here still, because this device has just promised another to keep it.
    pub promised: u64,
}

struct Eviction<'a> {
    exchange: &'a Exchange,
    replica: &'a Replica,
    done: Evicted,
    batch: Vec<(Bid, u64)>,
    met: HashSet<Bid>,
}

/// Drop what is below the node `id` and may go. `report` hears how far it is and may end it by an error.
pub fn evict(
    exchange: &Exchange,
    replica: &Replica,
    id: NodeId,
    report: &mut dyn FnMut(Evicted) -> Result<()>,
) -> Result<Evicted> {
    let volume = &replica.volume;
    volume.announce()?; // what is still being written counts as content nobody else has
    let pinned = pinned(replica)?;
    let ino = volume.number_of(id)?;
    let (batch, met) = (Vec::new(), HashSet::new());
    let mut eviction = Eviction { exchange, replica, done: Evicted::default(), batch, met };
    volume.content_blocks(ino, usize::MAX, &mut |t, _, r, here| {
        if t != BlockType::Data || !here || !eviction.met.insert(r.bid) {
            return Ok(here);
        }
        if pinned.contains(&r.bid) {
            eviction.done.pinned += u64::from(r.len);
            return Ok(true);
        }
        eviction.batch.push((r.bid, r.len.into()));
        if eviction.batch.len() == MOST_IDS {
            eviction.flush()?;
            report(eviction.done)?;
        }
        Ok(true)
    })?;
    eviction.flush()?;
    Ok(eviction.done)
}

impl Eviction<'_> {
    fn flush(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let ids: Vec<Bid> = batch.iter().map(|(bid, _)| *bid).collect();
        let free = self.replica.volume.leaving(&ids);
        let confirmed = self.confirmed(&free);
        let freed = self.replica.volume.evict(&confirmed);
        self.replica.volume.settled(&free);
        self.done.freed += freed?;
        let (gone, free): (HashSet<Bid>, HashSet<Bid>) = (confirmed.into_iter().collect(), free.into_iter().collect());
        for (bid, len) in batch {
            let counter = match (gone.contains(&bid), free.contains(&bid)) {
                (true, _) => &mut self.done.dropped,
                (_, true) => &mut self.done.unconfirmed,
                (_, false) => &mut self.done.promised,
            };
            *counter += len;
        }
        Ok(())
    }

    /// Those of `ids` that enough stores have, or connected members promise to keep.
    fn confirmed(&self, ids: &[Bid]) -> Vec<Bid> {
        let wanted = self.replica.policy().replicas.unwrap_or(self.exchange.settings.replicas_min);
        let peers = self.exchange.connected(self.replica);
        let counts = held(self.exchange, self.replica, &peers, ids, (wanted, true));
        ids.iter().zip(counts).filter(|(_, count)| *count >= wanted).map(|(bid, _)| *bid).collect()
    }
}

/// For each of `ids`: how many stores have it, and how many of `peers` say that they do; with `promise` these go on keeping
/// it. Nobody is asked for more than `wanted`.
pub(super) fn held(
    exchange: &Exchange,
    replica: &Replica,
    peers: &[Peer],
    ids: &[Bid],
    (wanted, promise): (usize, bool),
) -> Vec<usize> {
    let stored = exchange.stores().holders(replica.known.id, ids);
    let mut open: Vec<_> = ids.iter().zip(stored).map(|(bid, stores)| (*bid, stores.len())).collect();
    let net = exchange.net();
    for (net, peer) in net.iter().flat_map(|net| peers.iter().map(move |peer| (net, peer))) {
        let lacking: Vec<usize> = (0..open.len()).filter(|at| open.get(*at).is_some_and(|o| o.1 < wanted)).collect();
        let ask: Vec<Bid> = lacking.iter().filter_map(|at| open.get(*at)).map(|(bid, _)| *bid).collect();
        if ask.is_empty() {
            break;
        }
        let Some(bits) = replica.holds.ask(net, replica, peer, &ask, promise) else { continue };
        for (at, _) in lacking.into_iter().zip(bits).filter(|(_, has)| *has) {
            if let Some((_, count)) = open.get_mut(at) {
                *count += 1;
            }
        }
    }
    open.into_iter().map(|(_, count)| count).collect()
}

/// Every block that a pin covers.
fn pinned(replica: &Replica) -> Result<HashSet<Bid>> {
    let mut all = HashSet::new();
    for (pin, _) in replica.pins.list() {
        let ino = match replica.volume.number_of(pin.id) {
            Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Stale) => continue,
            found => found?,
        };
        replica.volume.data_blocks(ino, pin.levels(), &mut all)?;
    }
    Ok(all)
}
