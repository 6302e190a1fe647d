//! What waits for a replica's thread: bounded, the newest word of each replacing older ones.
//!
//! Pure: the caller brings the time. Must never hold more than one head of an author.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::bringing::Brought;
use crate::net::Peer;

/// Most messages about members that wait.
const MOST_RECORDS: usize = 32;
/// A change waits this long for others that come with it.
const DEBOUNCE: Duration = Duration::from_millis(15);
/// Each index that is given costs the admin some work.
const BETWEEN: Duration = Duration::from_secs(1);
/// First and longest pause before a head that could not be merged is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Seal and announce.
    Announce,
    /// Take in a head of an author, brought by a peer.
    Head([u8; 32], Peer, Vec<u8>, u64),
    /// Merge a head whose tree is here.
    Merge(Brought),
    /// Take over records of the membership.
    Records(Peer, Vec<u8>),
    /// Tell a peer that has just come where the others are.
    Greet(Peer),
    /// Bring all names here.
    Names,
    /// Give a member that asks for it another index, under this key.
    Renew(Peer, [u8; 32], [u8; 64]),
    /// Write down that a box has so many bytes of room.
    Room(Peer, u64),
}

#[derive(Debug)]
struct Waiting {
    from: Peer,
    head: Vec<u8>,
    /// Its number.
    seq: u64,
    due: Instant,
    pause: Duration,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Inbox {
    heads: BTreeMap<[u8; 32], Waiting>,
    records: VecDeque<(Peer, Vec<u8>)>,
    greet: BTreeSet<Peer>,
    renew: BTreeMap<Peer, ([u8; 32], [u8; 64])>,
    renewed: Option<Instant>,
    rooms: BTreeMap<Peer, u64>,
    changed: Option<Instant>,
    /// Announcing rests until then, so that sealing takes a part of the time only.
    rested: Option<Instant>,
    /// All names are wanted.
    pub names: bool,
    /// The thread ends.
    pub closed: bool,
}

impl Inbox {
    /// Something changed here.
    pub fn changed(&mut self, now: Instant) {
        self.changed.get_or_insert(now);
    }

    /// An announcement took this long: rest in proportion.
    pub fn announced(&mut self, now: Instant, took: Duration) {
        self.rested = Some(now + took * 3);
    }

    /// A head arrived, with this number. What waited of the same author gives way, unless it is newer.
    pub fn head(&mut self, author: [u8; 32], from: Peer, (head, seq): (Vec<u8>, u64), now: Instant) {
        if self.heads.get(&author).is_none_or(|waiting| waiting.seq <= seq) {
            self.heads.insert(author, Waiting { from, head, seq, due: now, pause: FIRST_PAUSE });
        }
    }

    /// Whether a newer head of this author waits.
    pub fn has_newer(&self, author: &[u8; 32], seq: u64) -> bool {
        self.heads.get(author).is_some_and(|waiting| waiting.seq > seq)
    }

    /// A head could not be taken in: later again, unless a newer one came meanwhile.
    pub fn again(&mut self, author: [u8; 32], from: Peer, (head, seq): (Vec<u8>, u64), pause: Duration, now: Instant) {
        let pause = pause.clamp(FIRST_PAUSE, LONGEST_PAUSE);
        if self.heads.get(&author).is_none_or(|waiting| waiting.seq < seq) {
            self.heads.insert(author, Waiting { from, head, seq, due: now + pause, pause: pause * 2 });
        }
    }

    /// Records arrived.
    pub fn records(&mut self, from: Peer, records: Vec<u8>) {
        if self.records.len() < MOST_RECORDS {
            self.records.push_back((from, records));
        }
    }

    /// A peer asks for another index. Of several questions the last counts.
    pub fn renew(&mut self, peer: Peer, author: [u8; 32], proof: [u8; 64]) {
        self.renew.insert(peer, (author, proof));
    }

    /// A box, which is a member, says how much room it has. Of several words the last counts.
    pub fn room(&mut self, peer: Peer, bytes: u64) {
        self.rooms.insert(peer, bytes);
    }

    /// A peer came: greet it, and try again what failed.
    pub fn came(&mut self, peer: Peer, now: Instant) {
        self.greet.insert(peer);
        self.retry(now);
    }

    /// What is due, and the pause to keep should it fail.
    pub fn next(&mut self, now: Instant) -> Option<(Task, Duration)> {
        if let Some((from, records)) = self.records.pop_front() {
            return Some((Task::Records(from, records), FIRST_PAUSE));
        }
        if let Some((peer, bytes)) = self.rooms.pop_first() {
            return Some((Task::Room(peer, bytes), FIRST_PAUSE));
        }
        if let Some(peer) = self.greet.pop_first() {
            return Some((Task::Greet(peer), FIRST_PAUSE));
        }
        if std::mem::take(&mut self.names) {
            return Some((Task::Names, FIRST_PAUSE));
        }
        if self.announce_at().is_some_and(|at| at <= now) {
            self.changed = None;
            return Some((Task::Announce, FIRST_PAUSE));
        }
        let due = self.heads.iter().filter(|(_, w)| w.due <= now).min_by_key(|(_, w)| w.due).map(|(author, _)| *author);
        if let Some((author, waiting)) = due.and_then(|author| Some((author, self.heads.remove(&author)?))) {
            return Some((Task::Head(author, waiting.from, waiting.head, waiting.seq), waiting.pause));
        }
        if self.renewed.is_none_or(|last| now >= last + BETWEEN)
            && let Some((peer, (author, proof))) = self.renew.pop_first()
        {
            self.renewed = Some(now);
            return Some((Task::Renew(peer, author, proof), FIRST_PAUSE));
        }
        None
    }

    /// What failed may go well now.
    pub fn retry(&mut self, now: Instant) {
        self.heads.values_mut().for_each(|waiting| waiting.due = now);
    }

    /// What waits of an author need not wait longer for another head of it.
    pub fn hurry(&mut self, author: &[u8; 32], now: Instant) {
        self.heads
            .get_mut(author)
            .into_iter()
            .filter(|waiting| waiting.pause == FIRST_PAUSE * 2)
            .for_each(|w| w.due = now);
    }

    /// When something will be due.
    pub fn due(&self) -> Option<Instant> {
        let renew = self.renew.first_key_value().and(self.renewed).map(|last| last + BETWEEN);
        self.heads.values().map(|w| w.due).chain(self.announce_at()).chain(renew).min()
    }

    fn announce_at(&self) -> Option<Instant> {
        let at = self.changed? + DEBOUNCE;
        Some(self.rested.map_or(at, |rested| rested.max(at)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const PEER: Peer = Peer([1; 32]);

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn changes_are_gathered_and_announcing_rests_in_proportion() {
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        inbox.changed(now);
        inbox.changed(now + ms(10));
        assert_eq!(inbox.next(now + ms(10)), None);
        assert_eq!(inbox.next(now + DEBOUNCE).unwrap().0, Task::Announce);
        inbox.announced(now + ms(100), ms(50));
        inbox.changed(now + ms(100));
        assert_eq!(inbox.next(now + ms(200)), None);
        assert_eq!(inbox.due(), Some(now + ms(250)));
        assert_eq!(inbox.next(now + ms(250)).unwrap().0, Task::Announce);
        assert_eq!(inbox.due(), None);
    }

    #[test]
    fn a_newer_head_replaces_one_that_waits_or_failed() {
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        inbox.head([1; 32], PEER, (vec![1], 1), now);
        inbox.head([1; 32], PEER, (vec![2], 2), now);
        let (task, pause) = inbox.next(now).unwrap();
        assert_eq!(task, Task::Head([1; 32], PEER, vec![2], 2));
        inbox.head([1; 32], PEER, (vec![3], 3), now);
        inbox.again([1; 32], PEER, (vec![2], 2), pause, now);
        assert_eq!(inbox.next(now).unwrap().0, Task::Head([1; 32], PEER, vec![3], 3));
        assert_eq!(inbox.next(now), None);
    }

    #[test]
    fn failures_are_tried_again_ever_later_or_when_somebody_comes() {
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        inbox.head([1; 32], PEER, (vec![1], 1), now);
        let (_, first) = inbox.next(now).unwrap();
        inbox.again([1; 32], PEER, (vec![1], 1), first, now);
        assert_eq!(inbox.next(now + ms(100)), None);
        let (_, second) = inbox.next(now + ms(200)).unwrap();
        assert!(second > first);
        inbox.again([1; 32], PEER, (vec![1], 1), second, now);
        inbox.came(PEER, now);
        assert_eq!(inbox.next(now).unwrap().0, Task::Greet(PEER));
        assert!(matches!(inbox.next(now).unwrap().0, Task::Head(..)));
    }

    #[test]
    fn of_two_heads_that_wait_the_newer_is_kept_whichever_came_last() {
        let (mut inbox, now) = (Inbox::default(), Instant::now());
        inbox.again([1; 32], PEER, (vec![6], 6), FIRST_PAUSE, now);
        inbox.head([1; 32], PEER, (vec![5], 5), now);
        assert_eq!(inbox.next(now + ms(200)).unwrap().0, Task::Head([1; 32], PEER, vec![6], 6));
        inbox.head([1; 32], PEER, (vec![5], 5), now);
        inbox.again([1; 32], PEER, (vec![6], 6), FIRST_PAUSE, now);
        assert_eq!(inbox.next(now + ms(200)).unwrap().0, Task::Head([1; 32], PEER, vec![6], 6));
        assert_eq!(inbox.next(now + ms(900)), None);
    }

    #[test]
    fn messages_about_members_are_bounded() {
        let mut inbox = Inbox::default();
        (0..100).for_each(|n| inbox.room(PEER, n));
        assert_eq!(inbox.next(Instant::now()).unwrap().0, Task::Room(PEER, 99));
        assert_eq!(inbox.next(Instant::now()), None);
        for n in 0..100 {
            inbox.records(PEER, vec![n]);
        }
        assert_eq!(inbox.records.len(), MOST_RECORDS);
    }
}
