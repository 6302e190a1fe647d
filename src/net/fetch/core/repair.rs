//! When peers are slow, stall or vanish: deadlines, taking over, hedging, stealing.
//!
//! Must never spend more than [`HEDGE_SHARE`] of the bytes received on hedges, but for a small allowance.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Action, Core, LOOK, LeaseId, Shares, WaiterId};
use crate::base::{Bid, Kind};
use crate::net::session::SessionId;
use crate::wire::peer::Class;

/// Share of interactive bytes that may be asked for twice.
const HEDGE_SHARE: u64 = 50;
/// Bytes that may be asked for twice before any share exists.
const HEDGE_ALLOWANCE: u64 = 1 << 20;
/// A hedge never comes earlier.
const HEDGE_FLOOR: Duration = Duration::from_millis(20);
/// Until enough was measured.
const HEDGE_FIRST: Duration = Duration::from_millis(200);
/// Remembered latencies.
const SAMPLES: usize = 64;
/// What was due and could not be helped is looked at again after this.
const AGAIN: Duration = Duration::from_millis(100);
/// A tail is stolen when its owner would take so many times longer than the thief.
const GAIN: f64 = 2.0;

/// Latencies of interactive blocks, and the hedging account.
#[derive(Debug, Default)]
pub(super) struct Latencies {
    samples: Vec<Duration>,
    at: usize,
    bytes: u64,
    hedged: u64,
}

impl Latencies {
    pub fn answered_after(&mut self, span: Duration) {
        if self.samples.len() < SAMPLES {
            self.samples.push(span);
        } else if let Some(slot) = self.samples.get_mut(self.at) {
            *slot = span;
        }
        self.at = (self.at + 1) % SAMPLES;
    }

    pub fn received(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// The 95th percentile, or a guess.
    pub fn patience(&self) -> Duration {
        if self.samples.len() < 8 {
            return HEDGE_FIRST;
        }
        let mut sorted = self.samples.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() * 95 / 100).copied().unwrap_or(HEDGE_FIRST).max(HEDGE_FLOOR)
    }

    /// Book a hedge if the account allows.
    pub fn afford(&mut self, bytes: u64) -> bool {
        let fits = self.hedged + bytes <= HEDGE_ALLOWANCE + self.bytes / HEDGE_SHARE;
        if fits {
            self.hedged += bytes;
        }
        fits
    }
}

impl Core {
    /// Waiters whose time is over hear so.
    pub(super) fn expire(&mut self, now: Duration) {
        let late = |(id, w): (&WaiterId, &super::Waiter)| w.deadline.is_some_and(|at| at <= now).then_some(*id);
        let late: Vec<WaiterId> = self.waiters.iter().filter_map(late).collect();
        for id in late {
            let open: Vec<u32> =
                self.waiters.get(&id).map(|w| w.open.values().flatten().copied().collect()).unwrap_or_default();
            self.leave(id);
            self.actions.extend(open.into_iter().map(|index| Action::Fail { waiter: id, index, kind: Kind::Timeout }));
        }
    }

    /// What a stalled peer owes is asked of others, if there are any.
    pub(super) fn take_over(&mut self, now: Duration, shares: &Shares<'_>) {
        let stalled: Vec<LeaseId> =
            self.leases.keys().filter_map(|id| self.is_stalled(*id, now).then_some(*id)).collect();
        for id in stalled {
            let Some(lease) = self.leases.get_mut(&id) else { continue };
            let (owner, volume) = (lease.source, lease.volume);
            let open: Vec<Bid> = lease.keys.iter().flatten().copied().collect();
            if let Some(source) = self.sources.get_mut(&owner) {
                source.stalled = true;
            }
            let other = self.sources.iter().any(|(s, source)| *s != owner && !source.stalled && shares(*s, &volume));
            if !other {
                continue;
            }
            if let Some(lease) = self.leases.get_mut(&id)
                && lease.below > 0
            {
                lease.below = 0;
                self.actions.push(Action::Cancel { lease: id, from: 0 });
            }
            for bid in open.into_iter().rev() {
                self.retry((volume, bid), id, None, Kind::Timeout);
            }
        }
    }

    fn is_stalled(&self, id: LeaseId, now: Duration) -> bool {
        let Some(lease) = self.leases.get(&id) else { return false };
        let Some(source) = self.sources.get(&lease.source) else { return false };
        lease.open > 0 && lease.below > 0 && now.saturating_sub(lease.progress) >= source.patience()
    }

    /// A second peer is asked for what a reader waits for too long.
    pub(super) fn hedge(&mut self, now: Duration, shares: &Shares<'_>) {
        if self.sources.len() < 2 {
            return;
        }
        let patience = self.latencies.patience();
        let slow = |lease: &super::Lease| lease.urgent && !lease.hedge && now.saturating_sub(lease.since) >= patience;
        let late: Vec<(SessionId, crate::base::VolumeId, Vec<Bid>)> = self
            .leases
            .values()
            .filter(|lease| slow(lease))
            .map(|lease| (lease.source, lease.volume, lease.keys.iter().flatten().copied().collect()))
            .collect();
        for (owner, volume, bids) in late {
            for bid in bids {
                let Some(block) = self.blocks.get(&(volume, bid)) else { continue };
                let awaited = block.class == Class::Interactive && block.leases.len() == 1;
                let bytes = u64::from(block.at_most);
                let free = |id: &SessionId| *id != owner && !block.tried.contains(id) && shares(*id, &volume);
                let other = self.fastest(bytes, free);
                if let Some(other) = other.filter(|_| awaited)
                    && self.latencies.afford(bytes)
                {
                    self.lease(other, volume, Class::Interactive, &[bid], now, true);
                }
            }
        }
    }

    fn fastest(&self, bytes: u64, free: impl Fn(&SessionId) -> bool) -> Option<SessionId> {
        let able = self.sources.iter().filter(|(id, source)| free(id) && !source.stalled);
        able.min_by(|(_, a), (_, b)| a.finish(bytes).total_cmp(&b.finish(bytes))).map(|(id, _)| *id)
    }

    /// With nothing left to assign, an idle peer takes the tail half of the run that would finish last.
    pub(super) fn steal(&mut self, now: Duration, shares: &Shares<'_>) {
        if self.queues.iter().any(|queue| !queue.is_empty()) {
            return;
        }
        let idle: Vec<SessionId> =
            self.sources.iter().filter(|(_, s)| s.outstanding == 0 && !s.stalled).map(|(id, _)| *id).collect();
        for thief in idle {
            let Some((victim, tail)) = self.worst(thief, shares) else { return };
            let Some(lease) = self.leases.get_mut(&victim) else { return };
            let (volume, class) = (lease.volume, lease.class);
            let first = tail.first().and_then(|bid| lease.keys.iter().position(|key| key.as_ref() == Some(bid)));
            let Some(from) = first.and_then(|at| u32::try_from(at).ok()) else { return };
            lease.below = from;
            self.actions.push(Action::Cancel { lease: victim, from });
            for bid in &tail {
                if let Some(block) = self.blocks.get_mut(&(volume, *bid)) {
                    block.leases.retain(|l| *l != victim);
                }
            }
            self.lease(thief, volume, class, &tail, now, false);
        }
    }

    /// Of the peer that will need longest, the newest lease, and the tail half of what it still owes.
    fn worst(&self, thief: SessionId, shares: &Shares<'_>) -> Option<(LeaseId, Vec<Bid>)> {
        let fast = self.sources.get(&thief)?;
        let relief = GAIN * fast.finish(0);
        if self.sources.values().all(|source| source.finish(0) <= relief) {
            return None;
        }
        let mut newest: BTreeMap<SessionId, (LeaseId, Vec<Bid>)> = BTreeMap::new();
        for (id, lease) in &self.leases {
            let owed: Vec<Bid> = lease.keys.iter().take(lease.below as usize).flatten().copied().collect();
            let sole = |bid: &Bid| {
                let block = self.blocks.get(&(lease.volume, *bid));
                block.is_some_and(|b| b.leases == [*id] && !b.tried.contains(&thief))
            };
            if !owed.is_empty() && lease.source != thief && owed.iter().all(sole) && shares(thief, &lease.volume) {
                newest.insert(lease.source, (*id, owed.get(owed.len() / 2..).unwrap_or_default().to_vec()));
            }
        }
        let needs = |id: &SessionId| self.sources.get(id).map_or(0.0, |owner| owner.finish(0));
        let (owner, (id, tail)) = newest.into_iter().max_by(|(a, _), (b, _)| needs(a).total_cmp(&needs(b)))?;
        let bytes = self.leases.get(&id).map_or(0, |lease| lease.bytes);
        (needs(&owner) > GAIN * fast.finish(bytes / 2)).then_some((id, tail))
    }

    /// When [`Core::pump`] has something to do although nothing happened.
    pub fn next_wake(&self, now: Duration) -> Option<Duration> {
        let deadlines = self.waiters.values().filter_map(|waiter| waiter.deadline);
        let several = self.sources.len() > 1;
        let hedge = self.latencies.patience();
        let stalls =
            self.leases.values().filter(|lease| several && lease.open > 0 && lease.below > 0).flat_map(|lease| {
                let stall = self.sources.get(&lease.source).map(|source| lease.progress + source.patience());
                [stall, (lease.urgent && !lease.hedge).then_some(lease.since + hedge)].into_iter().flatten()
            });
        let waiting = self.queues.iter().any(|queue| !queue.is_empty());
        let paused = self.sources.values().map(|source| source.paused_until).filter(|_| waiting);
        let later = |at: Duration| match at {
            at if at > now => at,
            at if at > self.looked => self.looked + LOOK,
            _ => now + AGAIN,
        };
        deadlines.chain(stalls).chain(paused).map(later).min()
    }
}
