//! `status`: what the daemon is and does.

use super::super::exchange::keepers;
use super::super::hosted::Hosted;
use super::super::service::Service;
use super::super::volumes::Known;
use crate::base::{Kind, Result};
use crate::wire::control::{DaemonStatus, HeadStatus, PeerStatus, Status, VolumeStatus};

/// The whole document of `status --json`.
pub fn run(service: &Service, exact: bool) -> Result<Status> {
    let known = service.volumes.list()?;
    let volumes = known.into_iter().map(|known| volume(service, &known, exact)).collect::<Result<_>>()?;
    let (stores, keeps) = (service.exchange.stores().status(), service.exchange.keeps());
    let keeps = keeps.all().iter().map(|kept| kept.status()).collect();
    Ok(Status { daemon: daemon(service), volumes, peers: peers(service), stores, keeps })
}

fn daemon(service: &Service) -> DaemonStatus {
    DaemonStatus {
        pid: std::process::id(),
        home: service.home.root().into(),
        peer_id: service.exchange.me().to_string(),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_s: service.started.elapsed().as_secs(),
        listen: service.exchange.net().map(|net| net.listen_addresses()).unwrap_or_default(),
        sent_bytes: service.exchange.facts().iter().map(|f| f.sent).sum(),
        received_bytes: service.exchange.facts().iter().map(|f| f.received).sum(),
    }
}

/// Every other member of any volume that is open.
fn peers(service: &Service) -> Vec<PeerStatus> {
    let (replicas, keeps) = (service.exchange.all(), service.exchange.keeps().all());
    let shown = service.exchange.facts().into_iter().map(|facts| {
        let shared: Vec<_> = replicas.iter().filter(|r| r.has(&facts.peer)).collect();
        let kept = keeps.iter().find(|kept| kept.has(&facts.peer)).map(|kept| kept.name_of(&facts.peer));
        PeerStatus {
            id: facts.peer.to_string(),
            device: shared.first().map(|r| r.name_of(&facts.peer)).or(kept).unwrap_or_default(),
            addresses: facts.addresses,
            connected: facts.transport.is_some(),
            transport: facts.transport.map(|t| t.name().to_owned()).unwrap_or_default(),
            rtt_ms: facts.rtt.map_or(0.0, |rtt| rtt.as_secs_f64() * 1000.0),
            sent_bytes: facts.sent,
            received_bytes: facts.received,
            volumes: shared.iter().map(|r| r.known.name.clone()).collect(),
        }
    });
    shown.collect()
}

/// One volume; counts are zero while it is closed, and lag by some seconds unless `exact`.
pub fn volume(service: &Service, known: &Known, exact: bool) -> Result<VolumeStatus> {
    let open = service.volumes.if_open(known.id);
    let policy = service.volumes.policy(known).unwrap_or_default(); // one that cannot be read keeps it from being shared
    let mut status = VolumeStatus {
        replicas: policy.replicas.map(|count| count as u64),
        lazy: policy.lazy,
        mounts: service.mounts.points(known.id).into_iter().map(Into::into).collect(),
        id: known.id.to_string(),
        name: known.name.clone(),
        role: "admin".into(),
        open: open.is_some(),
        ..VolumeStatus::default()
    };
    if let Some(open) = open {
        figures(&*open, exact, &mut status)?;
        status.conflicts = open.volume().conflicts()?.len() as u64;
    }
    if let Some(replica) = service.exchange.replica(known.id) {
        status.role = replica.role().name().into();
        status.pins = replica.pins.count() as u64;
        status.keepers = keepers(&replica, &service.exchange);
        status.copies = replica.copies().into();
        for (writer, seq, heard_s_ago) in replica.heads() {
            status.heads.push(HeadStatus { writer, device: replica.writer_name(writer), seq, heard_s_ago });
        }
    }
    Ok(status)
}

/// What is counted of an open volume. To be exact it seals what changed, which takes room: a full disk, which is just
/// what `status` is asked about, gets the counts of the last time.
fn figures(open: &dyn Hosted, exact: bool, status: &mut VolumeStatus) -> Result<()> {
    if exact {
        match open.volume().announce().and_then(|_| open.figures(true, status)) {
            Err(e) if e.kind() == Kind::Full => {}
            told => return told,
        }
    }
    open.figures(false, status)
}
