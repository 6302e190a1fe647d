//! `store gc`: begin to collect a store, or say how far that is.

use std::sync::Arc;
use std::time::Duration;

use super::super::service::Service;
use super::Sink;
use super::store::replica;
use crate::base::{Error, Kind, Result};
use crate::wire::Advice;
use crate::wire::control::{CollectionStatus, Progress};

/// How often a wait looks.
const LOOK: Duration = Duration::from_millis(100);

/// Returns when the store is collected, or when that waits for other devices; the daemon goes on by itself.
/// [`Kind::Unsupported`] if this store cannot be collected, [`Kind::Unreachable`] with what is the matter with it.
pub fn run(
    service: &Arc<Service>,
    volume: &str,
    name: &str,
    take_over: bool,
    sink: &mut dyn Sink,
) -> Result<CollectionStatus> {
    let replica = replica(service, volume)?;
    let refuse = |kind, why: String, next: &str| {
        Err(Error::new(kind, "collect the store", name).with_source(Advice::new(why, next)))
    };
    if !replica.role().writes() {
        let why = "this device may only read".to_owned();
        return refuse(Kind::NotPermitted, why, "Collect it from a device that may write.");
    }
    let stores = service.exchange.stores();
    stores.check_collectable(replica.known.id, name)?;
    let attached = stores.find(replica.known.id, name)?;
    let (failures, asked) = (attached.failures(), attached.collect(take_over));
    loop {
        let (status, answered) = attached.collected(asked);
        if answered {
            return Ok(status);
        }
        if attached.failures() > failures {
            let state = attached.status("").state;
            return refuse(Kind::Unreachable, state, "It is tried again by itself; see `lovage store list`.");
        }
        let stage = if status.state == "sweeping" { "removing" } else { "looking" };
        sink.progress(Progress { stage: stage.into(), done: status.blocks, total: Some(status.of), bytes: false })?;
        std::thread::sleep(LOOK);
    }
}
