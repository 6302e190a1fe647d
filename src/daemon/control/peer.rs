//! `peer`: addresses of other devices, by hand; how far one is.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Instant;

use super::super::exchange::Replica;
use super::super::service::Service;
use crate::base::{Error, Kind, Result};
use crate::net::Peer;
use crate::wire::Advice;
use crate::wire::control::Pinged;

/// Remember an address `.../p2p/ID` of a member and try it.
pub fn add(service: &Service, address: &str) -> Result<()> {
    let (plain, peer) = split(address)?;
    let replicas: Vec<_> = service.exchange.all().into_iter().filter(|r| r.has(&peer)).collect();
    if replicas.is_empty() {
        let advice = Advice::new("it belongs to no open volume", "Let it in first: lovage invite VOLUME");
        return Err(Error::new(Kind::NotFound, "add the address", address).with_source(advice));
    }
    service.exchange.start()?.add_address(peer, plain)?;
    for replica in replicas {
        let mut known = service.volumes.addresses(replica.known.id);
        let mut list = known.extract_if(.., |(p, _)| *p == peer.0).next().map(|(_, list)| list).unwrap_or_default();
        list.retain(|a| a != plain);
        list.insert(0, plain.to_owned());
        service.volumes.remember_addresses(replica.known.id, peer.0, list)?;
    }
    Ok(())
}

/// Forget an address `.../p2p/ID`, or all of a peer.
pub fn remove(service: &Service, address: &str) -> Result<()> {
    let (plain, peer) = if address.contains('/') { split(address)? } else { ("", Peer::from_str(address)?) };
    if let Some(net) = service.exchange.net() {
        let facts = net.peers().into_iter().find(|f| f.peer == peer);
        for known in facts.map(|f| f.addresses).unwrap_or_default().iter().filter(|a| plain.is_empty() || *a == plain) {
            net.remove_address(peer, known)?;
        }
    }
    for replica in service.exchange.all().into_iter().filter(|r| r.has(&peer)) {
        let known = service.volumes.addresses(replica.known.id).into_iter().find(|(p, _)| *p == peer.0);
        let left = known.map(|(_, list)| list).unwrap_or_default();
        let left = left.into_iter().filter(|a| !plain.is_empty() && a != plain).collect();
        service.volumes.remember_addresses(replica.known.id, peer.0, left)?;
    }
    Ok(())
}

/// Ask a peer, by name or peer id, for nothing, and measure how long its answer takes.
pub fn ping(service: &Service, who: &str) -> Result<Pinged> {
    let named = |r: &Arc<Replica>| {
        let me = service.exchange.me();
        r.peers(&me).find(|peer| peer.to_string() == who || r.name_of(peer) == who).map(|peer| (Arc::clone(r), peer))
    };
    let Some((replica, peer)) = service.exchange.all().iter().find_map(named) else {
        let advice = Advice::new("no member of an open volume is called so", "See `lovage peer list`.");
        return Err(Error::new(Kind::NotFound, "ping", who).with_source(advice));
    };
    let away = || {
        let advice =
            Advice::new("it is not connected, or does not answer", "See `lovage peer list` for its addresses.");
        Error::new(Kind::Unreachable, "ping", who).with_source(advice)
    };
    let net = service.exchange.net().ok_or_else(away)?;
    let begin = Instant::now();
    replica.holds.ask(&net, &replica, &peer, &[], false).ok_or_else(away)?;
    let rtt_ms = begin.elapsed().as_secs_f64() * 1000.0;
    let facts = net.peers().into_iter().find(|f| f.peer == peer);
    let transport = facts.and_then(|f| f.transport).map(|t| t.name().to_owned()).unwrap_or_default();
    Ok(Pinged { peer: peer.to_string(), device: replica.name_of(&peer), transport, rtt_ms })
}

fn split(address: &str) -> Result<(&str, Peer)> {
    let advice = || Advice::new("it is no address of a peer", "Write /ip4/10.0.0.5/tcp/4001/p2p/ID.");
    let invalid = || Error::new(Kind::Invalid, "read the address", address).with_source(advice());
    let (plain, id) = address.rsplit_once("/p2p/").ok_or_else(invalid)?;
    Ok((plain, Peer::from_str(id).map_err(|_| invalid())?))
}
