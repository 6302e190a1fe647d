//! Peers with a rate and a distance, a clock that jumps from event to event.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use crate::base::{Bid, Kind, VolumeId};
use crate::net::fetch::Wanted;
use crate::net::fetch::core::{Action, Core, LeaseId, WaiterId};
use crate::net::session::SessionId;
use crate::wire::peer::Class;

pub const VOLUME: VolumeId = VolumeId([1; 16]);

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Block `n`.
pub fn bid(n: u64) -> Bid {
    let mut id = [0; 32];
    id[..8].copy_from_slice(&n.to_le_bytes());
    Bid(id)
}

/// When it arrives, the lease, what is left of it.
type Job = (Duration, LeaseId, VecDeque<(u32, Bid)>);

pub struct Peer {
    /// Bytes per second.
    pub rate: u64,
    pub rtt: Duration,
    /// None: all.
    pub has: Option<BTreeSet<Bid>>,
    pub stalls: bool,
    /// Blocks it can begin to send are ready at these times.
    free_at: Duration,
    jobs: VecDeque<Job>,
    pub sent: u64,
    pub asked: usize,
}

enum Event {
    Block(SessionId, LeaseId, u32),
    Missing(LeaseId, u32),
    Ended(LeaseId),
}

#[derive(Default)]
pub struct Simulation {
    pub core: Core,
    pub now: Duration,
    pub peers: BTreeMap<SessionId, Peer>,
    events: BTreeMap<(Duration, u64), Event>,
    pub size: u64,
    order: u64,
    /// Of each waiter and index, what it heard.
    pub heard: BTreeMap<(WaiterId, u32), Result<(), Kind>>,
    pub most_outstanding: u64,
    owner: BTreeMap<LeaseId, SessionId>,
    unread: BTreeMap<WaiterId, Arc<AtomicU64>>,
    pub shares: BTreeSet<SessionId>,
}

impl Simulation {
    pub fn new(size: u64) -> Self {
        Self { size, ..Self::default() }
    }

    pub fn peer(&mut self, id: SessionId, mb_per_s: u64, rtt: Duration) {
        let peer = Peer {
            rate: mb_per_s * 1_000_000,
            rtt,
            has: None,
            stalls: false,
            free_at: Duration::ZERO,
            jobs: VecDeque::new(),
            sent: 0,
            asked: 0,
        };
        self.peers.insert(id, peer);
        self.shares.insert(id);
        self.core.source_up(id, Some(rtt));
    }

    pub fn down(&mut self, id: SessionId) {
        self.peers.remove(&id);
        self.core.source_down(id, self.now);
        self.pump();
    }

    pub fn want(&mut self, range: std::ops::Range<u64>, class: Class, patience: Duration) -> WaiterId {
        let wanted: Vec<Wanted> =
            range.map(|n| Wanted { bid: bid(n), at_most: u32::try_from(self.size).unwrap() }).collect();
        let unread = Arc::new(AtomicU64::new(0));
        let waiter = self.core.want(VOLUME, &wanted, class, Some(self.now + patience), Arc::clone(&unread));
        self.unread.insert(waiter, unread);
        self.pump();
        waiter
    }

    pub fn pump(&mut self) {
        loop {
            let shares = &self.shares;
            let actions = self.core.pump(self.now, &|id, _| shares.contains(&id));
            if actions.is_empty() {
                return;
            }
            actions.into_iter().for_each(|action| self.act(action));
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Ask { source, lease, ids, credit, .. } => {
                let Some(peer) = self.peers.get_mut(&source) else {
                    return self.core.ended(lease, Err(Kind::Unreachable), self.now);
                };
                assert!(u64::from(credit) >= ids.len() as u64 * self.size, "credit for all that is asked");
                peer.asked += ids.len();
                peer.jobs.push_back((self.now + peer.rtt / 2, lease, (0..).zip(ids).collect()));
                self.owner.insert(lease, source);
                let owed: usize = peer.jobs.iter().map(|(_, _, ids)| ids.len()).sum();
                self.most_outstanding = self.most_outstanding.max(owed as u64 * self.size);
                self.serve(source);
            }
            Action::Cancel { lease, from } => {
                let Some(peer) = self.owner.get(&lease).and_then(|id| self.peers.get_mut(id)) else { return };
                if let Some((_, _, ids)) = peer.jobs.iter_mut().find(|(_, id, _)| *id == lease) {
                    ids.retain(|(index, _)| *index < from);
                }
            }
            Action::Deliver { waiter, index, bytes } => {
                self.unread[&waiter].fetch_sub(bytes.len() as u64, Ordering::Relaxed); // taken at once
                self.hear(waiter, index, Ok(()));
            }
            Action::Fail { waiter, index, kind } => self.hear(waiter, index, Err(kind)),
        }
    }

    fn hear(&mut self, waiter: WaiterId, index: u32, what: Result<(), Kind>) {
        assert!(self.heard.insert((waiter, index), what).is_none(), "told twice");
    }

    /// Schedule the next thing this peer sends.
    fn serve(&mut self, id: SessionId) {
        let Some(peer) = self.peers.get_mut(&id) else { return };
        if peer.stalls || peer.free_at > self.now {
            return;
        }
        let Some((asked, lease, ids)) = peer.jobs.front_mut() else { return };
        let (asked, lease) = (*asked, *lease);
        let (event, busy) = match ids.pop_front() {
            None => {
                peer.jobs.pop_front();
                (Event::Ended(lease), Duration::ZERO)
            }
            Some((index, bid)) if peer.has.as_ref().is_some_and(|has| !has.contains(&bid)) => {
                (Event::Missing(lease, index), Duration::ZERO)
            }
            Some((index, _)) => {
                peer.sent += self.size;
                let busy = Duration::from_secs_f64(self.size as f64 / peer.rate as f64);
                (Event::Block(id, lease, index), busy)
            }
        };
        peer.free_at = self.now.max(asked) + busy.max(Duration::from_nanos(100));
        let at = peer.free_at + peer.rtt / 2;
        self.order += 1;
        self.events.insert((at, self.order), event);
    }

    /// Run until nothing is left to happen or `until`.
    pub fn run(&mut self, until: Duration) {
        for _ in 0..2_000_000 {
            self.pump();
            let ids: Vec<SessionId> = self.peers.keys().copied().collect();
            ids.iter().for_each(|id| self.serve(*id));
            let next = self.events.keys().next().map(|(at, _)| *at);
            let timer = self.core.next_wake(self.now);
            let free = self.peers.values().filter(|p| !p.stalls && !p.jobs.is_empty()).map(|p| p.free_at);
            let free = free.filter(|at| *at > self.now).min();
            let Some(at) = [next, timer, free].into_iter().flatten().min() else { return };
            if at > until {
                self.now = until;
                return;
            }
            self.now = self.now.max(at);
            while let Some(entry) = self.events.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                match entry.remove() {
                    Event::Block(source, lease, index) if self.peers.contains_key(&source) => {
                        let bytes = Bytes::from(vec![0; usize::try_from(self.size).unwrap()]);
                        self.core.arrived(lease, index, &bytes, self.now);
                    }
                    Event::Block(..) => {}
                    Event::Missing(lease, index) => self.core.missing(lease, index, self.now),
                    Event::Ended(lease) => self.core.ended(lease, Ok(()), self.now),
                }
            }
        }
        panic!("the simulation does not come to rest");
    }

    /// How many of a waiter's blocks came, and how many failed with this.
    pub fn outcome(&self, waiter: WaiterId, kind: Kind) -> (usize, usize) {
        let of = self.heard.iter().filter(|((w, _), _)| *w == waiter);
        let (came, failed): (Vec<_>, Vec<_>) = of.partition(|(_, what)| what.is_ok());
        (came.len(), failed.iter().filter(|(_, what)| **what == Err(kind)).count())
    }
}
