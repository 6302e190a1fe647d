//! One connection's streams: negotiates the three of a session once, and join streams.
//!
//! The side that dialed opens; the other waits. Must never accept a second stream of a kind, nor any stream
//! but one join from a stranger.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use libp2p::core::{InboundUpgrade, OutboundUpgrade, UpgradeInfo};
use libp2p::swarm::handler::{ConnectionEvent, FullyNegotiatedInbound, FullyNegotiatedOutbound};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, SubstreamProtocol};
use libp2p::{Stream, StreamProtocol};

/// Names of the streams of a session: control, interactive, bulk.
const SESSION: [StreamProtocol; 3] = [
    StreamProtocol::new("/lovage/bx/1/control"),
    StreamProtocol::new("/lovage/bx/1/interactive"),
    StreamProtocol::new("/lovage/bx/1/bulk"),
];
/// Name of the join stream.
const JOIN: StreamProtocol = StreamProtocol::new("/lovage/join/1");

/// To the handler.
#[derive(Debug)]
pub(in crate::net) enum Asked {
    /// Open a join stream.
    Join,
}

/// From the handler.
#[derive(Debug)]
pub(in crate::net) enum Given {
    /// All streams of a session.
    Session(Box<[Stream; 3]>),
    /// The other side opened a join stream.
    JoinAsked(Stream),
    /// Our join stream.
    JoinOpened(Stream),
    /// The other side offers no session: to it we are a stranger.
    NoSession,
    /// It answers no join.
    NoJoin,
}

/// Of an outbound stream: whether it is for a join.
type IsJoin = bool;
type Output = ConnectionHandlerEvent<Offer, IsJoin, Given>;

/// See the module.
pub(in crate::net) struct Handler {
    offer: Offer,
    parts: [Option<Stream>; 3],
    complete: bool,
    joins_left: u32,
    is_member: bool,
    queue: VecDeque<Output>,
}

impl Handler {
    /// For a member; `opens` on the side that dialed.
    pub fn member(opens: bool) -> Self {
        let mut handler = Self::new(true, 64, [SESSION.as_slice(), &[JOIN]].concat());
        if opens {
            handler.queue.extend(SESSION.map(open));
        }
        handler
    }

    /// For somebody who may only join.
    pub fn stranger() -> Self {
        Self::new(false, 1, vec![JOIN])
    }

    fn new(is_member: bool, joins_left: u32, accepted: Vec<StreamProtocol>) -> Self {
        let queue = VecDeque::new();
        Self { offer: Offer(accepted), parts: [None, None, None], complete: false, joins_left, is_member, queue }
    }

    fn give(&mut self, given: Given) {
        self.queue.push_back(ConnectionHandlerEvent::NotifyBehaviour(given));
    }

    /// A stream of the session; a second one of its kind is dropped.
    fn part(&mut self, stream: Stream, protocol: &StreamProtocol) {
        let slot = SESSION.iter().zip(&mut self.parts).find(|(name, _)| *name == protocol).map(|(_, slot)| slot);
        let Some(slot) = slot else { return };
        if self.complete || slot.is_some() {
            return;
        }
        *slot = Some(stream);
        if self.parts.iter().all(Option::is_some)
            && let [Some(control), Some(interactive), Some(bulk)] = std::mem::take(&mut self.parts)
        {
            self.complete = true;
            self.give(Given::Session(Box::new([control, interactive, bulk])));
        }
    }
}

fn open(protocol: StreamProtocol) -> Output {
    let is_join = protocol == JOIN;
    ConnectionHandlerEvent::OutboundSubstreamRequest {
        protocol: SubstreamProtocol::new(Offer(vec![protocol]), is_join),
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Asked;
    type ToBehaviour = Given;
    type InboundProtocol = Offer;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = IsJoin;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(self.offer.clone(), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.is_member
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<Output> {
        self.queue.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn on_behaviour_event(&mut self, Asked::Join: Asked) {
        self.queue.push_back(open(JOIN));
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Offer, Offer, (), IsJoin>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol: (stream, name), .. }) => {
                if name != JOIN {
                    self.part(stream, &name);
                } else if self.joins_left > 0 {
                    self.joins_left -= 1;
                    self.give(Given::JoinAsked(stream));
                }
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol: (stream, name), .. }) => {
                if name == JOIN {
                    self.give(Given::JoinOpened(stream));
                } else {
                    self.part(stream, &name);
                }
            }
            ConnectionEvent::DialUpgradeError(failed) if failed.info => self.give(Given::NoJoin),
            ConnectionEvent::DialUpgradeError(_) => self.give(Given::NoSession),
            _ => {}
        }
    }
}

/// Protocol names to accept or to propose; the upgrade is the bare stream.
#[derive(Debug, Clone)]
pub(in crate::net) struct Offer(Vec<StreamProtocol>);

impl UpgradeInfo for Offer {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Offer {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_inbound(self, stream: Stream, name: Self::Info) -> Self::Future {
        ready(Ok((stream, name)))
    }
}

impl OutboundUpgrade<Stream> for Offer {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Self::Error>>;

    fn upgrade_outbound(self, stream: Stream, name: Self::Info) -> Self::Future {
        ready(Ok((stream, name)))
    }
}
