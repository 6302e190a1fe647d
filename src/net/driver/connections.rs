//! The connections that stand and their sessions. Data only.
//!
//! Must never decide about a connection: it says which is surplus, the driver closes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

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
    pub rtt: Option<Duration>,
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

    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.0.values().filter_map(|c| c.session.as_ref())
    }

    /// A connection on which a member may be asked anything.
    pub fn with_session(&self, peer: &Peer) -> Option<ConnectionId> {
        self.0.iter().find(|(_, c)| c.peer == *peer && c.ready).map(|(id, _)| *id)
    }

    /// The sessions with `peer` but for the connection `id`.
    pub fn others(&self, peer: &Peer, id: ConnectionId) -> impl Iterator<Item = &Arc<Session>> {
        let others = self.0.iter().filter(move |(other, c)| **other != id && c.peer == *peer);
        others.filter_map(|(_, c)| c.session.as_ref())
    }

    /// Ready connections with `peer` beyond the best, and whether anything is under way on each. The best: direct before relayed, TCP before QUIC, old before new.
    pub fn surplus(&self, peer: &Peer) -> Vec<(ConnectionId, bool)> {
        let rank = |c: &Connection| match c.transport {
            Transport::Tcp => 0,
            Transport::Quic => 1,
            Transport::Relay => 2,
        };
        let ready = self.0.iter().filter(|(_, c)| c.peer == *peer && c.ready);
        let mut ready: Vec<_> = ready.map(|(id, c)| (rank(c), c.session.as_ref().map(|s| s.id), *id, c)).collect();
        ready.sort_by_key(|(rank, session, ..)| (*rank, *session));
        let busy = |c: &Connection| c.session.as_ref().is_some_and(|session| session.is_busy());
        ready.into_iter().skip(1).map(|(.., id, c)| (id, busy(c))).collect()
    }
}
