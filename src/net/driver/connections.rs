//! The connections that stand and their sessions. Data only.
//!
//! Must never decide about a connection: it says which is surplus, the driver closes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::swarm::ConnectionId;

use crate::net::session::Session;
use crate::net::{Peer, Transport};

/// Connections that stand so far apart were not dialed side by side: one side had reason to think the older is dead.
const SIDE_BY_SIDE: Duration = Duration::from_secs(10);

/// One connection.
pub(super) struct Connection {
    pub peer: Peer,
    pub transport: Transport,
    /// The other end is on this machine.
    pub loopback: bool,
    pub session: Option<Arc<Session>>,
    /// Since when the peer has greeted.
    pub ready: Option<Instant>,
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
        self.0.iter().find(|(_, c)| c.peer == *peer && c.ready.is_some()).map(|(id, _)| *id)
    }

    /// Ready connections with `peer` beyond the best: of those dialed side by side, and not outlived by a later one,
    /// direct before relayed, TCP before QUIC, old before new.
    pub fn surplus(&self, peer: &Peer) -> Vec<ConnectionId> {
        let rank = |c: &Connection| match c.transport {
            Transport::Tcp => 0,
            Transport::Quic => 1,
            Transport::Relay => 2,
        };
        let outlived = self.outlived(peer);
        let ready = self.0.iter().filter(|(_, c)| c.peer == *peer && c.ready.is_some());
        let mut ready: Vec<_> =
            ready.map(|(id, c)| (outlived.contains(id), rank(c), c.session.as_ref().map(|s| s.id), *id)).collect();
        ready.sort_by_key(|(outlived, rank, session, _)| (*outlived, *rank, *session));
        ready.into_iter().skip(1).map(|(.., id)| id).collect()
    }

    /// Connections with `peer` that were long ready when another was: it has perhaps moved to another network.
    pub fn outlived(&self, peer: &Peer) -> Vec<ConnectionId> {
        let ready = || self.0.iter().filter(|(_, c)| c.peer == *peer).filter_map(|(id, c)| Some((*id, c.ready?)));
        let newest = ready().map(|(_, since)| since).max();
        let old = |since: Instant| newest.is_some_and(|newest| newest.saturating_duration_since(since) > SIDE_BY_SIDE);
        ready().filter(|(_, since)| old(*since)).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const A: Peer = Peer([1; 32]);

    fn connections(all: &[(usize, Transport, Instant)]) -> Connections {
        let mut connections = Connections::default();
        for (id, transport, ready) in all {
            let (transport, ready) = (*transport, Some(*ready));
            let connection =
                Connection { peer: A, transport, loopback: false, session: None, ready, talks: 0, rtt: None };
            connections.insert(ConnectionId::new_unchecked(*id), connection);
        }
        connections
    }

    fn numbers(ids: &[ConnectionId]) -> Vec<String> {
        ids.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn of_connections_dialed_side_by_side_the_better_stays() {
        let now = Instant::now();
        let both = connections(&[(1, Transport::Quic, now), (2, Transport::Tcp, now + Duration::from_secs(1))]);
        assert_eq!(numbers(&both.outlived(&A)), Vec::<String>::new());
        assert_eq!(numbers(&both.surplus(&A)), ["1"]);
    }

    #[test]
    fn a_connection_does_not_outlive_what_came_long_after_it() {
        let now = Instant::now();
        let both = connections(&[(1, Transport::Tcp, now), (2, Transport::Relay, now + Duration::from_secs(60))]);
        assert_eq!(numbers(&both.outlived(&A)), ["1"]);
        assert_eq!(numbers(&both.surplus(&A)), ["1"], "the other side would not have dialed if it were alive");
    }
}
