//! Whom mDNS found on the local network, members or not: anybody can announce anything there.
//!
//! Must never grow beyond [`MOST`], and says nothing about who is worth a connection.

use std::collections::BTreeSet;
use std::time::Duration;

use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::{Multiaddr, PeerId};

use super::{Command, Driver};
use crate::net::swarm::look_around;

/// Peers and addresses kept.
const MOST: usize = 512;
/// What announces itself beyond that is no household: libp2p's mDNS keeps all of it, and looks through it each time.
const CROWD: usize = 2048;
/// Then nobody is looked for there for so long.
const REST: Duration = Duration::from_secs(600);

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

impl Driver {
    /// Stop listening to mDNS for a while if there are more announcements than a home or an office makes: anybody on the
    /// network can make any number, and each costs memory until it expires, at a time of the sender's choice.
    pub(super) fn leave_crowd(&mut self) {
        let known = self.swarm.behaviour().mdns.as_ref().map_or(0, |mdns| mdns.discovered_nodes().len());
        if known <= CROWD {
            return;
        }
        tracing::warn!(
            known,
            "too many announce themselves on this network: members are not looked for there for a while"
        );
        self.swarm.behaviour_mut().mdns = Toggle::from(None);
        self.nearby = Nearby::default();
        let commands = self.shared.commands.clone();
        tokio::spawn(async move {
            tokio::time::sleep(REST).await;
            let _ = commands.send(Command::LookAround);
        });
    }

    /// Listen again.
    pub(super) fn look_around(&mut self) {
        match look_around(*self.swarm.local_peer_id(), self.swarm.listeners()) {
            Ok(mdns) => self.swarm.behaviour_mut().mdns = Some(mdns).into(),
            Err(error) => tracing::debug!(%error, "members are not looked for on the local network"),
        }
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
