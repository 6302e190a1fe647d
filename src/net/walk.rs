//! A walk as its asker sees it: verified blocks in order, taken at the consumer's pace.
//!
//! Must never hold more than the credit it gave, nor outlive its patience without progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::session::asker::{Ask, WALK_CREDIT};
use super::session::{Arrived, Receive, Session};
use super::{Peer, Walk};
use crate::base::{Bid, Error, Kind, Result, VolumeId};
use crate::wire::peer::{Class, RequestId, Selector};

/// The blocks of a walk, as they arrive. Dropping it cancels what has not come.
pub struct Walking {
    session: Arc<Session>,
    rid: RequestId,
    inbox: mpsc::UnboundedReceiver<Arrived>,
    progress: Arc<Inbox>,
    over: bool,
}

struct Inbox {
    to: mpsc::UnboundedSender<Arrived>,
    arrived: AtomicU64,
    taken: AtomicU64,
}

impl Receive for Inbox {
    fn receive(&self, _: &Arc<Session>, _: RequestId, what: Arrived) {
        self.arrived.fetch_add(1, Ordering::Relaxed);
        let _ = self.to.send(what); // bounded by the credit of the walk
    }
}

impl Walking {
    /// Begin; call inside the runtime. Ends with [`Kind::Timeout`] when nothing arrives for `patience`.
    pub(super) fn begin(
        session: Arc<Session>,
        volume: VolumeId,
        class: Class,
        walk: Walk,
        patience: Duration,
        runtime: &tokio::runtime::Handle,
    ) -> Result<Self> {
        let selector = match walk {
            Walk::Diff { root, old } => Selector::Diff { root, old },
            Walk::Range { manifest, from, to } => Selector::Range { manifest, from, to },
        };
        let (to, inbox) = mpsc::unbounded_channel();
        let receiver = Arc::new(Inbox { to, arrived: AtomicU64::new(0), taken: AtomicU64::new(0) });
        let ask = Ask { volume, class, deadline_ms: 0, selector, credit: WALK_CREDIT };
        let rid = session.ask(ask, Arc::clone(&receiver) as Arc<dyn Receive>)?;
        runtime.spawn(watch(Arc::downgrade(&receiver), patience));
        Ok(Self { session, rid, inbox, progress: receiver, over: false })
    }

    /// Who answers.
    pub fn peer(&self) -> Peer {
        self.session.peer
    }

    /// The next block and its id, computed from its bytes: whether it belongs to the tree is for the caller to
    /// check. None at the end. An error is the last thing that comes.
    pub async fn next(&mut self) -> Option<Result<(Bid, Bytes)>> {
        let arrived = if self.over { None } else { self.inbox.recv().await };
        self.take(arrived)
    }

    /// [`Walking::next`] for threads. Must not be called on a thread of the runtime.
    pub fn next_blocking(&mut self) -> Option<Result<(Bid, Bytes)>> {
        let arrived = if self.over { None } else { self.inbox.blocking_recv() };
        self.take(arrived)
    }

    fn take(&mut self, arrived: Option<Arrived>) -> Option<Result<(Bid, Bytes)>> {
        if self.over {
            return None;
        }
        match arrived {
            Some(Arrived::Block { bid, bytes, .. }) => {
                self.session.taken(self.rid, bytes.len());
                self.progress.taken.fetch_add(1, Ordering::Relaxed);
                return Some(Ok((bid, bytes)));
            }
            Some(Arrived::Ended(Ok(()))) => {}
            Some(Arrived::Ended(Err(kind))) => {
                self.over = true;
                return Some(Err(Error::new(kind, "walk a tree of a peer", self.session.peer.to_string())));
            }
            Some(Arrived::Missing { .. }) | None => {
                self.over = true;
                return Some(Err(Error::new(
                    Kind::Unreachable,
                    "walk a tree of a peer",
                    self.session.peer.to_string(),
                )));
            }
        }
        self.over = true;
        None
    }
}

impl Drop for Walking {
    fn drop(&mut self) {
        self.session.cancel(self.rid, 0);
    }
}

async fn watch(inbox: std::sync::Weak<Inbox>, patience: Duration) {
    let mut seen = 0;
    loop {
        tokio::time::sleep(patience).await;
        let Some(inbox) = inbox.upgrade() else { return };
        let arrived = inbox.arrived.load(Ordering::Relaxed);
        if arrived == seen && inbox.taken.load(Ordering::Relaxed) >= arrived {
            let _ = inbox.to.send(Arrived::Ended(Err(Kind::Timeout)));
            return;
        }
        seen = arrived;
    }
}
