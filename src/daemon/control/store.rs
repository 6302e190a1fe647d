//! `store` and `push`: where else a volume's blocks are.

use std::sync::Arc;
use std::time::Duration;

use super::super::exchange::Replica;
use super::super::service::Service;
use super::super::stores::Attached;
use super::Sink;
use super::pin::id_of;
use crate::base::{Error, Kind, Result};
use crate::kv::Location;
use crate::kv::moving::{self, Moved};
use crate::wire::Advice;
use crate::wire::control::{PathArg, Progress, StoreMoved, StoreStatus};

/// How often a wait looks, and how many looks without any progress end it.
const LOOK: Duration = Duration::from_millis(100);
const PATIENCE: u32 = 600;

/// Attach a store.
pub fn add(service: &Arc<Service>, volume: &str, name: &str, url: &str) -> Result<StoreStatus> {
    let replica = replica(service, volume)?;
    if let Some(path) = Location::parse(url).ok().and_then(|location| location.path())
        && service.mounts.containing(path).is_some()
    {
        let advice =
            Advice::new("it lies in a mounted volume", "Choose a folder outside: a store in itself grows without end.");
        return Err(Error::new(Kind::Invalid, "add the store", name).with_source(advice));
    }
    service.exchange.stores().add(&replica, &service.exchange, name, url)?;
    Ok(service.exchange.stores().find(replica.known.id, name)?.status(&replica.known.name))
}

/// Change what is asked of one: `limit` in bytes a second, 0 for none.
pub fn set(
    service: &Arc<Service>,
    volume: &str,
    name: &str,
    limit: Option<u64>,
    before_fsync: Option<bool>,
) -> Result<StoreStatus> {
    let replica = replica(service, volume)?;
    let stores = service.exchange.stores();
    stores.set(replica.known.id, name, |rules| {
        rules.limit = limit.map_or(rules.limit, |limit| (limit > 0).then_some(limit));
        rules.before_fsync = before_fsync.unwrap_or(rules.before_fsync);
    })?;
    Ok(stores.find(replica.known.id, name)?.status(&replica.known.name))
}

/// Detach one.
pub fn remove(service: &Arc<Service>, volume: &str, name: &str, force: bool) -> Result<bool> {
    let replica = replica(service, volume)?;
    if !force {
        spare(service, &replica, name)?;
    }
    service.exchange.stores().remove(replica.known.id, name).map(|()| true)
}

/// [`Kind::NotPermitted`] if a store has blocks that are neither here nor in another store, or cannot be looked into.
fn spare(service: &Arc<Service>, replica: &Replica, name: &str) -> Result<()> {
    let stores = service.exchange.stores();
    let refuse = |why: String, next: &str| {
        Err(Error::new(Kind::NotPermitted, "detach the store", name).with_source(Advice::new(why, next)))
    };
    if !stores.list(replica.known.id)?.iter().any(|entry| entry.name == name) {
        return Ok(()); // told by who detaches it
    }
    let only = stores.find(replica.known.id, name).and_then(|attached| stores.run(stores.only_in(replica, &attached)));
    match only {
        Ok(0) => Ok(()),
        Ok(only) => refuse(
            format!("{only} blocks are in no other store, nor here"),
            "Copy them with `lovage store sync THIS OTHER`, or bring them here with `lovage get`; --force detaches it all the same.",
        ),
        Err(e) => {
            refuse(format!("what only it has cannot be told: {}", e.chain()), "Use --force to detach it all the same.")
        }
    }
}

/// Look at it now. [`Kind::Unreachable`] with what it says if it does not do.
pub fn test(service: &Arc<Service>, volume: &str, name: &str) -> Result<StoreStatus> {
    let replica = replica(service, volume)?;
    let attached = service.exchange.stores().find(replica.known.id, name)?;
    settle(&attached, &mut |_| Ok(()))?;
    Ok(attached.status(&replica.known.name))
}

/// Wait until every store of a volume has everything.
pub fn sync(service: &Arc<Service>, volume: &str, sink: &mut dyn Sink) -> Result<Vec<StoreStatus>> {
    let replica = replica(service, volume)?;
    let stores = service.exchange.stores();
    let mut all = Vec::new();
    for entry in stores.list(replica.known.id)? {
        let attached = stores.find(replica.known.id, &entry.name)?;
        settle(&attached, &mut |progress| sink.progress(progress))?;
        all.push(attached.status(&replica.known.name));
    }
    Ok(all)
}

/// Copy what one store has and another lacks.
pub fn copy(service: &Arc<Service>, volume: &str, (from, to): (&str, &str), sink: &mut dyn Sink) -> Result<StoreMoved> {
    let replica = replica(service, volume)?;
    let stores = service.exchange.stores();
    let (from, to) = (stores.find(replica.known.id, from)?, stores.find(replica.known.id, to)?);
    let moved = stores.run(moving::copy(from.store.kv(), to.store.kv(), &mut telling("copying", sink)))?;
    Ok(told(&moved, 0))
}

/// Read and verify every block of a store; with `repair`, put the right bytes where wrong ones are.
pub fn check(
    service: &Arc<Service>,
    volume: &str,
    name: &str,
    repair: bool,
    sink: &mut dyn Sink,
) -> Result<StoreMoved> {
    let replica = replica(service, volume)?;
    let stores = service.exchange.stores();
    let attached = stores.find(replica.known.id, name)?;
    stores.run(attached.is_ours(replica.known.id))?;
    attached.doubt();
    let moved = stores.run(moving::scrub(attached.store.kv(), &mut telling("reading", sink)))?;
    let mut repaired = 0;
    for bid in moved.bad.iter().filter(|_| repair) {
        match stores.mend(&replica, &attached, bid) {
            Ok(()) => repaired += 1,
            Err(e) => tracing::warn!(store = name, block = %bid, error = %e.chain(), "could not repair"),
        }
    }
    Ok(told(&moved, repaired))
}

fn told(moved: &Moved, repaired: u64) -> StoreMoved {
    let bad = moved.bad.len() as u64;
    StoreMoved { checked: moved.looked, read: moved.read, bytes: moved.bytes, bad, repaired }
}

fn telling<'s>(stage: &'static str, sink: &'s mut dyn Sink) -> impl FnMut(&Moved) -> Result<()> + 's {
    move |moved| sink.progress(Progress { stage: stage.into(), done: moved.bytes, total: None, bytes: true })
}

/// Everything a path's volume has here goes to the store now, what is below the path brought here first.
pub fn push(service: &Arc<Service>, at: &PathArg, store: &str, sink: &mut dyn Sink) -> Result<StoreStatus> {
    let place = service.place(at)?;
    let id = id_of(&place)?;
    let replica = replica(service, &place.known.name)?;
    let ino = replica.volume.number_of(id)?;
    let attached = service.exchange.stores().find(replica.known.id, store)?;
    let blocks = replica.volume.blocks();
    replica.volume.content_blocks(ino, usize::MAX, &mut |t, level, r, here| {
        if !here {
            blocks.get_uncached(t, level, r)?;
        }
        Ok(true)
    })?;
    settle(&attached, &mut |progress| sink.progress(progress))?;
    Ok(attached.status(&replica.known.name))
}

pub(super) fn replica(service: &Arc<Service>, volume: &str) -> Result<Arc<Replica>> {
    let known = service.volumes.find(volume)?;
    service.volumes.open(&known)?;
    service.volumes.membership(&known)?;
    let closed = || Error::new(Kind::Other, "open the volume", &known.name);
    service.exchange.replica(known.id).ok_or_else(closed)
}

/// Wait until the store has what is here.
fn settle(attached: &Attached, report: &mut dyn FnMut(Progress) -> Result<()>) -> Result<()> {
    let (failures, begun) = (attached.failures(), attached.ring());
    let patience = if attached.is_limited() { 10 * PATIENCE } else { PATIENCE };
    let (mut last, mut still) = (0, 0);
    while !attached.is_settled_after(begun) {
        let status = attached.status("");
        if attached.failures() > failures || still > patience {
            let next = match &status.state {
                state if state.contains("its mark is gone") => {
                    "Plug it in. If it was emptied for good, `lovage store remove` and `add` it again."
                }
                state if state.contains("Denied") || state.contains("denied") => {
                    "Check the credentials in the daemon's environment or the service's files."
                }
                state if state.contains("No space left") => "Make room there, or detach it with `lovage store remove`.",
                _ => "It is tried again by itself; see `lovage status`.",
            };
            let advice = Advice::new(status.state, next);
            return Err(Error::new(Kind::Unreachable, "bring the store up to date", &attached.name).with_source(advice));
        }
        still = if last == status.stored_bytes { still + 1 } else { 0 };
        last = status.stored_bytes;
        let total = Some(status.stored_bytes.saturating_add(status.queue_bytes));
        report(Progress { stage: "storing".into(), done: status.stored_bytes, total, bytes: true })?;
        std::thread::sleep(LOOK);
    }
    Ok(())
}
