//! The answering side of a session, sans-IO: which requests wait, whose turn it is, how much each may be sent.
//!
//! Must never hold more requests than [`MOST_JOBS`], nor send more than the credit given.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::base::{Bid, Error, Kind, Result, VolumeId};
use crate::net::serve::Walk;
use crate::wire::peer::data::{Reason, cost};
use crate::wire::peer::{Class, RequestId, Selector};

/// Most requests waiting or being answered; more are answered with "busy", twice as many end the session.
const MOST_JOBS: usize = 256;
/// Most walks waiting or being answered.
const MOST_WALKS: usize = 8;
/// Bytes of blocks read at one go.
pub(in crate::net) const BATCH_BYTES: usize = 1 << 20;
/// Blocks read at one go.
const BATCH_BLOCKS: usize = 64;
/// A walk that gets no credit for so long is over: it holds a thread and keeps others waiting.
pub(in crate::net) const STARVED: Duration = Duration::from_secs(30);
/// After so many turns of the more urgent, one of the least urgent class that waits.
const FLOOR: u32 = 10;

/// The next thing to do for a stream.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::net) enum Step {
    /// Read these blocks and report them with [`Answerer::sent`].
    Read { rid: RequestId, volume: VolumeId, first: u32, ids: Vec<Bid> },
    /// Start this walk; each block must pass [`Answerer::spend`].
    Walk { rid: RequestId, volume: VolumeId, walk: Walk },
    /// All was sent, or is not wanted any more.
    End { rid: RequestId, frames: u32 },
    /// Say that it cannot be answered.
    Refuse { rid: RequestId, reason: Reason },
}

/// Whether a walk may send a block now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) enum Spend {
    /// Send it; the credit is used.
    Go,
    /// Wait for credit.
    Wait,
    /// Nobody wants it.
    Stop,
    /// Nobody gave credit for too long.
    Starved,
}

#[derive(Debug)]
struct Job {
    volume: VolumeId,
    class: Class,
    selector: Selector,
    credit: u32,
    /// First index not wanted.
    until: u32,
    next: u32,
    expires: Option<Instant>,
    running: bool,
    refused: Option<Reason>,
    /// A walk waits for credit since then.
    hungry: Option<Instant>,
}

/// See the module.
#[derive(Debug, Default)]
pub(in crate::net) struct Answerer {
    jobs: BTreeMap<RequestId, Job>,
    turns: [VecDeque<RequestId>; 5],
    urgent_turns: [u32; 2],
}

/// A request as it arrived.
#[derive(Debug)]
pub(in crate::net) struct Wanted {
    pub rid: RequestId,
    pub volume: VolumeId,
    pub class: Class,
    pub deadline_ms: u32,
    pub credit: u32,
    pub selector: Selector,
}

impl Answerer {
    /// Take a request in. `allowed`: whether the volume is shared with who asks. An error ends the session.
    pub fn want(&mut self, wanted: Wanted, allowed: bool, now: Instant) -> Result<()> {
        let Wanted { rid, volume, class, deadline_ms, credit, selector } = wanted;
        let broken = |why| Err(Error::new(Kind::Corrupt, "follow the protocol", why));
        if self.jobs.contains_key(&rid) {
            return broken("a request number in use");
        }
        if self.jobs.len() >= 2 * MOST_JOBS {
            return broken("too many requests");
        }
        let is_walk = !matches!(selector, Selector::Ids(_));
        let walks = || self.jobs.values().filter(|j| !matches!(j.selector, Selector::Ids(_))).count();
        let refused = if !allowed {
            Some(Reason::Denied)
        } else if self.jobs.len() >= MOST_JOBS || (is_walk && walks() >= MOST_WALKS) {
            Some(Reason::Busy)
        } else {
            None
        };
        let expires = (deadline_ms > 0).then(|| now + Duration::from_millis(u64::from(deadline_ms)));
        let (until, next, running, hungry) = (u32::MAX, 0, false, None);
        let job = Job { volume, class, selector, credit, until, next, expires, running, refused, hungry };
        self.jobs.insert(rid, job);
        self.queue(rid, class);
        Ok(())
    }

    /// Whether anything is still to be answered.
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// More may be sent. For a request that ended meanwhile: nothing.
    pub fn credit(&mut self, rid: RequestId, bytes: u32) {
        if let Some(job) = self.jobs.get_mut(&rid) {
            job.credit = job.credit.saturating_add(bytes);
        }
    }

    /// The asker lost interest in what has an index of `from` or above.
    pub fn cancel(&mut self, rid: RequestId, from: u32) {
        if let Some(job) = self.jobs.get_mut(&rid) {
            job.until = job.until.min(from);
        }
    }

    /// Requests of a stream that are refused: taken out, to be told at once whatever else is being answered.
    pub fn refusals(&mut self, interactive: bool) -> Vec<(RequestId, Reason)> {
        let of_stream = |job: &Job| job.class.is_interactive() == interactive && !job.running;
        let refused = self.jobs.iter().filter(|(_, job)| of_stream(job));
        let refused: Vec<_> = refused.filter_map(|(rid, job)| Some((*rid, job.refused?))).collect();
        for (rid, _) in &refused {
            self.jobs.remove(rid);
            self.turns.iter_mut().for_each(|turns| turns.retain(|waiting| waiting != rid));
        }
        refused
    }

    /// The next step for the interactive or the bulk stream, if anything waits.
    pub fn next(&mut self, interactive: bool, now: Instant) -> Option<Step> {
        let rid = self.turn(interactive)?;
        let job = self.jobs.get_mut(&rid)?;
        if job.expires.is_some_and(|at| at <= now) {
            job.refused = Some(Reason::Timeout);
        }
        if let Some(reason) = job.refused {
            self.jobs.remove(&rid);
            return Some(Step::Refuse { rid, reason });
        }
        let step = match &job.selector {
            Selector::Ids(ids) => {
                let end = ids.len().min(job.until as usize);
                let from = (job.next as usize).min(end);
                let batch = ids.get(from..end).unwrap_or_default();
                let batch: Vec<Bid> = batch.iter().take(BATCH_BLOCKS).copied().collect();
                if batch.is_empty() {
                    let frames = job.next;
                    self.jobs.remove(&rid);
                    return Some(Step::End { rid, frames });
                }
                Step::Read { rid, volume: job.volume, first: job.next, ids: batch }
            }
            Selector::Diff { root, old } => {
                Step::Walk { rid, volume: job.volume, walk: Walk::Diff { root: root.clone(), old: old.clone() } }
            }
            Selector::Range { manifest, from, to } => Step::Walk {
                rid,
                volume: job.volume,
                walk: Walk::Range { manifest: manifest.clone(), from: *from, to: *to },
            },
        };
        job.running = true;
        Some(step)
    }

    /// Blocks of a [`Step::Read`] were read, in order: their lengths, none for those that are not here. Tells for
    /// each whether it goes out; where the credit is too small it counts as missing. The request waits for its
    /// next turn.
    pub fn sent(&mut self, rid: RequestId, lengths: &[Option<usize>]) -> Vec<bool> {
        let Some(job) = self.jobs.get_mut(&rid) else { return vec![false; lengths.len()] };
        let mut goes = Vec::new();
        for length in lengths {
            let cost = length.map(cost).filter(|cost| *cost <= job.credit);
            job.credit -= cost.unwrap_or(0);
            goes.push(cost.is_some());
        }
        job.next = job.next.saturating_add(u32::try_from(lengths.len()).unwrap_or(u32::MAX));
        job.running = false;
        let class = job.class;
        self.queue(rid, class);
        goes
    }

    /// A walk has a block of this length, at its next index.
    pub fn spend(&mut self, rid: RequestId, length: usize, now: Instant) -> (Spend, u32) {
        let Some(job) = self.jobs.get_mut(&rid) else { return (Spend::Stop, 0) };
        let (index, cost) = (job.next, cost(length));
        if job.next >= job.until || job.expires.is_some_and(|at| at <= now) {
            return (Spend::Stop, index);
        }
        if job.credit < cost {
            let since = *job.hungry.get_or_insert(now);
            let starved = now.saturating_duration_since(since) >= STARVED;
            return (if starved { Spend::Starved } else { Spend::Wait }, index);
        }
        job.hungry = None;
        job.credit -= cost;
        job.next = job.next.saturating_add(1);
        (Spend::Go, index)
    }

    /// A walk is over; the number of blocks it sent.
    pub fn finished(&mut self, rid: RequestId) -> u32 {
        self.jobs.remove(&rid).map_or(0, |job| job.next)
    }

    fn queue(&mut self, rid: RequestId, class: Class) {
        if let Some(turns) = self.turns.get_mut(class.index()) {
            turns.push_back(rid);
        }
    }

    /// Strict order of classes, but the last that waits gets every tenth turn.
    fn turn(&mut self, interactive: bool) -> Option<RequestId> {
        let classes = if interactive { 0..2 } else { 2..5 };
        let lane = self.turns.get_mut(classes)?;
        let count = self.urgent_turns.get_mut(usize::from(!interactive))?;
        let mut waiting = lane.iter_mut().filter(|turns| !turns.is_empty());
        let first = waiting.next()?;
        let last = waiting.next_back();
        *count = if last.is_some() { *count + 1 } else { 0 };
        match last {
            Some(last) if *count >= FLOOR => {
                *count = 0;
                last.pop_front()
            }
            _ => first.pop_front(),
        }
    }
}
