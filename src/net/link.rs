//! What a session needs of a connection: three byte streams and a few facts. The port behind which
//! transports, encryption and multiplexing are out of sight.
//!
//! Must never know how the streams came about.

use libp2p::futures::{AsyncRead, AsyncWrite};

use super::Peer;

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The way data travels between two peers at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP, Noise, Yamux.
    Tcp,
    /// QUIC.
    Quic,
    /// Through another peer that forwards.
    Relay,
}

impl Transport {
    /// In words, for status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Quic => "quic",
            Self::Relay => "relay",
        }
    }
}

/// The streams of one session with an authenticated peer.
pub struct Link {
    /// Who is at the other end.
    pub peer: Peer,
    /// How.
    pub transport: Transport,
    /// Messages.
    pub control: Box<dyn Duplex>,
    /// Data somebody waits for.
    pub interactive: Box<dyn Duplex>,
    /// All other data.
    pub bulk: Box<dyn Duplex>,
}
