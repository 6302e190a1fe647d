//! The scheduler, sans-IO: which block is asked of which peer, when, and who is told.
//!
//! Invariants: a block has one lease, or two while it is hedged or taken over; a block nobody waits for has none;
//! every waiter hears of each of its blocks exactly once. Must never do I/O or read a clock.

mod assign;
mod repair;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::Wanted;
use super::source::Source;
use crate::base::{Bid, Kind, VolumeId};
use crate::net::session::SessionId;
use crate::wire::peer::Class;
use crate::wire::peer::data::cost;
use repair::Latencies;

/// Number of a request to one peer.
pub(super) type LeaseId = u64;
/// Number of somebody who waits for blocks.
pub(super) type WaiterId = u64;

/// Bytes that lie ready for a waiter who does not take them; then nothing more is asked for it.
const MOST_UNREAD: u64 = 16 << 20;
/// Timers are looked at no more often, however many blocks arrive.
const LOOK: Duration = Duration::from_millis(1);
/// Peers tried for one block, over and over, before it counts as unreachable.
const MOST_ATTEMPTS: u32 = 12;

/// Whether so many bytes lie ready that nothing more should be asked for.
pub(super) fn is_too_much(unread: u64) -> bool {
    unread >= MOST_UNREAD
}

type Key = (VolumeId, Bid);

/// What the shell has to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Ask a peer for blocks; their answers come back under this lease.
    Ask { source: SessionId, lease: LeaseId, volume: VolumeId, class: Class, ids: Vec<Bid>, credit: u32 },
    /// Tell the peer that indexes of `from` and above are not wanted.
    Cancel { lease: LeaseId, from: u32 },
    /// Hand a block to a waiter.
    Deliver { waiter: WaiterId, index: u32, bytes: Bytes },
    /// Tell a waiter that a block will not come.
    Fail { waiter: WaiterId, index: u32, kind: Kind },
}

#[derive(Debug)]
struct Block {
    at_most: u32,
    class: Class,
    waiters: Vec<(WaiterId, u32)>,
    leases: Vec<LeaseId>,
    tried: Vec<SessionId>,
    attempts: u32,
    /// Why the last source did not give it.
    failure: Option<Kind>,
}

#[derive(Debug)]
struct Lease {
    source: SessionId,
    volume: VolumeId,
    class: Class,
    /// By index; none once answered.
    keys: Vec<Option<Bid>>,
    open: usize,
    since: Duration,
    progress: Duration,
    /// Of `open`.
    bytes: u64,
    delivered_before: u64,
    /// Indexes of it and above were given to others.
    below: u32,
    hedge: bool,
    /// Somebody waits for a block of it.
    urgent: bool,
}

#[derive(Debug)]
struct Waiter {
    deadline: Option<Duration>,
    volume: VolumeId,
    /// By bid, the indexes not yet answered.
    open: HashMap<Bid, Vec<u32>>,
    unread: Arc<AtomicU64>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Core {
    sources: BTreeMap<SessionId, Source>,
    blocks: HashMap<Key, Block>,
    queues: [VecDeque<Key>; 5],
    leases: BTreeMap<LeaseId, Lease>,
    waiters: BTreeMap<WaiterId, Waiter>,
    last: u64,
    turns: u32,
    latencies: Latencies,
    actions: Vec<Action>,
    /// When deadlines, stalls and hedges were last looked at.
    looked: Duration,
    /// Bytes received that somebody had brought already.
    pub duplicates: u64,
}

/// Who shares which volume; asked of the daemon.
pub(super) type Shares<'a> = dyn Fn(SessionId, &VolumeId) -> bool + 'a;

impl Core {
    /// A session stands.
    pub fn source_up(&mut self, id: SessionId, rtt: Option<Duration>) {
        self.sources.insert(id, Source::new(rtt));
    }

    /// A session is over: what was asked of it is asked of others.
    pub fn source_down(&mut self, id: SessionId, now: Duration) {
        let leases: Vec<LeaseId> = self.leases.iter().filter(|(_, l)| l.source == id).map(|(id, _)| *id).collect();
        for lease in leases {
            self.ended(lease, Err(Kind::Unreachable), now);
        }
        self.sources.remove(&id);
    }

    /// Somebody waits for blocks. `unread` counts the bytes delivered and not yet taken.
    pub fn want(
        &mut self,
        volume: VolumeId,
        wanted: &[Wanted],
        class: Class,
        deadline: Option<Duration>,
        unread: Arc<AtomicU64>,
    ) -> WaiterId {
        let id = self.number();
        let mut open: HashMap<Bid, Vec<u32>> = HashMap::new();
        for (Wanted { bid, at_most }, index) in wanted.iter().zip(0..) {
            open.entry(*bid).or_default().push(index);
            let key = (volume, *bid);
            let block = self.blocks.entry(key).or_insert_with(|| Block::new(*at_most, class));
            block.waiters.push((id, index));
            block.at_most = block.at_most.max(cost(*at_most as usize));
            if block.leases.is_empty() && (block.waiters.len() == 1 || class < block.class) {
                block.class = block.class.min(class);
                self.enqueue(key, class);
            } else {
                block.class = block.class.min(class);
                for lease in block.leases.iter().filter(|_| class == Class::Interactive) {
                    self.leases.get_mut(lease).into_iter().for_each(|lease| lease.urgent = true);
                }
            }
        }
        self.waiters.insert(id, Waiter { deadline, volume, open, unread });
        id
    }

    /// A waiter is not interested any more. What only it wanted is cancelled.
    pub fn leave(&mut self, id: WaiterId) {
        let Some(waiter) = self.waiters.remove(&id) else { return };
        for bid in waiter.open.into_keys() {
            let key = (waiter.volume, bid);
            let Some(block) = self.blocks.get_mut(&key) else { continue };
            block.waiters.retain(|(w, _)| *w != id);
            if block.waiters.is_empty() {
                let leases = self.blocks.remove(&key).map(|block| block.leases).unwrap_or_default();
                for lease in leases {
                    self.release(lease, &bid);
                }
            }
        }
    }

    /// A verified block arrived under a lease.
    pub fn arrived(&mut self, lease: LeaseId, index: u32, bytes: &Bytes, now: Duration) {
        let Some((key, class)) = self.answered(lease, index, Some(bytes.len()), now) else { return };
        let Some(block) = self.blocks.remove(&key) else {
            self.duplicates += bytes.len() as u64;
            return;
        };
        if class == Class::Interactive {
            self.latencies.received(bytes.len() as u64);
        }
        for (waiter, index) in block.waiters {
            if let Some(to) = self.waiters.get_mut(&waiter) {
                to.unread.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                to.open.remove(&key.1);
                self.actions.push(Action::Deliver { waiter, index, bytes: bytes.clone() });
            }
            self.forget_if_done(waiter);
        }
        for other in block.leases.into_iter().filter(|l| *l != lease) {
            self.release(other, &key.1);
        }
    }

    /// The peer does not have it.
    pub fn missing(&mut self, lease: LeaseId, index: u32, now: Duration) {
        let source = self.leases.get(&lease).map(|l| l.source);
        if let Some((key, _)) = self.answered(lease, index, None, now) {
            self.retry(key, lease, source, Kind::NotFound);
        }
    }

    /// The request is over. Whatever it did not bring is asked of others.
    pub fn ended(&mut self, id: LeaseId, outcome: Result<(), Kind>, now: Duration) {
        let Some(lease) = self.leases.remove(&id) else { return };
        if let Some(source) = self.sources.get_mut(&lease.source) {
            source.returned(lease.bytes, lease.class);
            if outcome == Err(Kind::Busy) {
                source.paused_until = now + Duration::from_millis(20);
            }
        }
        let (kind, blame) = match outcome {
            Err(kind @ (Kind::Busy | Kind::Timeout)) => (kind, None),
            Err(kind) => (kind, Some(lease.source)),
            Ok(()) => (Kind::NotFound, None),
        };
        for bid in lease.keys.into_iter().rev().flatten() {
            self.retry((lease.volume, bid), id, blame, kind);
        }
    }

    /// What is to be done now, after any of the above: assigns what waits. To be repeated at [`Core::next_wake`].
    pub fn pump(&mut self, now: Duration, shares: &Shares<'_>) -> Vec<Action> {
        if now >= self.looked + LOOK {
            self.looked = now;
            self.expire(now);
            self.take_over(now, shares);
            self.hedge(now, shares);
        }
        self.assign(now, shares);
        self.steal(now, shares);
        std::mem::take(&mut self.actions)
    }

    /// Nothing is waited for and nothing is under way.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.blocks.is_empty() && self.leases.is_empty() && self.waiters.is_empty()
    }

    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn enqueue(&mut self, key: Key, class: Class) {
        if let Some(queue) = self.queues.get_mut(class.index()) {
            queue.push_back(key);
        }
    }

    /// Take an index off a lease; none when it was answered before or the lease is over.
    fn answered(&mut self, id: LeaseId, index: u32, length: Option<usize>, now: Duration) -> Option<(Key, Class)> {
        let lease = self.leases.get_mut(&id)?;
        let bid = lease.keys.get_mut(index as usize)?.take()?;
        let key = (lease.volume, bid);
        let at_most = self.blocks.get(&key).map_or(0, |block| u64::from(block.at_most));
        let source = self.sources.get_mut(&lease.source);
        lease.open = lease.open.saturating_sub(1);
        let back = if lease.open == 0 { lease.bytes } else { at_most.min(lease.bytes) };
        lease.bytes -= back;
        lease.progress = now;
        if let Some(source) = source {
            source.returned(back, lease.class);
            source.stalled = false;
            let span = now.saturating_sub(lease.since);
            if let Some(length) = length {
                source.delivered += length as u64;
                let brought = source.delivered.saturating_sub(lease.delivered_before);
                source.sample(brought, span, !lease.class.is_interactive(), now);
            }
            if index == 0 {
                source.answered_after(span);
            }
            if lease.class == Class::Interactive {
                self.latencies.answered_after(span);
            }
        }
        Some((key, lease.class))
    }

    /// A lease did not bring this block: queue it again unless another lease still may, or nobody is left to ask.
    fn retry(&mut self, key: Key, lease: LeaseId, blame: Option<SessionId>, kind: Kind) {
        let Some(block) = self.blocks.get_mut(&key) else { return };
        let Some(at) = block.leases.iter().position(|l| *l == lease) else { return };
        block.leases.remove(at);
        block.attempts += u32::from(kind != Kind::Busy); // a peer that is busy has not failed
        block.failure = Some(kind);
        block.tried.extend(blame);
        if block.attempts > MOST_ATTEMPTS {
            return self.give_up(&key, kind);
        }
        if block.leases.is_empty() {
            let class = block.class;
            if let Some(queue) = self.queues.get_mut(class.index()) {
                queue.push_front(key);
            }
        }
    }

    fn give_up(&mut self, key: &Key, kind: Kind) {
        let Some(block) = self.blocks.remove(key) else { return };
        for (waiter, index) in block.waiters {
            if let Some(to) = self.waiters.get_mut(&waiter) {
                to.open.remove(&key.1);
                self.actions.push(Action::Fail { waiter, index, kind });
            }
            self.forget_if_done(waiter);
        }
        for lease in block.leases {
            self.release(lease, &key.1);
        }
    }

    fn forget_if_done(&mut self, id: WaiterId) {
        if self.waiters.get(&id).is_some_and(|waiter| waiter.open.is_empty()) {
            self.waiters.remove(&id);
        }
    }

    /// One block of a lease is not wanted any more: if nothing of it from there on is, say so.
    fn release(&mut self, id: LeaseId, bid: &Bid) {
        let Some(lease) = self.leases.get_mut(&id) else { return };
        let wanted = |key: &Option<Bid>| {
            key.is_some_and(|b| {
                b != *bid && self.blocks.get(&(lease.volume, b)).is_some_and(|block| block.leases.contains(&id))
            })
        };
        let from = lease.keys.iter().rposition(wanted).map_or(0, |at| at + 1);
        let from = u32::try_from(from).unwrap_or(u32::MAX);
        if from < lease.below && (from as usize) < lease.keys.len() {
            lease.below = from;
            self.actions.push(Action::Cancel { lease: id, from });
        }
    }
}

impl Block {
    fn new(at_most: u32, class: Class) -> Self {
        let (waiters, leases, tried) = (Vec::new(), Vec::new(), Vec::new());
        Self { at_most: cost(at_most as usize), class, waiters, leases, tried, attempts: 0, failure: None }
    }
}

impl Source {
    fn returned(&mut self, bytes: u64, class: Class) {
        self.outstanding = self.outstanding.saturating_sub(bytes);
        if !class.is_interactive() {
            self.bulk = self.bulk.saturating_sub(bytes);
        }
    }

    fn lent(&mut self, bytes: u64, class: Class) {
        self.outstanding += bytes;
        if !class.is_interactive() {
            self.bulk += bytes;
        }
    }
}
