//! Assigning what waits: runs of neighbours to the peer that is expected to finish them first.
//!
//! Must never give a peer more than its window, except for what somebody waits for.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{Action, Core, Key, Lease, LeaseId, Shares, is_too_much};
use crate::base::{Bid, Kind, VolumeId};
use crate::net::session::SessionId;
use crate::wire::peer::{Class, MAX_IDS};

/// Bytes of a run: what is asked of one peer at once.
const RUN: u64 = 1 << 20;
/// Bytes that may be under way from one peer because somebody waits for them.
const URGENT: u64 = 6 << 20;
/// After so many runs, one of the least urgent class that waits.
const FLOOR: u32 = 10;

/// What stops a block from being asked for.
enum Stop {
    /// No peer that shares the volume is left to try.
    Nobody,
    /// All are full.
    Full,
}

/// A class that found no room keeps it from the less urgent ones of its stream.
fn block_from(class: Class, blocked: &mut [bool; 5]) {
    let of_stream = Class::ALL.into_iter().filter(|c| *c >= class && c.is_interactive() == class.is_interactive());
    for class in of_stream {
        if let Some(slot) = blocked.get_mut(class.index()) {
            *slot = true;
        }
    }
}

impl Core {
    pub(super) fn assign(&mut self, now: Duration, shares: &Shares<'_>) {
        let mut parked = Vec::new();
        let mut blocked = [false; 5];
        while let Some(class) = self.next_class(blocked) {
            if !self.assign_one(class, now, shares, &mut parked) {
                block_from(class, &mut blocked);
            }
        }
        for (class, key) in parked.into_iter().rev() {
            if let Some(queue) = self.queues.get_mut(class.index()) {
                queue.push_front(key);
            }
        }
    }

    /// The most urgent class that waits; now and then the least urgent.
    fn next_class(&mut self, blocked: [bool; 5]) -> Option<Class> {
        let waits = |class: &Class| {
            let at = class.index();
            blocked.get(at) == Some(&false) && self.queues.get(at).is_some_and(|queue| !queue.is_empty())
        };
        let first = Class::ALL.into_iter().find(waits)?;
        let last = Class::ALL.into_iter().rev().find(waits)?;
        if self.turns >= FLOOR && last != first && !last.is_interactive() {
            self.turns = 0;
            return Some(last);
        }
        Some(first)
    }

    /// One run of this class. False when there is nothing to do or no room.
    fn assign_one(&mut self, class: Class, now: Duration, shares: &Shares<'_>, parked: &mut Vec<(Class, Key)>) -> bool {
        let Some(key) = self.pop(class, parked) else { return false };
        match self.best(&key, class, now, shares) {
            Ok(source) => {
                self.run(key, class, source, now, parked);
                self.turns = self.turns.saturating_add(1);
                true
            }
            Err(Stop::Nobody) => {
                let tried = self.blocks.get(&key).and_then(|block| block.failure);
                self.give_up(&key, tried.unwrap_or(Kind::Unreachable));
                true
            }
            Err(Stop::Full) => {
                parked.push((class, key));
                false
            }
        }
    }

    /// The next block of the queue that still has to be asked for. Those whose waiters do not keep up are put aside.
    fn pop(&mut self, class: Class, parked: &mut Vec<(Class, Key)>) -> Option<Key> {
        loop {
            let key = self.queues.get_mut(class.index())?.pop_front()?;
            let Some(block) = self.blocks.get(&key) else { continue };
            if !block.leases.is_empty() || block.class != class {
                continue;
            }
            let mut waiters = block.waiters.iter().filter_map(|(waiter, _)| self.waiters.get(waiter));
            if waiters.all(|waiter| is_too_much(waiter.unread.load(Ordering::Relaxed))) {
                parked.push((class, key));
                continue;
            }
            return Some(key);
        }
    }

    fn best(&self, key: &Key, class: Class, now: Duration, shares: &Shares<'_>) -> Result<SessionId, Stop> {
        let Some(block) = self.blocks.get(key) else { return Err(Stop::Full) };
        let bytes = u64::from(block.at_most);
        let mut able = false;
        let mut best: Option<(f64, SessionId)> = None;
        for (id, source) in &self.sources {
            if block.tried.contains(id) || !shares(*id, &key.0) {
                continue;
            }
            able = true;
            let room = if class.is_interactive() {
                source.outstanding - source.bulk + bytes <= URGENT || source.outstanding == source.bulk
            } else {
                source.room() >= bytes || source.bulk == 0
            };
            let finish = source.finish(bytes);
            if room && source.paused_until <= now && best.is_none_or(|(other, _)| finish < other) {
                best = Some((finish, *id));
            }
        }
        best.map(|(_, id)| id).ok_or(if able { Stop::Full } else { Stop::Nobody })
    }

    /// Lease `first` and the neighbours that follow it in the queue to `source`.
    fn run(&mut self, first: Key, class: Class, id: SessionId, now: Duration, parked: &mut Vec<(Class, Key)>) {
        let Some(source) = self.sources.get(&id) else { return };
        let most = if class.is_interactive() { URGENT } else { source.room().min(RUN) };
        let mut bids = vec![first.1];
        let mut bytes = self.blocks.get(&first).map_or(0, |b| u64::from(b.at_most));
        while bids.len() < MAX_IDS && bytes < most {
            let Some(key) = self.pop(class, parked) else { break };
            let Some(block) = self.blocks.get(&key) else { break };
            let more = bytes + u64::from(block.at_most);
            if key.0 != first.0 || more > most || block.tried.contains(&id) {
                if let Some(queue) = self.queues.get_mut(class.index()) {
                    queue.push_front(key);
                }
                break;
            }
            bytes = more;
            bids.push(key.1);
        }
        self.lease(id, first.0, class, &bids, now, false);
    }

    /// Ask `source` for these blocks.
    pub(super) fn lease(
        &mut self,
        source: SessionId,
        volume: VolumeId,
        class: Class,
        bids: &[Bid],
        now: Duration,
        hedge: bool,
    ) -> LeaseId {
        let lease = self.number();
        let mut bytes = 0;
        for bid in bids {
            if let Some(block) = self.blocks.get_mut(&(volume, *bid)) {
                block.leases.push(lease);
                bytes += u64::from(block.at_most);
            }
        }
        let mut delivered_before = 0;
        if let Some(source) = self.sources.get_mut(&source) {
            source.lent(bytes, class);
            delivered_before = source.delivered;
        }
        let keys: Vec<Option<Bid>> = bids.iter().copied().map(Some).collect();
        let open = keys.len();
        self.leases.insert(
            lease,
            Lease {
                source,
                volume,
                class,
                keys,
                open,
                since: now,
                progress: now,
                bytes,
                delivered_before,
                below: u32::MAX,
                hedge,
                urgent: class == Class::Interactive,
            },
        );
        let credit = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.actions.push(Action::Ask { source, lease, volume, class, ids: bids.to_vec(), credit });
        lease
    }
}
