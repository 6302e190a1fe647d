//! The name of a peer: its Ed25519 public key.
//!
//! Must never hold another kind of key: a peer with one is nobody we could have let in.

use std::fmt;
use std::str::FromStr;

use libp2p::PeerId;

use crate::base::{DeviceId, Error, Kind, Result, hash};

/// A peer, named by its authenticated Ed25519 public key. Printed as libp2p prints peer ids (`12D3Koo...`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peer(pub [u8; 32]);

/// Identity multihash of a protobuf that says "Ed25519, 32 bytes".
const PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl Peer {
    /// The public key.
    pub fn public_key(&self) -> &[u8; 32] {
        &self.0
    }

    /// The device with this identity: `BLAKE3("dev1" || public key)`.
    pub fn device_id(&self) -> DeviceId {
        DeviceId(hash(&[b"dev1", &self.0]))
    }

    /// The peer behind the id libp2p authenticated; none when its key is not Ed25519.
    pub(super) fn from_libp2p(id: &PeerId) -> Option<Self> {
        let bytes = id.to_bytes();
        let key = bytes.strip_prefix(&PREFIX)?;
        key.try_into().ok().map(Self)
    }

    /// As libp2p names it.
    pub(super) fn to_libp2p(self) -> PeerId {
        let mut bytes = PREFIX.to_vec();
        bytes.extend_from_slice(&self.0);
        // The form is right by construction; a fresh id matches no peer should that ever change.
        PeerId::from_bytes(&bytes).unwrap_or_else(|_| PeerId::random())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_libp2p().fmt(f)
    }
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({self})")
    }
}

impl FromStr for Peer {
    type Err = Error;

    /// From the printed form. [`Kind::Invalid`] for anything but an Ed25519 peer id.
    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::new(Kind::Invalid, "read a peer id", text.to_owned());
        let id = PeerId::from_str(text).map_err(|e| invalid().with_source(e))?;
        Self::from_libp2p(&id).ok_or_else(invalid)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::seal::{AuthorKey, DeviceRoot};

    #[test]
    fn a_peer_is_printed_read_back_and_is_the_device_of_its_seed() {
        let root = DeviceRoot::new([7; 32]);
        let peer = Peer(AuthorKey::from_seed(&root.identity_seed()).public());
        let text = peer.to_string();
        assert!(text.starts_with("12D3Koo"), "{text}");
        assert_eq!(text.parse::<Peer>().unwrap(), peer);
        assert_eq!(peer.device_id(), root.device_id());
        let keys = libp2p::identity::Keypair::ed25519_from_bytes(*root.identity_seed().expose()).unwrap();
        assert_eq!(Peer::from_libp2p(&keys.public().to_peer_id()), Some(peer));
        assert!("12D3KooX".parse::<Peer>().is_err());
    }
}
