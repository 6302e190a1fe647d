//! Fetching blocks from whoever has them: the scheduler [`core`] with real sessions and real time.
//!
//! Lock order: the scheduler's lock, then a session's. Must never call a waiter or the daemon under the lock, but for
//! `Serve::shares`.

mod core;
mod fetching;
mod source;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::Serve;
use super::session::asker::Ask;
use super::session::{Arrived, Receive, Session, SessionId};
use crate::base::limits::MAX_BLOCK;
use crate::base::sync::Mutex;
use crate::base::{Bid, Error, Kind, Result, VolumeId};
use crate::seal::padded_len;
use crate::wire::peer::{Class, RequestId, Selector};
use core::{Action, Core, LeaseId, WaiterId};
pub use fetching::{Fetching, Waited};

/// Timers fire no more often.
const GRAIN: Duration = Duration::from_millis(5);

/// A block to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// Its name.
    pub bid: Bid,
    /// Its sealed length is at most this; a block that is longer counts as absent.
    pub at_most: u32,
}

impl Wanted {
    /// A block whose plaintext has `length` bytes, as its reference says.
    pub fn sealed(bid: Bid, length: u32) -> Self {
        let bound = padded_len(length as usize).saturating_add(64).min(MAX_BLOCK);
        Self { bid, at_most: u32::try_from(bound).unwrap_or(u32::MAX) }
    }

    /// A block of unknown length: costs the credit of the largest, so ask for few at once.
    pub fn unknown(bid: Bid) -> Self {
        Self { bid, at_most: u32::try_from(MAX_BLOCK).unwrap_or(u32::MAX) }
    }
}

type Sink = mpsc::UnboundedSender<(u32, Result<Bytes>)>;

/// The scheduler and what it drives.
pub(super) struct Fetcher {
    inner: Mutex<Inner>,
    serve: Arc<dyn Serve>,
    start: Instant,
    timer: Notify,
    stopped: AtomicBool,
    this: std::sync::Weak<Self>,
}

#[derive(Default)]
struct Inner {
    core: Core,
    sessions: HashMap<SessionId, Arc<Session>>,
    requests: HashMap<LeaseId, (SessionId, RequestId)>,
    sinks: HashMap<WaiterId, Sink>,
}

/// What arrives for one lease.
struct Lease {
    fetcher: Arc<Fetcher>,
    lease: LeaseId,
}

impl Receive for Lease {
    fn receive(&self, _: &Arc<Session>, _: RequestId, what: Arrived) {
        self.fetcher.turn(|inner, now| match what {
            Arrived::Block { index, bytes, .. } => inner.core.arrived(self.lease, index, &bytes, now),
            Arrived::Missing { index } => inner.core.missing(self.lease, index, now),
            Arrived::Ended(outcome) => {
                inner.requests.remove(&self.lease);
                inner.core.ended(self.lease, outcome, now);
            }
        });
    }
}

impl Fetcher {
    pub fn new(serve: Arc<dyn Serve>) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            inner: Mutex::default(),
            serve,
            start: Instant::now(),
            timer: Notify::new(),
            stopped: AtomicBool::new(false),
            this: this.clone(),
        })
    }

    /// Keep deadlines, hedges and stalls on time until [`Fetcher::stop`].
    pub async fn keep_time(fetcher: Arc<Self>) {
        while !fetcher.stopped.load(Ordering::Relaxed) {
            let now = fetcher.start.elapsed();
            let wake = fetcher.inner.lock().core.next_wake(now);
            match wake {
                Some(at) => {
                    let pause = at.saturating_sub(now).max(GRAIN);
                    tokio::select! {
                        () = tokio::time::sleep(pause) => fetcher.turn(|_, _| {}),
                        () = fetcher.timer.notified() => tokio::time::sleep(GRAIN).await,
                    }
                }
                None => fetcher.timer.notified().await,
            }
        }
    }

    /// End [`Fetcher::keep_time`].
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.timer.notify_one();
    }

    /// A session is ready to be asked.
    pub fn session_up(&self, session: &Arc<Session>) {
        self.turn(|inner, _| {
            inner.sessions.insert(session.id, Arc::clone(session));
            inner.core.source_up(session.id, session.rtt());
        });
    }

    /// A session is over.
    pub fn session_down(&self, id: SessionId) {
        self.turn(|inner, now| {
            inner.sessions.remove(&id);
            inner.core.source_down(id, now);
        });
    }

    /// Wait for blocks; see [`super::Net::fetch`].
    pub fn fetch(
        self: &Arc<Self>,
        volume: VolumeId,
        wanted: &[Wanted],
        class: Class,
        patience: Duration,
        runtime: &tokio::runtime::Handle,
    ) -> Fetching {
        let (sink, inbox) = mpsc::unbounded_channel();
        let unread = Arc::new(AtomicU64::new(0));
        let deadline = self.start.elapsed().checked_add(patience);
        let mut waiter = 0;
        self.turn(|inner, _| {
            waiter = inner.core.want(volume, wanted, class, deadline, Arc::clone(&unread));
            inner.sinks.insert(waiter, sink);
        });
        self.timer.notify_one();
        Fetching::new(Arc::clone(self), waiter, inbox, unread, wanted.len(), runtime.clone())
    }

    /// A waiter went away.
    pub fn leave(&self, waiter: WaiterId) {
        self.turn(|inner, _| {
            inner.core.leave(waiter);
            inner.sinks.remove(&waiter);
        });
    }

    /// A waiter took enough that more may be asked for it.
    pub fn resume(&self) {
        self.turn(|_, _| {});
    }

    /// Bytes that arrived twice.
    pub fn duplicates(&self) -> u64 {
        self.inner.lock().core.duplicates
    }

    /// Let something happen, then do what the core decides.
    fn turn(&self, happen: impl FnOnce(&mut Inner, Duration)) {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        happen(inner, self.start.elapsed());
        loop {
            let now = self.start.elapsed();
            let actions = {
                let Inner { core, sessions, .. } = inner;
                let shares = |id: SessionId, volume: &VolumeId| {
                    sessions.get(&id).is_some_and(|session| self.serve.shares(&session.peer, volume))
                };
                core.pump(now, &shares)
            };
            if actions.is_empty() {
                break;
            }
            for action in actions {
                self.act(inner, action, now);
            }
        }
        drop(guard);
    }

    fn act(&self, inner: &mut Inner, action: Action, now: Duration) {
        match action {
            Action::Ask { source, lease, volume, class, ids, credit } => {
                let ask = Ask { volume, class, deadline_ms: 0, selector: Selector::Ids(ids), credit };
                let asked = self
                    .this
                    .upgrade()
                    .zip(inner.sessions.get(&source))
                    .map(|(fetcher, session)| session.ask(ask, Arc::new(Lease { fetcher, lease })));
                match asked {
                    Some(Ok(rid)) => {
                        inner.requests.insert(lease, (source, rid));
                    }
                    Some(Err(error)) => inner.core.ended(lease, Err(error.kind()), now),
                    None => inner.core.ended(lease, Err(Kind::Unreachable), now),
                }
            }
            Action::Cancel { lease, from } => {
                let request = inner.requests.get(&lease).and_then(|(id, rid)| Some((inner.sessions.get(id)?, *rid)));
                if let Some((session, rid)) = request {
                    session.cancel(rid, from);
                }
            }
            Action::Deliver { waiter, index, bytes } => tell(inner, waiter, index, Ok(bytes)),
            Action::Fail { waiter, index, kind } => {
                tell(inner, waiter, index, Err(Error::new(kind, "fetch a block", "")));
            }
        }
    }
}

fn tell(inner: &mut Inner, waiter: WaiterId, index: u32, what: Result<Bytes>) {
    // Bounded: one message for each block asked for, its bytes by the waiter's unread limit.
    if let Some(sink) = inner.sinks.get(&waiter) {
        let _ = sink.send((index, what));
    }
}
