//! `status`: what the daemon is and does.

use super::super::service::Service;
use crate::base::Result;
use crate::wire::control::{DaemonStatus, Status};

/// The whole document of `status --json`.
pub fn run(service: &Service) -> Result<Status> {
    Ok(Status { daemon: daemon(service), volumes: Vec::new(), peers: Vec::new(), stores: Vec::new() })
}

fn daemon(service: &Service) -> DaemonStatus {
    DaemonStatus {
        pid: std::process::id(),
        home: service.home.root().into(),
        peer_id: String::new(),
        version: env!("CARGO_PKG_VERSION").into(),
        uptime_s: service.started.elapsed().as_secs(),
        listen: Vec::new(),
        sent_bytes: 0,
        received_bytes: 0,
    }
}
