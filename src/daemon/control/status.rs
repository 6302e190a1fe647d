//! `status`: what the daemon is and does.

use super::super::service::Service;
use super::super::volumes::Known;
use crate::base::Result;
use crate::wire::control::{DaemonStatus, Status, VolumeStatus};

/// The whole document of `status --json`.
pub fn run(service: &Service, exact: bool) -> Result<Status> {
    let known = service.volumes.list()?;
    let volumes = known.into_iter().map(|known| volume(service, known, exact)).collect::<Result<_>>()?;
    Ok(Status { daemon: daemon(service), volumes, peers: Vec::new(), stores: Vec::new() })
}

fn daemon(service: &Service) -> DaemonStatus {
    DaemonStatus {
        pid: std::process::id(),
        home: service.home.root().into(),
        peer_id: service.volumes.device_id(),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_s: service.started.elapsed().as_secs(),
        listen: Vec::new(),
        sent_bytes: 0,
        received_bytes: 0,
    }
}

/// One volume; counts are zero while it is closed, and lag by some seconds unless `exact`.
pub fn volume(service: &Service, known: Known, exact: bool) -> Result<VolumeStatus> {
    let open = service.volumes.if_open(known.id);
    let mut status = VolumeStatus {
        mounts: service.mounts.points(known.id).into_iter().map(Into::into).collect(),
        id: known.id.to_string(),
        name: known.name,
        role: "admin".into(),
        open: open.is_some(),
        ..VolumeStatus::default()
    };
    if let Some(open) = open {
        open.figures(exact, &mut status)?;
    }
    Ok(status)
}
