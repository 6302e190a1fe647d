//! The behaviour that gives out streams: three for each session with a member, one for a join.
//!
//! First in the chain of behaviours: whoever the gate refuses is closed before others allocate for it.
//! Must never hand out streams of a connection that the gate did not admit.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use libp2p::core::transport::PortUse;
use libp2p::core::{Endpoint, Multiaddr};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{PeerId, Stream};

use super::handler::{Asked, Given, Handler};
use crate::net::gate::{Admission, Gate};
use crate::net::{Peer, Serve};

/// What happened on a connection.
#[derive(Debug)]
pub(in crate::net) struct Event {
    /// The authenticated other side.
    pub peer: Peer,
    /// On which connection.
    pub connection: ConnectionId,
    /// What.
    pub what: What,
}

/// The streams that came.
#[derive(Debug)]
pub(in crate::net) enum What {
    /// All three streams of a session.
    Session(Box<[Stream; 3]>),
    /// Someone asks to join.
    JoinAsked(Stream),
    /// The stream for our own join request.
    JoinOpened(Stream),
    /// The other side offers no session.
    NoSession,
    /// The other side answers no join.
    NoJoin,
}

#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("not a member")
    }
}

impl std::error::Error for Refused {}

/// See the module.
pub(in crate::net) struct Exchange {
    gate: Arc<Gate>,
    serve: Arc<dyn Serve>,
    events: VecDeque<ToSwarm<Event, Asked>>,
    waker: Option<Waker>,
}

impl Exchange {
    pub fn new(gate: Arc<Gate>, serve: Arc<dyn Serve>) -> Self {
        Self { gate, serve, events: VecDeque::new(), waker: None }
    }

    /// Ask for a join stream on an established connection.
    pub fn open_join(&mut self, peer: &Peer, connection: ConnectionId) {
        self.events.push_back(ToSwarm::NotifyHandler {
            peer_id: peer.to_libp2p(),
            handler: NotifyHandler::One(connection),
            event: Asked::Join,
        });
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

fn denied() -> ConnectionDenied {
    ConnectionDenied::new(Refused)
}

impl NetworkBehaviour for Exchange {
    type ConnectionHandler = Handler;
    type ToSwarm = Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let peer = Peer::from_libp2p(&peer).ok_or_else(denied)?;
        match self.gate.inbound(&peer, self.serve.inviting(), Instant::now()) {
            Admission::Member => Ok(Handler::member(false)),
            Admission::Stranger => Ok(Handler::stranger()),
            Admission::Refused => Err(denied()),
        }
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        role: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let peer = Peer::from_libp2p(&peer).ok_or_else(denied)?;
        match self.gate.outbound(&peer, Instant::now()) {
            Admission::Member => Ok(Handler::member(role == Endpoint::Dialer)),
            Admission::Stranger => Ok(Handler::stranger()),
            Admission::Refused => Err(denied()),
        }
    }

    fn on_swarm_event(&mut self, _: FromSwarm<'_>) {}

    fn on_connection_handler_event(&mut self, peer: PeerId, connection: ConnectionId, event: THandlerOutEvent<Self>) {
        let Some(peer) = Peer::from_libp2p(&peer) else { return };
        let what = match event {
            Given::Session(streams) => What::Session(streams),
            Given::JoinAsked(stream) => What::JoinAsked(stream),
            Given::JoinOpened(stream) => What::JoinOpened(stream),
            Given::NoSession => What::NoSession,
            Given::NoJoin => What::NoJoin,
        };
        self.events.push_back(ToSwarm::GenerateEvent(Event { peer, connection, what }));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(event) = self.events.pop_front() {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}
