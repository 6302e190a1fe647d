//! `pin`, `unpin`, `pins`, `get`: what is kept here whole, or brought here once.

use std::sync::Arc;

use super::super::exchange::{Pin, PinState, Replica, follow};
use super::super::place::Place;
use super::super::service::Service;
use super::Sink;
use crate::base::{Error, Kind, NodeId, Result};
use crate::volume::api::ROOT_INO;
use crate::wire::Advice;
use crate::wire::control::{PathArg, PinStatus, Progress};

/// Keep what is at `at` here, `depth` levels deep. Returns at once: the pin is followed from now on.
pub fn add(service: &Arc<Service>, at: &PathArg, depth: Option<u32>) -> Result<PinStatus> {
    let place = service.place(at)?;
    let pin = Pin { id: id_of(&place)?, depth };
    replica(service, &place)?.pins.add(pin)?;
    Ok(shown(place.shown(), &pin, PinState::default()))
}

/// Keep it no longer; what is here stays until it is evicted.
pub fn remove(service: &Arc<Service>, at: &PathArg) -> Result<bool> {
    let place = service.place(at)?;
    replica(service, &place)?.pins.remove(id_of(&place)?)
}

/// Every pin of every open volume, and how far it is.
pub fn list(service: &Service) -> Vec<PinStatus> {
    let all = service.exchange.all();
    let pins = all.iter().flat_map(|replica| {
        let path = |pin: &Pin| format!("{}:{}", replica.known.name, replica.volume.path_shown(pin.id));
        replica.pins.list().into_iter().map(move |(pin, state)| shown(path(&pin), &pin, state)).collect::<Vec<_>>()
    });
    pins.collect()
}

/// Bring content here once. [`Kind::Unreachable`] if some of it cannot be had now.
pub fn get(service: &Arc<Service>, at: &PathArg, sink: &mut dyn Sink) -> Result<PinStatus> {
    let place = service.place(at)?;
    let pin = Pin { id: id_of(&place)?, depth: None };
    let state = follow(place.volume.volume(), &service.exchange, &pin, &|| true, &mut |state| {
        let done = state.bytes.saturating_sub(state.missing);
        sink.progress(Progress { stage: "fetching".into(), done, total: None, bytes: true })
    })?;
    if state.complete {
        return Ok(shown(place.shown(), &pin, state));
    }
    let advice = Advice::new(
        format!("{} bytes of it are nowhere to be had at the moment", state.missing),
        "See `lovage status` for the devices and stores that can be reached.",
    );
    Err(Error::new(Kind::Unreachable, "get", place.shown()).with_source(advice))
}

pub(super) fn replica(service: &Arc<Service>, place: &Place) -> Result<Arc<Replica>> {
    if service.exchange.replica(place.known.id).is_none() {
        service.volumes.membership(&place.known)?; // a volume that is not shared yet can be pinned all the same
    }
    let closed = || Error::new(Kind::NotFound, "pin", place.shown());
    service.exchange.replica(place.known.id).ok_or_else(closed)
}

pub(super) fn id_of(place: &Place) -> Result<NodeId> {
    let node = place.node()?;
    if node.ino == ROOT_INO {
        return Ok(NodeId::ROOT);
    }
    let text = node.text_attribute("lovage.id").unwrap_or_default();
    NodeId::from_hex(&text).ok_or_else(|| Error::new(Kind::Unsupported, "pin", place.shown()))
}

fn shown(path: String, pin: &Pin, state: PinState) -> PinStatus {
    let PinState { complete, bytes, missing } = state;
    PinStatus { path, id: pin.id.to_string(), depth: pin.depth, complete, bytes, missing_bytes: missing }
}
