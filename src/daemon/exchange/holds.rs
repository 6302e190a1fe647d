//! Who else has a block: questions to members that are connected, and their answers.
//!
//! Asked on the channel of heads, a thousand ids a question. Must never wait on a thread of the network, and never
//! take an answer from anybody but the one who was asked.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::keeping::{CollectionId, PIECE};
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
    answer: Option<Answer>,
}

#[derive(Debug)]
enum Answer {
    Bits(Vec<bool>),
    Ids(Vec<u64>),
}

impl Answer {
    fn bits(self, asked: usize) -> Option<Vec<bool>> {
        match self {
            Self::Bits(bits) if bits.len() >= asked => Some(bits),
            _ => None,
        }
    }
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

    /// A page of the list of a keeper's collection, from a place in it on. `None` when it does not answer.
    pub fn list(&self, net: &Net, replica: &Replica, peer: &Peer, id: CollectionId, from: u32) -> Option<Vec<u64>> {
        let number = self.send(net, replica, peer, &|number| Word::List { number, id, from })?;
        match self.wait(number, Instant::now() + PATIENCE) {
            Some(Answer::Ids(ids)) => Some(ids),
            _ => None,
        }
    }

    /// Tell a keeper what is needed of that list. Whether it has heard all of it.
    pub fn needs(&self, net: &Net, replica: &Replica, peer: &Peer, id: CollectionId, bits: &[u8]) -> bool {
        let mut from = 0;
        loop {
            let piece = bits.get(from..).unwrap_or_default();
            let piece = piece.get(..PIECE).unwrap_or(piece);
            let (at, last) = (u32::try_from(from).unwrap_or(u32::MAX), from + piece.len() == bits.len());
            let author = replica.volume.author();
            let word = |number| Word::Needs { number, author, id, from: at, last, bits: piece.to_vec() };
            let heard = self.question(net, replica, peer, (&word, 1), PATIENCE);
            if heard.is_none_or(|bits| bits.first() != Some(&true)) {
                return false;
            }
            if last {
                return true;
            }
            from += piece.len();
        }
    }

    fn question(
        &self,
        net: &Net,
        replica: &Replica,
        peer: &Peer,
        (word, count): (&dyn Fn(u32) -> Word, usize),
        patience: Duration,
    ) -> Option<Vec<bool>> {
        let number = self.send(net, replica, peer, word)?;
        self.wait(number, Instant::now() + patience)?.bits(count)
    }

    /// Under a number of its own; `None` if there is nobody.
    fn send(&self, net: &Net, replica: &Replica, peer: &Peer, word: &dyn Fn(u32) -> Word) -> Option<u32> {
        let number = self.open(*peer);
        if net.push_head_to(peer, replica.known.id, &word(number).encode()).is_err() {
            self.inner.lock().open.remove(&number);
            return None;
        }
        Some(number)
    }

    fn open(&self, peer: Peer) -> u32 {
        let mut inner = self.inner.lock();
        inner.next = inner.next.wrapping_add(1);
        let number = inner.next;
        inner.open.insert(number, Open { peer, answer: None });
        number
    }

    fn wait(&self, number: u32, due: Instant) -> Option<Answer> {
        let mut inner = self.inner.lock();
        loop {
            let answered = inner.open.get(&number).is_none_or(|open| open.answer.is_some()); // or the peer is gone
            if answered || inner.closed || self.bell.wait_until(&mut inner, due).timed_out() {
                return inner.open.remove(&number).and_then(|open| open.answer);
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
        self.take(peer, number, Answer::Bits(bits));
    }

    /// A page of a list came.
    pub fn listed(&self, peer: &Peer, number: u32, ids: Vec<u64>) {
        self.take(peer, number, Answer::Ids(ids));
    }

    fn take(&self, peer: &Peer, number: u32, answer: Answer) {
        let mut inner = self.inner.lock();
        if let Some(open) = inner.open.get_mut(&number).filter(|open| open.peer == *peer) {
            open.answer = Some(answer);
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

    fn waited(holds: &Holds, number: u32, asked: usize, due: Instant) -> Option<Vec<bool>> {
        holds.wait(number, due)?.bits(asked)
    }

    #[test]
    fn an_answer_counts_only_from_whom_it_was_asked_and_only_if_it_is_whole() {
        let holds = Holds::default();
        let (asked, other) = (Peer([1; 32]), Peer([2; 32]));
        let number = holds.open(asked);
        holds.answered(&other, number, vec![true, true]);
        assert_eq!(waited(&holds, number, 2, Instant::now()), None);
        let number = holds.open(asked);
        holds.answered(&asked, number, vec![true]);
        assert_eq!(waited(&holds, number, 2, Instant::now()), None);
        let number = holds.open(asked);
        holds.answered(&asked, number, vec![true, false, false]);
        assert_eq!(waited(&holds, number, 2, Instant::now()), Some(vec![true, false, false]));
        let number = holds.open(asked);
        holds.gone(&asked);
        assert_eq!(waited(&holds, number, 1, Instant::now() + PATIENCE), None, "without waiting");
        holds.answered(&asked, number, vec![true]);
        assert!(holds.inner.lock().open.is_empty(), "an answer to nothing is dropped");
    }
}
