//! Turns for walks: each holds a thread of this machine, for as long as its peer takes.
//!
//! Must never let one peer, over however many connections, have them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::base::sync::Mutex;
use crate::net::Peer;

/// Walks answered at once on this machine, over all peers.
const MOST: usize = 16;
/// Of one peer.
const MOST_EACH: usize = 4;

/// See the module.
#[derive(Debug)]
pub(in crate::net) struct Walks {
    all: Arc<Semaphore>,
    /// Of peers that have a session.
    each: Mutex<BTreeMap<Peer, Weak<Semaphore>>>,
}

impl Default for Walks {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MOST)), each: Mutex::default() }
    }
}

/// The turns of one peer.
#[derive(Debug)]
pub(in crate::net) struct Turns {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
}

/// A walk may run for as long as this is held.
pub(in crate::net) struct Turn {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Walks {
    /// The turns of `peer`, the same for all its sessions.
    pub fn of(&self, peer: Peer) -> Turns {
        let mut each = self.each.lock();
        each.retain(|_, own| own.strong_count() > 0);
        let own = each.get(&peer).and_then(Weak::upgrade).unwrap_or_else(|| Arc::new(Semaphore::new(MOST_EACH)));
        each.insert(peer, Arc::downgrade(&own));
        Turns { own, all: Arc::clone(&self.all) }
    }
}

impl Turns {
    /// Wait for a turn: first among those of the peer, so that nobody else waits for it meanwhile.
    pub async fn begin(&self) -> Option<Turn> {
        let own = Arc::clone(&self.own).acquire_owned().await.ok()?;
        let all = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _own: own, _all: all })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_peer_with_many_sessions_leaves_turns_to_others() {
        let walks = Walks::default();
        let (greedy, again, other) = (walks.of(Peer([1; 32])), walks.of(Peer([1; 32])), walks.of(Peer([2; 32])));
        let mut held = Vec::new();
        for n in 0..MOST_EACH {
            held.push(if n % 2 == 0 { &greedy } else { &again }.begin().await.unwrap());
        }
        let mut waiting = Box::pin(again.begin());
        let soon = std::future::poll_fn(|cx| std::task::Poll::Ready(waiting.as_mut().poll(cx).is_ready())).await;
        assert!(!soon, "it has its share");
        held.push(other.begin().await.unwrap());
        held.remove(0);
        assert!(waiting.await.is_some());
    }
}
