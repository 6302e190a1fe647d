//! Which addresses of a peer to try together: TCP first, because bulk runs better over it, the rest soon after.
//!
//! Must never dial an address without the identity that must answer there.

use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

use super::{Peer, Transport};

/// Addresses in the order of attempts: each group is dialed at once, the next when it failed or took long.
pub(super) fn groups(addresses: Vec<Multiaddr>) -> Vec<Vec<Multiaddr>> {
    let (relayed, direct): (Vec<_>, Vec<_>) = addresses.into_iter().partition(is_relayed);
    let (tcp, other): (Vec<_>, Vec<_>) = direct.into_iter().partition(is_tcp);
    [tcp, other, relayed].into_iter().filter(|group| !group.is_empty()).collect()
}

/// How a connection at this address travels.
pub(super) fn transport(address: &Multiaddr) -> Transport {
    if is_relayed(address) {
        Transport::Relay
    } else if is_tcp(address) {
        Transport::Tcp
    } else {
        Transport::Quic
    }
}

/// Whether it makes sense to try an address somebody told us: direct, not unspecified, with a transport we have.
pub(super) fn is_dialable(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = match parts.next() {
        Some(Protocol::Ip4(ip)) => !ip.is_unspecified() && !ip.is_broadcast() && !ip.is_multicast(),
        Some(Protocol::Ip6(ip)) => !ip.is_unspecified() && !ip.is_multicast(),
        Some(Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_)) => true,
        _ => false,
    };
    let port = match parts.next() {
        Some(Protocol::Tcp(port) | Protocol::Udp(port)) => port != 0,
        _ => false,
    };
    host && port && address.len() <= 256
}

/// Whether an address is of this machine alone.
pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    match address.iter().next() {
        Some(Protocol::Ip4(ip)) => ip.is_loopback(),
        Some(Protocol::Ip6(ip)) => ip.is_loopback(),
        _ => false,
    }
}

/// The address without the identity at its end, which must be `peer`'s if it is there.
pub(super) fn without_peer(mut address: Multiaddr, peer: &Peer) -> Option<Multiaddr> {
    if let Some(Protocol::P2p(id)) = address.iter().last() {
        if Peer::from_libp2p(&id) != Some(*peer) {
            return None;
        }
        address.pop();
    }
    Some(address)
}

/// The relay in an address to listen on through one.
pub(super) fn relay_of(address: &Multiaddr) -> Option<Peer> {
    let mut last = None;
    for part in address {
        match part {
            Protocol::P2p(id) => last = Peer::from_libp2p(&id),
            Protocol::P2pCircuit => return last,
            _ => {}
        }
    }
    None
}

fn is_relayed(address: &Multiaddr) -> bool {
    address.iter().any(|part| part == Protocol::P2pCircuit)
}

fn is_tcp(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Tcp(_)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(text: &str) -> Multiaddr {
        text.parse().unwrap()
    }

    #[test]
    fn tcp_comes_first_and_relays_last() {
        let (tcp, quic) = (address("/ip4/10.0.0.1/tcp/1"), address("/ip4/10.0.0.1/udp/1/quic-v1"));
        let peer = Peer([1; 32]).to_libp2p();
        let relay = address(&format!("/ip4/10.0.0.1/tcp/1/p2p/{peer}/p2p-circuit"));
        let all = vec![relay.clone(), quic.clone(), tcp.clone()];
        assert_eq!(groups(all), [vec![tcp.clone()], vec![quic.clone()], vec![relay.clone()]]);
        assert_eq!(groups(vec![quic.clone()]), [vec![quic.clone()]]);
        let kinds = [&tcp, &quic, &relay].map(transport);
        assert_eq!(kinds, [Transport::Tcp, Transport::Quic, Transport::Relay]);
        assert_eq!(relay_of(&relay), Some(Peer([1; 32])));
        assert_eq!(relay_of(&tcp), None);
    }

    #[test]
    fn what_others_tell_is_sifted() {
        for good in ["/ip4/10.0.0.1/tcp/1", "/dns/example.org/udp/4001/quic-v1", "/ip6/fe80::1/tcp/9"] {
            assert!(is_dialable(&address(good)), "{good}");
        }
        for bad in ["/ip4/0.0.0.0/tcp/1", "/ip4/10.0.0.1/tcp/0", "/ip4/224.0.0.1/udp/5353", "/memory/7", "/ip4/1.2.3.4"]
        {
            assert!(!is_dialable(&address(bad)), "{bad}");
        }
    }

    #[test]
    fn an_address_of_somebody_else_is_refused() {
        let (a, b) = (Peer([1; 32]), Peer([2; 32]));
        let bare = address("/ip4/10.0.0.1/tcp/1");
        let named = address(&format!("/ip4/10.0.0.1/tcp/1/p2p/{}", a.to_libp2p()));
        assert_eq!(without_peer(named.clone(), &a), Some(bare.clone()));
        assert_eq!(without_peer(named, &b), None);
        assert_eq!(without_peer(bare.clone(), &b), Some(bare));
    }
}
