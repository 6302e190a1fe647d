//! What the swarm reports, turned into sessions, addresses and answers.
//!
//! Must never trust an address or a name that an unauthenticated party told.

use std::sync::Arc;
use std::time::{Duration, Instant};

use libp2p::core::ConnectedPoint;
use libp2p::swarm::{ConnectionId, SwarmEvent};
use libp2p::{Multiaddr, PeerId, Stream, identify, mdns};

use super::connections::Connection;
use super::{Command, Driver, chance};
use crate::net::link::Link;
use crate::net::session::{Ending, Session};
use crate::net::swarm::BehaviourEvent;
use crate::net::swarm::exchange::{Event, What};
use crate::net::{Peer, dialing, join};

/// Longer than a doubted session lives without a sign of life.
const DOUBTS_SETTLED: Duration = Duration::from_secs(4);

impl Driver {
    pub(super) fn event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.established(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { connection_id, cause, .. } => {
                if let Some(cause) = cause {
                    tracing::debug!(%cause, "a connection broke");
                }
                self.closed(connection_id);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, peer_id, error } => {
                tracing::debug!(peer = ?peer_id, %error, "a dial failed");
                self.next_group(connection_id, true);
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                self.shared.redial.lock().wake(); // there is a network that was not there
                self.shared.listening(address, true);
            }
            SwarmEvent::ExternalAddrConfirmed { address } => self.shared.listening(address, true),
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.shared.listening(address, false);
                self.connections.sessions().for_each(|session| session.doubt()); // what went through it is dead
            }
            SwarmEvent::ExternalAddrExpired { address } => self.shared.listening(address, false),
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                if let Err(error) = reason {
                    tracing::warn!(?addresses, %error, "stopped listening");
                }
                for address in addresses {
                    self.shared.listening(address, false);
                }
            }
            SwarmEvent::ListenerError { error, .. } => tracing::debug!(%error, "a listener failed once"),
            _ => {}
        }
    }

    fn behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Exchange(event) => self.exchange(event),
            BehaviourEvent::Ping(ping) => {
                let Some(connection) = self.connections.get_mut(ping.connection) else { return };
                match ping.result {
                    Ok(rtt) => {
                        connection.session.iter().for_each(|session| session.set_rtt(rtt));
                        connection.rtt = Some(rtt);
                    }
                    Err(_) => connection.session.iter().for_each(|session| session.doubt()),
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                self.told(peer_id, connection_id, info.listen_addrs);
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => {
                for (peer, address) in found {
                    self.nearby.insert(peer, &address);
                    self.heard(peer, address);
                }
                self.leave_crowd();
            }
            BehaviourEvent::Mdns(mdns::Event::Expired(gone)) => {
                for (peer, address) in gone {
                    self.nearby.remove(peer, &address);
                }
            }
            _ => {}
        }
    }

    fn exchange(&mut self, Event { peer, connection, what }: Event) {
        match what {
            What::Session(streams) => self.session(peer, connection, *streams),
            What::JoinAsked(stream) => self.join_asked(peer, connection, stream),
            What::JoinOpened(stream) => self.join_opened(connection, stream),
            What::NoSession => self.done_unless_talking(connection),
            What::NoJoin => {
                self.fail_joins_on(connection);
                self.done_unless_talking(connection);
            }
        }
    }

    /// Close a connection that has neither a session nor a conversation.
    pub(super) fn done_unless_talking(&mut self, id: ConnectionId) {
        let idle = self.connections.get_mut(id).is_some_and(|c| c.session.is_none() && c.talks == 0);
        if idle {
            self.swarm.close_connection(id);
            self.closed(id); // one that is dead takes its time to close
        }
    }

    fn established(&mut self, peer: PeerId, id: ConnectionId, endpoint: &ConnectedPoint) {
        let Some(peer) = Peer::from_libp2p(&peer) else { return };
        self.attempts.retain(|attempt| attempt.id != id);
        let address = endpoint.get_remote_address();
        let transport = dialing::transport(address);
        let loopback = dialing::is_loopback(address);
        self.connections
            .insert(id, Connection { peer, transport, loopback, session: None, ready: false, rtt: None, talks: 0 });
        self.shared.redial.lock().connected(peer);
        self.open_join(&peer, id);
    }

    fn closed(&mut self, id: ConnectionId) {
        let Some(Connection { peer, session, .. }) = self.connections.remove(id) else { return };
        if let Some(session) = session {
            session.close();
        }
        if !self.connections.any(&peer) {
            self.shared.redial.lock().lost(&peer, Instant::now(), chance());
        }
        self.fail_joins_on(id);
    }

    fn session(&mut self, peer: Peer, id: ConnectionId, [control, interactive, bulk]: [Stream; 3]) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        let transport = connection.transport;
        let link = Link {
            peer,
            transport,
            control: Box::new(control),
            interactive: Box::new(interactive),
            bulk: Box::new(bulk),
        };
        let number = self.shared.next_session();
        let (session, outbox) = Session::new(number, &link, Arc::clone(&self.serve), self.walks.of(peer));
        connection.rtt.iter().for_each(|rtt| session.set_rtt(*rtt));
        connection.session = Some(Arc::clone(&session));
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move {
            let (ready_shared, ready_session) = (Arc::clone(&shared), Arc::clone(&session));
            let ready = move || {
                ready_shared.session_ready(&ready_session);
                let _ = ready_shared.commands.send(Command::Ready(id));
            };
            let ending = session.run(link, outbox, ready).await;
            shared.session_over(&session);
            let _ = shared.commands.send(Command::Over(id, ending));
        });
    }

    /// A peer that has several connections has perhaps lost one without our knowing: it was restarted, or moved to
    /// another network. Those that are dead are found out first.
    pub(super) fn ready(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(id) else { return };
        connection.ready = true;
        let peer = connection.peer;
        self.shared.redial.lock().settled(&peer);
        let doubted = self.connections.others(&peer, id).map(|session| session.doubt()).count();
        if doubted > 0 {
            self.choose_later(peer);
        }
    }

    fn choose_later(&self, peer: Peer) {
        let commands = self.shared.commands.clone();
        tokio::spawn(async move {
            tokio::time::sleep(DOUBTS_SETTLED).await;
            let _ = commands.send(Command::Choose(peer));
        });
    }

    /// Of several connections with one peer that are alive, the side with the smaller name closes what is too much, once
    /// nothing is under way there.
    pub(super) fn choose(&mut self, peer: Peer) {
        if self.shared.local > peer {
            return;
        }
        let surplus = self.connections.surplus(&peer);
        for (id, _) in surplus.iter().filter(|(_, busy)| !busy) {
            self.swarm.close_connection(*id);
        }
        if surplus.iter().any(|(_, busy)| *busy) {
            self.choose_later(peer);
        }
    }

    pub(super) fn over(&mut self, id: ConnectionId, ending: Ending) {
        let peer = self.connections.get_mut(id).map(|connection| connection.peer);
        match (ending, peer) {
            (Ending::Violation(error), Some(peer)) => {
                tracing::warn!(%peer, error = %error.chain(), "a peer is refused for a while");
                self.shared.gate.ban(peer, Instant::now() + self.ban);
                let _ = self.swarm.disconnect_peer_id(peer.to_libp2p());
            }
            (Ending::Violation(error) | Ending::Lost(error), _) => {
                tracing::debug!(?peer, error = %error.chain(), "a session ended");
                // A join may be under way on it: to them we are perhaps no member.
                self.connections.get_mut(id).into_iter().for_each(|c| (c.session, c.ready) = (None, false));
                self.done_unless_talking(id);
            }
        }
    }

    fn join_asked(&mut self, peer: Peer, connection: ConnectionId, stream: Stream) {
        if !self.serve.inviting() {
            return;
        }
        let serve = Arc::clone(&self.serve);
        tokio::spawn(async move {
            if let Err(error) = join::answer(stream, peer, serve).await {
                tracing::debug!(%peer, ?connection, error = %error.chain(), "a join was cut short");
            }
        });
    }

    /// Addresses that a connected peer says it listens on.
    fn told(&mut self, peer: PeerId, connection: ConnectionId, addresses: Vec<Multiaddr>) {
        let near = self.connections.get_mut(connection).is_some_and(|c| c.loopback);
        for address in addresses.into_iter().take(16) {
            if near || !dialing::is_loopback(&address) {
                self.heard(peer, address);
            }
        }
    }

    /// Members may be among those who were found before they were members.
    pub(super) fn review_nearby(&mut self) {
        for (peer, address) in self.nearby.all() {
            self.heard(peer, address);
        }
    }

    fn heard(&mut self, peer: PeerId, address: Multiaddr) {
        let Some(peer) = Peer::from_libp2p(&peer) else { return };
        if !self.shared.gate.is_member(&peer, Instant::now()) {
            return;
        }
        if let Some(address) = dialing::without_peer(address, &peer).filter(dialing::is_dialable) {
            self.shared.redial.lock().hear(peer, address);
        }
    }
}
