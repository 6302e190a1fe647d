//! The libp2p swarm: transports, identity, limits, discovery, the way through NATs.
//!
//! Must never announce volumes, nor let another behaviour see a connection before [`exchange`] admitted it.

pub(super) mod exchange;
mod handler;

use std::sync::Arc;
use std::time::Duration;

use libp2p::connection_limits::{Behaviour as Limits, ConnectionLimits};
use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, ListenerId};
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{FromSwarm, NetworkBehaviour, NewListenAddr};
use libp2p::{
    Multiaddr, PeerId, Swarm, SwarmBuilder, Transport, autonat, dcutr, identify, mdns, memory_connection_limits, noise,
    ping, relay, tcp, upnp, yamux,
};

use super::gate::Gate;
use super::{NetSetup, Serve};
use crate::base::{Error, Kind, Result};
use exchange::Exchange;
use socket2::SockRef;

/// Between pings, which also measure the round trip.
const PING: Duration = Duration::from_secs(60);
/// QUIC's own sign of life: below the half minute after which routers forget a flow.
const QUIC_ALIVE: Duration = Duration::from_secs(25);
/// Without a sign of life for so long a QUIC connection is dead.
const QUIC_DEAD: Duration = Duration::from_secs(75);
/// A connection nobody uses is closed after this: strangers after their join.
const UNUSED: Duration = Duration::from_secs(10);
/// For the handshakes of a connection.
const HANDSHAKE: Duration = Duration::from_secs(20);
/// Bytes of a connection that the kernel holds and has not sent yet, at most.
const UNSENT: u32 = 128 << 10;
/// Memory of the whole process above which no connection is accepted.
const MOST_MEMORY: usize = 1 << 30;
/// Between repeated identify messages.
const IDENTIFY: Duration = Duration::from_secs(3600);

/// All behaviours, the gate first.
#[derive(NetworkBehaviour)]
pub(super) struct Behaviour {
    pub limits: Limits,
    pub memory: memory_connection_limits::Behaviour,
    pub exchange: Exchange,
    pub ping: ping::Behaviour,
    pub identify: identify::Behaviour,
    pub mdns: Toggle<mdns::tokio::Behaviour>,
    pub relay: relay::client::Behaviour,
    pub dcutr: Toggle<dcutr::Behaviour>,
    pub autonat: Toggle<autonat::v2::client::Behaviour>,
    pub upnp: Toggle<upnp::tokio::Behaviour>,
}

/// A swarm that listens nowhere yet. Call inside a tokio runtime.
pub(super) fn build(setup: &NetSetup, gate: Arc<Gate>, serve: Arc<dyn Serve>) -> Result<Swarm<Behaviour>> {
    let mut seed = setup.identity_seed;
    let keys = Keypair::ed25519_from_bytes(&mut seed).map_err(|e| failed("identity").with_source(e))?;
    let options = Options { mdns: setup.mdns, upnp: setup.upnp, traverse: setup.traverse };
    let swarm = SwarmBuilder::with_existing_identity(keys)
        .with_tokio()
        .with_quic_config(|mut config| {
            config.keep_alive_interval = QUIC_ALIVE;
            config.max_idle_timeout = u32::try_from(QUIC_DEAD.as_millis()).unwrap_or(u32::MAX);
            config.max_concurrent_stream_limit = 64;
            config
        })
        .with_other_transport(over_tcp)
        .map_err(|e| failed("tcp").with_source(e))?
        .with_dns()
        .map_err(|e| failed("name resolution").with_source(e))?
        .with_relay_client(noise::Config::new, yamux::Config::default)
        .map_err(|e| failed("relay").with_source(e))?
        .with_behaviour(|keys, relay| behaviour(keys, relay, Exchange::new(gate, serve), options))
        .map_err(|e| failed("behaviours").with_source(e))?
        .with_swarm_config(|config| {
            config
                .with_substream_upgrade_protocol_override(Version::V1Lazy)
                .with_idle_connection_timeout(UNUSED)
                .with_max_negotiating_inbound_streams(16)
        })
        .with_connection_timeout(HANDSHAKE)
        .build();
    Ok(swarm)
}

/// TCP with Noise and Yamux. What waits in the kernel to be sent is kept short: an answer somebody waits for would have to
/// wait behind it.
fn over_tcp(
    keys: &Keypair,
) -> std::result::Result<Boxed<(PeerId, StreamMuxerBox)>, Box<dyn std::error::Error + Send + Sync>> {
    let short = |stream: tcp::tokio::TcpStream, _: ConnectedPoint| {
        if let Err(error) = SockRef::from(&stream.0).set_tcp_notsent_lowat(UNSENT) {
            tracing::debug!(%error, "the kernel may hold more unsent than it should");
        }
        stream
    };
    let transport = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true)).map(short);
    let upgraded = transport.upgrade(Version::V1Lazy).authenticate(noise::Config::new(keys)?);
    let muxed = upgraded.multiplex(yamux::Config::default()).timeout(HANDSHAKE);
    Ok(muxed.map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection))).boxed())
}

/// Looks for others on the local network, and tells those who look where we listen: at `addresses`, and what is added later.
pub(super) fn look_around<'a>(
    id: PeerId,
    addresses: impl Iterator<Item = &'a Multiaddr>,
) -> std::io::Result<mdns::tokio::Behaviour> {
    let config = mdns::Config { query_interval: Duration::from_secs(300), ..mdns::Config::default() };
    let mut mdns = mdns::tokio::Behaviour::new(config, id)?;
    for addr in addresses {
        mdns.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id: ListenerId::next(), addr }));
    }
    Ok(mdns)
}

#[derive(Clone, Copy)]
struct Options {
    mdns: bool,
    upnp: bool,
    traverse: bool,
}

fn failed(what: &str) -> Error {
    Error::new(Kind::Other, "start the network", what)
}

fn behaviour(
    keys: &Keypair,
    relay: relay::client::Behaviour,
    exchange: Exchange,
    options: Options,
) -> std::result::Result<Behaviour, Box<dyn std::error::Error + Send + Sync>> {
    let limits = ConnectionLimits::default()
        .with_max_pending_incoming(Some(32))
        .with_max_pending_outgoing(Some(64))
        .with_max_established_per_peer(Some(4))
        .with_max_established(Some(512));
    let id = keys.public().to_peer_id();
    let identify = identify::Config::new("/lovage/1".to_owned(), keys.public())
        .with_agent_version("lovage".to_owned())
        .with_interval(IDENTIFY)
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    Ok(Behaviour {
        limits: Limits::new(limits),
        memory: memory_connection_limits::Behaviour::with_max_bytes(MOST_MEMORY),
        exchange,
        ping: ping::Behaviour::new(ping::Config::new().with_interval(PING)),
        identify: identify::Behaviour::new(identify),
        mdns: options.mdns.then(|| look_around(id, [].into_iter())).transpose()?.into(),
        relay,
        dcutr: options.traverse.then(|| dcutr::Behaviour::new(id)).into(),
        autonat: options.traverse.then(autonat::v2::client::Behaviour::default).into(),
        upnp: options.upnp.then(upnp::tokio::Behaviour::default).into(),
    })
}
