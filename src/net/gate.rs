//! Who may connect: members, peers we are about to join, and, while invites are open, a few strangers.
//!
//! Consulted before anything is allocated for a connection. Must never do I/O, and must never remember more
//! strangers or bans than its bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::Peer;
use crate::base::sync::Mutex;

/// Strangers let in at once, at most; they come back at one in [`REFILL`].
const STRANGERS: u32 = 8;
const REFILL: Duration = Duration::from_secs(2);
/// Most bans remembered; the one that ends first gives way.
const MOST_BANS: usize = 1024;

/// What a connection may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Admission {
    /// Everything.
    Member,
    /// One join stream.
    Stranger,
    /// Nothing: close it.
    Refused,
}

/// The list of who is let in. Shared; quick.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    members: BTreeSet<Peer>,
    joining: BTreeMap<Peer, u32>,
    relays: BTreeSet<Peer>,
    banned: BTreeMap<Peer, Instant>,
    tokens: u32,
    refilled: Option<Instant>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            members: BTreeSet::new(),
            joining: BTreeMap::new(),
            relays: BTreeSet::new(),
            banned: BTreeMap::new(),
            tokens: STRANGERS,
            refilled: None,
        }
    }
}

impl Gate {
    /// Replace the members; returns those that were and are no more.
    pub fn set_members(&self, members: BTreeSet<Peer>) -> Vec<Peer> {
        let mut inner = self.0.lock();
        let gone = inner.members.difference(&members).copied().collect();
        inner.members = members;
        gone
    }

    /// Whether `peer` is a member and not banned at `now`.
    pub fn is_member(&self, peer: &Peer, now: Instant) -> bool {
        let inner = self.0.lock();
        inner.members.contains(peer) && !inner.is_banned(peer, now)
    }

    /// All members.
    pub fn members(&self) -> BTreeSet<Peer> {
        self.0.lock().members.clone()
    }

    /// Decide on a connection that `peer` opened. A stranger uses up a token.
    pub fn inbound(&self, peer: &Peer, inviting: bool, now: Instant) -> Admission {
        let mut inner = self.0.lock();
        if inner.is_banned(peer, now) {
            Admission::Refused
        } else if inner.members.contains(peer) {
            Admission::Member
        } else if inviting && inner.take_token(now) {
            Admission::Stranger
        } else {
            Admission::Refused
        }
    }

    /// Decide on a connection that we opened to `peer`.
    pub fn outbound(&self, peer: &Peer, now: Instant) -> Admission {
        let inner = self.0.lock();
        let known = inner.joining.contains_key(peer) || inner.relays.contains(peer);
        match (inner.members.contains(peer) && !inner.is_banned(peer, now), known) {
            (true, _) => Admission::Member,
            (false, true) => Admission::Stranger,
            (false, false) => Admission::Refused,
        }
    }

    /// `peer` forwards for us: we connect to it, and share nothing with it.
    pub fn add_relay(&self, peer: Peer) {
        self.0.lock().relays.insert(peer);
    }

    /// We are about to ask `peer` to let us join; balanced by [`Gate::end_join`].
    pub fn begin_join(&self, peer: Peer) {
        *self.0.lock().joining.entry(peer).or_default() += 1;
    }

    /// The question was answered or given up.
    pub fn end_join(&self, peer: &Peer) {
        let mut inner = self.0.lock();
        if let Some(count) = inner.joining.get_mut(peer) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                inner.joining.remove(peer);
            }
        }
    }

    /// Refuse `peer` until then: it lied or broke the protocol.
    pub fn ban(&self, peer: Peer, until: Instant) {
        let mut inner = self.0.lock();
        inner.banned.insert(peer, until);
        if inner.banned.len() > MOST_BANS
            && let Some(first) = inner.banned.iter().min_by_key(|(_, end)| **end).map(|(peer, _)| *peer)
        {
            inner.banned.remove(&first);
        }
    }
}

impl Inner {
    fn is_banned(&self, peer: &Peer, now: Instant) -> bool {
        self.banned.get(peer).is_some_and(|until| *until > now)
    }

    fn take_token(&mut self, now: Instant) -> bool {
        let since = now.saturating_duration_since(*self.refilled.get_or_insert(now));
        let back = u32::try_from(since.as_millis() / REFILL.as_millis().max(1)).unwrap_or(STRANGERS);
        if back > 0 {
            self.tokens = self.tokens.saturating_add(back).min(STRANGERS);
            self.refilled = Some(now);
        }
        let taken = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Peer = Peer([1; 32]);
    const B: Peer = Peer([2; 32]);

    #[test]
    fn members_come_in_and_strangers_only_with_an_open_invite() {
        let (gate, now) = (Gate::default(), Instant::now());
        assert_eq!(gate.set_members([A].into()), []);
        assert_eq!(gate.inbound(&A, false, now), Admission::Member);
        assert_eq!(gate.inbound(&B, false, now), Admission::Refused);
        assert_eq!(gate.inbound(&B, true, now), Admission::Stranger);
        assert_eq!(gate.outbound(&B, now), Admission::Refused);
        assert_eq!(gate.set_members([B].into()), [A]);
        assert!(gate.is_member(&B, now) && !gate.is_member(&A, now));
    }

    #[test]
    fn strangers_are_rationed() {
        let (gate, now) = (Gate::default(), Instant::now());
        let let_in = |at: Instant| (0..100).filter(|_| gate.inbound(&B, true, at) == Admission::Stranger).count();
        assert_eq!(let_in(now), 8);
        assert_eq!(let_in(now + REFILL), 1);
        assert_eq!(let_in(now + REFILL * 1000), 8);
    }

    #[test]
    fn a_ban_ends() {
        let (gate, now) = (Gate::default(), Instant::now());
        gate.set_members([A].into());
        gate.ban(A, now + Duration::from_secs(10));
        assert_eq!(gate.inbound(&A, true, now), Admission::Refused);
        assert_eq!(gate.outbound(&A, now), Admission::Refused);
        assert_eq!(gate.inbound(&A, true, now + Duration::from_secs(10)), Admission::Member);
    }

    #[test]
    fn bans_are_bounded() {
        let (gate, now) = (Gate::default(), Instant::now());
        for n in 0..2000_u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_le_bytes());
            gate.ban(Peer(key), now + Duration::from_secs(u64::from(n)));
        }
        assert_eq!(gate.0.lock().banned.len(), MOST_BANS);
    }

    #[test]
    fn joining_opens_the_way_out_while_it_lasts() {
        let (gate, now) = (Gate::default(), Instant::now());
        gate.begin_join(B);
        gate.begin_join(B);
        gate.end_join(&B);
        assert_eq!(gate.outbound(&B, now), Admission::Stranger);
        gate.end_join(&B);
        assert_eq!(gate.outbound(&B, now), Admission::Refused);
    }
}
