//! What the network needs to start.
//!
//! Must never be printed: it carries the device's identity.

use std::sync::Arc;
use std::time::Duration;

use super::Serve;

/// Settings of [`super::Net::start`].
#[allow(clippy::struct_excessive_bools)] // switches a person sets, independent of each other
pub struct NetSetup {
    /// Seed of the Ed25519 identity: `DeviceRoot::identity_seed`.
    pub identity_seed: [u8; 32],
    /// Multiaddresses to listen on, e.g. `/ip4/0.0.0.0/tcp/0`, `/ip4/0.0.0.0/udp/0/quic-v1`, or
    /// `/.../p2p/RELAY/p2p-circuit` to be reachable through a relay.
    pub listen: Vec<String>,
    /// No socket at all: every question is answered with "unreachable".
    pub offline: bool,
    /// Find members on the local network; announces the peer id and addresses, nothing about volumes.
    pub mdns: bool,
    /// Ask the router to forward a port.
    pub upnp: bool,
    /// Hole punching and tests of reachability.
    pub traverse: bool,
    /// How long a peer that lied or broke the protocol is refused.
    pub ban: Duration,
    /// What we answer.
    pub serve: Arc<dyn Serve>,
}

impl NetSetup {
    /// Listening on all interfaces at ports the system chooses, with everything switched on.
    pub fn new(identity_seed: [u8; 32], serve: Arc<dyn Serve>) -> Self {
        let listen = ["/ip4/0.0.0.0/tcp/0", "/ip6/::/tcp/0", "/ip4/0.0.0.0/udp/0/quic-v1", "/ip6/::/udp/0/quic-v1"];
        Self {
            identity_seed,
            listen: listen.map(str::to_owned).to_vec(),
            offline: false,
            mdns: true,
            upnp: true,
            traverse: true,
            ban: Duration::from_secs(300),
            serve,
        }
    }
}
