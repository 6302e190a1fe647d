//! When to dial whom: known addresses of each peer and a back-off that is jittered and bounded. Sans-IO.
//!
//! Must never keep more addresses or peers than its bounds, however many others offer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use libp2p::Multiaddr;

use super::Peer;

/// First pause after a failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest pause.
const LONGEST: Duration = Duration::from_secs(300);
/// Addresses kept for one peer of each origin.
const MOST_ADDRESSES: usize = 16;
/// Peers kept.
const MOST_PEERS: usize = 4096;

/// The book of addresses and attempts.
#[derive(Debug, Default)]
pub(super) struct Redial {
    peers: BTreeMap<Peer, Entry>,
}

#[derive(Debug, Default)]
struct Entry {
    /// Given by a person or an invite: kept until removed.
    given: Vec<Multiaddr>,
    /// Heard of: the oldest gives way.
    heard: Vec<Multiaddr>,
    failures: u32,
    state: State,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Dial at this moment; none: as soon as possible.
    Waiting(Option<Instant>),
    Dialing,
    Connected,
    /// Not wanted.
    #[default]
    Idle,
}

impl Redial {
    /// Keep an address a person gave. False when there are too many.
    pub fn give(&mut self, peer: Peer, address: Multiaddr) -> bool {
        let Some(entry) = self.entry(peer) else { return false };
        if entry.given.contains(&address) {
            return true;
        }
        if entry.given.len() >= MOST_ADDRESSES {
            return false;
        }
        entry.given.push(address);
        entry.soon();
        true
    }

    /// Keep an address that the peer or the network told. Worth a new attempt when it is new.
    pub fn hear(&mut self, peer: Peer, address: Multiaddr) {
        let Some(entry) = self.entry(peer) else { return };
        if entry.given.contains(&address) || entry.heard.contains(&address) {
            return;
        }
        if entry.heard.len() >= MOST_ADDRESSES {
            entry.heard.remove(0);
        }
        entry.heard.push(address);
        entry.soon();
    }

    /// Forget an address.
    pub fn forget(&mut self, peer: &Peer, address: &Multiaddr) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.given.retain(|a| a != address);
            entry.heard.retain(|a| a != address);
        }
    }

    /// Keep `peer` connected from now on.
    pub fn wanted(&mut self, peer: Peer) {
        if let Some(entry) = self.entry(peer)
            && entry.state == State::Idle
        {
            entry.state = State::Waiting(None);
        }
    }

    /// Do not dial `peer` any more; addresses are kept.
    pub fn unwanted(&mut self, peer: &Peer) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.state = State::Idle;
        }
    }

    /// A connection stands.
    pub fn connected(&mut self, peer: Peer) {
        if let Some(entry) = self.entry(peer)
            && entry.state != State::Idle
        {
            entry.state = State::Connected;
        }
    }

    /// The connection is good for something: the next failure is the first.
    pub fn settled(&mut self, peer: &Peer) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.failures = 0;
        }
    }

    /// The last connection is gone, or an attempt failed. `chance` in 0..=255 makes the jitter.
    pub fn lost(&mut self, peer: &Peer, now: Instant, chance: u8) {
        if let Some(entry) = self.peers.get_mut(peer)
            && entry.state != State::Idle
        {
            entry.state = State::Waiting(Some(now + pause(entry.failures, chance)));
            entry.failures = entry.failures.saturating_add(1);
        }
    }

    /// Try everyone again now: the network changed, or the machine woke up.
    pub fn wake(&mut self) {
        for entry in self.peers.values_mut() {
            entry.failures = 0;
            entry.soon();
        }
    }

    /// The next peer to dial and its addresses; it counts as being dialed.
    pub fn due(&mut self, now: Instant) -> Option<(Peer, Vec<Multiaddr>)> {
        let ready = |entry: &Entry| {
            matches!(entry.state, State::Waiting(at) if at.is_none_or(|at| at <= now)) && entry.has_addresses()
        };
        let (peer, entry) = self.peers.iter_mut().find(|(_, entry)| ready(entry))?;
        entry.state = State::Dialing;
        Some((*peer, entry.given.iter().chain(&entry.heard).cloned().collect()))
    }

    /// When [`Redial::due`] will have something, if nothing else happens.
    pub fn next(&self) -> Option<Instant> {
        let times = self.peers.values().filter(|entry| entry.has_addresses()).filter_map(|entry| match entry.state {
            State::Waiting(Some(at)) => Some(at),
            _ => None,
        });
        times.min()
    }

    /// Known addresses of a peer.
    pub fn addresses(&self, peer: &Peer) -> Vec<Multiaddr> {
        self.peers.get(peer).map(|e| e.given.iter().chain(&e.heard).cloned().collect()).unwrap_or_default()
    }

    fn entry(&mut self, peer: Peer) -> Option<&mut Entry> {
        if self.peers.len() >= MOST_PEERS && !self.peers.contains_key(&peer) {
            return None;
        }
        Some(self.peers.entry(peer).or_default())
    }
}

impl Entry {
    fn has_addresses(&self) -> bool {
        !self.given.is_empty() || !self.heard.is_empty()
    }

    fn soon(&mut self) {
        if matches!(self.state, State::Waiting(_)) {
            self.state = State::Waiting(None);
        }
    }
}

/// 1 s, 2 s, 4 s, ... 300 s, less up to half of it.
fn pause(failures: u32, chance: u8) -> Duration {
    let full = FIRST.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX)).min(LONGEST);
    full.mul_f64(1.0 - f64::from(chance) / 512.0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: Peer = Peer([1; 32]);

    fn address(port: u16) -> Multiaddr {
        format!("/ip4/127.0.0.1/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn a_peer_is_dialed_once_it_is_wanted_and_has_an_address() {
        let (mut redial, now) = (Redial::default(), Instant::now());
        redial.give(A, address(1));
        assert_eq!(redial.due(now), None);
        redial.wanted(A);
        assert_eq!(redial.due(now), Some((A, vec![address(1)])));
        assert_eq!(redial.due(now), None, "it is being dialed");
        redial.connected(A);
        assert_eq!(redial.due(now), None);
    }

    #[test]
    fn failures_are_spaced_out_up_to_a_bound_and_success_resets() {
        let (mut redial, mut now) = (Redial::default(), Instant::now());
        redial.give(A, address(1));
        redial.wanted(A);
        let mut pauses = Vec::new();
        for _ in 0..12 {
            redial.due(now).unwrap();
            redial.lost(&A, now, 0);
            let next = redial.next().unwrap();
            pauses.push((next - now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        redial.due(now).unwrap();
        redial.connected(A);
        redial.settled(&A);
        redial.lost(&A, now, 255);
        let next = redial.next().unwrap();
        assert!(next > now && next < now + FIRST, "jitter shortens the pause");
    }

    #[test]
    fn news_end_the_waiting() {
        let (mut redial, now) = (Redial::default(), Instant::now());
        redial.give(A, address(1));
        redial.wanted(A);
        redial.due(now).unwrap();
        redial.lost(&A, now, 0);
        assert_eq!(redial.due(now), None);
        redial.hear(A, address(2));
        assert_eq!(redial.due(now).unwrap().1.len(), 2);
        redial.lost(&A, now, 0);
        redial.hear(A, address(2));
        assert_eq!(redial.due(now), None, "an address known already is no news");
        redial.wake();
        assert!(redial.due(now).is_some());
    }

    #[test]
    fn addresses_that_others_tell_are_bounded_and_never_push_out_the_given_ones() {
        let mut redial = Redial::default();
        redial.give(A, address(1));
        (100..200).for_each(|port| redial.hear(A, address(port)));
        let known = redial.addresses(&A);
        assert_eq!(known.len(), 1 + MOST_ADDRESSES);
        assert!(known.contains(&address(1)) && known.contains(&address(199)));
    }

    #[test]
    fn a_removed_member_is_dialed_no_more() {
        let (mut redial, now) = (Redial::default(), Instant::now());
        redial.give(A, address(1));
        redial.wanted(A);
        redial.unwanted(&A);
        redial.lost(&A, now, 0);
        assert_eq!((redial.due(now), redial.next()), (None, None));
    }
}
