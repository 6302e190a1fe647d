//! Whom mDNS found on the local network, members or not: anybody can announce anything there.
//!
//! Must never grow beyond [`MOST`], and says nothing about who is worth a connection.

use std::collections::BTreeSet;

use libp2p::{Multiaddr, PeerId};

/// Peers and addresses kept.
const MOST: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Nearby(BTreeSet<(PeerId, Multiaddr)>);

impl Nearby {
    /// Found. When there are too many the newcomer is not kept.
    pub fn insert(&mut self, peer: PeerId, address: &Multiaddr) {
        if self.0.len() < MOST {
            self.0.insert((peer, address.clone()));
        }
    }

    /// Not heard of any more.
    pub fn remove(&mut self, peer: PeerId, address: &Multiaddr) {
        self.0.remove(&(peer, address.clone()));
    }

    /// Everyone.
    pub fn all(&self) -> Vec<(PeerId, Multiaddr)> {
        self.0.iter().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_crowd_on_the_network_does_not_fill_the_memory() {
        let mut nearby = Nearby::default();
        for port in 1..2000_u16 {
            nearby.insert(PeerId::random(), &format!("/ip4/10.0.0.1/tcp/{port}").parse().unwrap());
        }
        assert_eq!(nearby.all().len(), MOST);
        let (peer, address) = nearby.all().remove(0);
        nearby.remove(peer, &address);
        assert_eq!(nearby.all().len(), MOST - 1);
    }
}
