//! Who else has a block: questions to members that are connected, and their answers.
//!
//! Asked on the channel of heads, a thousand ids a question. Must never wait on a thread of the network, and never
//! take an answer from anybody but the one who was asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::word::Word;
use super::{Exchange, Replica};
use crate::base::Bid;
use crate::base::sync::{Condvar, Mutex};
use crate::net::{Net, Peer};

/// Ids in one question.
pub const MOST_IDS: usize = 1024;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The questions that are open.
#[derive(Debug, Default)]
pub struct Holds {
    inner: Mutex<Inner>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    next: u32,
    open: BTreeMap<u32, Open>,
    closed: bool,
}

#[derive(Debug)]
struct Open {
    peer: Peer,
    answer: Option<Vec<bool>>,
}

impl Holds {
    /// Ask `peer` which of at most [`MOST_IDS`] blocks it has; with `promise` it also keeps them for an hour. `None`
    /// when it does not answer.
    pub fn ask(&self, net: &Net, replica: &Replica, peer: &Peer, ids: &[Bid], promise: bool) -> Option<Vec<bool>> {
        let ids = ids.get(..MOST_IDS).unwrap_or(ids);
        let word = |number| Word::Ask { number, promise, ids: ids.to_vec() };
        self.question(net, replica, peer, (&word, ids.len()), PATIENCE)
    }

    /// Offer blocks to a member that keeps the volume; which of them it has then. `None` when it does not answer.
    pub fn offer(
        &self,
        net: &Net,
        replica: &Replica,
        peer: &Peer,
        blocks: &[(Bid, u32)],
        patience: Duration,
    ) -> Option<Vec<bool>> {
        let blocks = blocks.get(..MOST_IDS).unwrap_or(blocks);
        let word = |number| Word::Offer { number, blocks: blocks.to_vec() };
        self.question(net, replica, peer, (&word, blocks.len()), patience)
    }

    /// Have a member that keeps the volume keep a head, too. Whether it says that it does.
    pub fn keep(&self, net: &Net, replica: &Replica, peer: &Peer, head: &[u8]) -> bool {
        let word = |number| Word::Keep { number, head: head.to_vec() };
        self.question(net, replica, peer, (&word, 1), PATIENCE).is_some_and(|bits| bits.first() == Some(&true))
    }

    fn question(
        &self,
        net: &Net,
        replica: &Replica,
        peer: &Peer,
        (word, count): (&dyn Fn(u32) -> Word, usize),
        patience: Duration,
    ) -> Option<Vec<bool>> {
        let number = self.open(*peer);
        if net.push_head_to(peer, replica.known.id, &word(number).encode()).is_err() {
            self.inner.lock().open.remove(&number);
            return None;
        }
        self.wait(number, count, Instant::now() + patience)
    }

    fn open(&self, peer: Peer) -> u32 {
        let mut inner = self.inner.lock();
        inner.next = inner.next.wrapping_add(1);
        let number = inner.next;
        inner.open.insert(number, Open { peer, answer: None });
        number
    }

    fn wait(&self, number: u32, asked: usize, due: Instant) -> Option<Vec<bool>> {
        let mut inner = self.inner.lock();
        loop {
            let answered = inner.open.get(&number).is_none_or(|open| open.answer.is_some()); // or the peer is gone
            if answered || inner.closed || self.bell.wait_until(&mut inner, due).timed_out() {
                let answer = inner.open.remove(&number).and_then(|open| open.answer);
                return answer.filter(|bits| bits.len() >= asked);
            }
        }
    }

    /// Nobody waits any more.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.bell.notify_all();
    }

    /// A peer is gone: what it was asked is not answered any more.
    pub fn gone(&self, peer: &Peer) {
        self.inner.lock().open.retain(|_, open| open.peer != *peer);
        self.bell.notify_all();
    }

    /// An answer came.
    pub fn answered(&self, peer: &Peer, number: u32, bits: Vec<bool>) {
        let mut inner = self.inner.lock();
        if let Some(open) = inner.open.get_mut(&number).filter(|open| open.peer == *peer) {
            open.answer = Some(bits);
            self.bell.notify_all();
        }
    }
}

impl Exchange {
    /// The other members of a replica that are connected.
    pub fn connected(&self, replica: &Replica) -> Vec<Peer> {
        let (Some(net), me) = (self.net(), self.me()) else { return Vec::new() };
        replica.peers(&me).filter(|peer| net.is_connected(peer)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_only_from_whom_it_was_asked_and_only_if_it_is_whole() {
        let holds = Holds::default();
        let (asked, other) = (Peer([1; 32]), Peer([2; 32]));
        let number = holds.open(asked);
        holds.answered(&other, number, vec![true, true]);
        assert_eq!(holds.wait(number, 2, Instant::now()), None);
        let number = holds.open(asked);
        holds.answered(&asked, number, vec![true]);
        assert_eq!(holds.wait(number, 2, Instant::now()), None);
        let number = holds.open(asked);
        holds.answered(&asked, number, vec![true, false, false]);
        assert_eq!(holds.wait(number, 2, Instant::now()), Some(vec![true, false, false]));
        let number = holds.open(asked);
        holds.gone(&asked);
        assert_eq!(holds.wait(number, 1, Instant::now() + PATIENCE), None, "without waiting");
        holds.answered(&asked, number, vec![true]);
        assert!(holds.inner.lock().open.is_empty(), "an answer to nothing is dropped");
    }
}
