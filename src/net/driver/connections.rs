//! The connections that stand and their sessions. Data only.
//!
//! Must never decide about a connection: it says which is surplus, the driver closes it.

use std::collections::HashMap;
use std::sync::Arc;

use libp2p::swarm::ConnectionId;

use crate::net::session::Session;
use crate::net::{Peer, Transport};

/// One connection.
pub(super) struct Connection {
    pub peer: Peer,
    pub transport: Transport,
    /// The other end is on this machine.
    pub loopback: bool,
    pub session: Option<Arc<Session>>,
    pub ready: bool,
    /// Join conversations of ours under way.
    pub talks: u32,
    /// The last round trip, measured perhaps before there was a session.
    pub rtt: Option<std::time::Duration>,
}

/// All of them. Bounded by the swarm's connection limits.
#[derive(Default)]
pub(super) struct Connections(HashMap<ConnectionId, Connection>);

impl Connections {
    pub fn insert(&mut self, id: ConnectionId, connection: Connection) {
        self.0.insert(id, connection);
    }

    pub fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.0.remove(&id)
    }

    pub fn get_mut(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.0.get_mut(&id)
    }

    pub fn any(&self, peer: &Peer) -> bool {
        self.0.values().any(|c| c.peer == *peer)
    }

    /// A connection on which a member may be asked anything.
    pub fn with_session(&self, peer: &Peer) -> Option<ConnectionId> {
        self.0.iter().find(|(_, c)| c.peer == *peer && c.ready).map(|(id, _)| *id)
    }

    /// Ready connections with `peer` beyond the best: direct before relayed, TCP before QUIC, old before new.
    pub fn surplus(&self, peer: &Peer) -> Vec<ConnectionId> {
        let rank = |c: &Connection| match c.transport {
            Transport::Tcp => 0,
            Transport::Quic => 1,
            Transport::Relay => 2,
        };
        let ready = self.0.iter().filter(|(_, c)| c.peer == *peer && c.ready);
        let mut ready: Vec<_> = ready.map(|(id, c)| (rank(c), c.session.as_ref().map(|s| s.id), *id)).collect();
        ready.sort_by_key(|(rank, session, _)| (*rank, *session));
        ready.into_iter().skip(1).map(|(_, _, id)| id).collect()
    }
}
