//! Fetching what a head needs before it is merged, on a thread for each author: whoever does not answer holds up only itself.
//!
//! A merge holds up sealing and every other head, so it must find its tree here. Must never have more under way than
//! [`MOST`], nor two of one author.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::replicator::{bring, judge};
use super::{Exchange, Replica};
use crate::base::sync::Mutex;
use crate::base::{Context, Error, Kind, Result};
use crate::net::Peer;
use crate::volume::Offer;

/// Heads whose trees are being fetched at once.
const MOST: usize = 32;

/// A head, who signed and who brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Brought {
    /// Its author.
    pub author: [u8; 32],
    /// Who told of it.
    pub from: Peer,
    /// Itself.
    pub head: Vec<u8>,
    /// Its number.
    pub seq: u64,
    /// Until it is tried again, should it fail.
    pub pause: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Bringing(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    under_way: BTreeSet<[u8; 32]>,
    threads: Vec<JoinHandle<()>>,
    /// All of these is here.
    done: VecDeque<Brought>,
}

impl Bringing {
    /// The next head whose tree is here.
    pub fn next(&self) -> Option<Brought> {
        self.0.lock().done.pop_front()
    }

    /// Whether nothing that was read before is yet to be merged.
    pub fn is_idle(&self) -> bool {
        let inner = self.0.lock();
        inner.under_way.is_empty() && inner.done.is_empty()
    }

    /// Wait for the threads: they notice that the replica is closed.
    pub fn close(&self) {
        let threads = std::mem::take(&mut self.0.lock().threads);
        for thread in threads {
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!("a thread that fetched what a head needs panicked");
            }
        }
    }

    fn began(&self, thread: JoinHandle<()>) {
        let mut inner = self.0.lock();
        inner.threads.retain(|thread| !thread.is_finished());
        inner.threads.push(thread);
    }

    fn begin(&self, author: &[u8; 32]) -> bool {
        let mut inner = self.0.lock();
        inner.under_way.len() + inner.done.len() < MOST && inner.under_way.insert(*author)
    }

    fn end(&self, author: &[u8; 32], done: Option<Brought>) {
        let mut inner = self.0.lock();
        inner.under_way.remove(author);
        inner.done.extend(done);
    }
}

/// Fetch what `offer` refers to and is not here; then the head is merged. [`Kind::Busy`] when that is under way for its
/// author.
pub fn begin(replica: &Arc<Replica>, exchange: &Weak<Exchange>, brought: &Brought, offer: Offer) -> Result<()> {
    if !replica.bringing.begin(&brought.author) {
        return Err(Error::new(Kind::Busy, "fetch what a head needs", replica.name_of(&brought.from)));
    }
    let (here, exchange, brought, author) =
        (Arc::clone(replica), Weak::clone(exchange), brought.clone(), brought.author);
    let work = move || {
        let _turn = Turn(&here, author);
        run(&here, &exchange, brought, &offer);
    };
    let started = std::thread::Builder::new().name("lovage-bring".into()).spawn(work);
    started.map(|thread| replica.bringing.began(thread)).io("start a thread", || "lovage-bring".to_owned()).inspect_err(
        |_| {
            replica.bringing.end(&author, None);
        },
    )
}

/// Ends with its thread, however that ends.
struct Turn<'r>(&'r Replica, [u8; 32]);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.bringing.end(&self.1, None);
        self.0.inbox().hurry(&self.1, Instant::now());
        self.0.ring();
    }
}

fn run(replica: &Arc<Replica>, exchange: &Weak<Exchange>, brought: Brought, offer: &Offer) {
    let Brought { author, from, head, .. } = &brought;
    let net = exchange.upgrade().and_then(|exchange| exchange.net()).filter(|net| net.is_connected(from));
    if let Some(net) = net {
        bring(replica, &net, author, from, offer);
    }
    let (author, looked) = (*author, replica.volume.look_into(author, head, &|| !replica.is_closed()));
    match looked {
        _ if replica.is_closed() => {}
        Ok(()) => replica.bringing.end(&author, Some(brought)),
        Err(error) => {
            replica.bringing.end(&author, None);
            judge(replica, Err(error), brought);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_author_that_keeps_us_waiting_has_one_thread_and_all_together_have_a_bound() {
        let bringing = Bringing::default();
        assert!(bringing.begin(&[1; 32]));
        assert!(!bringing.begin(&[1; 32]), "one of an author");
        let more = (2..200).filter(|n| bringing.begin(&[*n; 32])).count();
        assert_eq!(more, MOST - 1);
        let brought = Brought { author: [1; 32], from: Peer([1; 32]), head: vec![7], seq: 1, pause: Duration::ZERO };
        bringing.end(&[1; 32], Some(brought.clone()));
        assert!(!bringing.begin(&[1; 32]), "what is done and not merged counts");
        assert_eq!((bringing.next(), bringing.next()), (Some(brought), None));
        assert!(bringing.begin(&[1; 32]));
    }
}
