//! `evict`: drop local copies of what enough others keep.

use std::sync::Arc;

use super::super::exchange::{Evicted, evict};
use super::super::service::Service;
use super::Sink;
use super::pin::{id_of, replica};
use crate::base::Result;
use crate::wire::control::{EvictReport, PathArg, Progress};

/// Drop what is at `at` and may go; says what stays and why.
pub fn run(service: &Arc<Service>, at: &PathArg, sink: &mut dyn Sink) -> Result<EvictReport> {
    let place = service.place(at)?;
    let replica = replica(service, &place)?;
    let done = evict(&service.exchange, &replica, id_of(&place)?, &mut |done| {
        sink.progress(Progress { stage: "dropping".into(), done: done.dropped, total: None, bytes: true })
    })?;
    let Evicted { dropped, freed, pinned, unconfirmed, promised } = done;
    let asked = service.exchange.connected(&replica).len() as u64;
    Ok(EvictReport {
        path: place.shown(),
        dropped_bytes: dropped,
        freed_bytes: freed,
        kept_bytes: pinned + unconfirmed + promised,
        pinned_bytes: pinned,
        unconfirmed_bytes: unconfirmed,
        promised_bytes: promised,
        peers: asked,
    })
}
