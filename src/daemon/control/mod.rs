//! The requests of the control socket: one file each, one arm here.

mod cat;
mod conflicts;
mod du;
mod evict;
mod explain;
mod fsck;
mod gc;
mod hash;
mod invite;
mod join;
mod keep;
mod list;
mod log_level;
mod members;
mod metrics;
mod mount;
mod peer;
mod pin;
mod stat;
mod status;
mod store;
mod store_gc;
mod unmount;
mod volume_create;
mod volume_forget;
mod volume_list;
mod volume_set;
mod volume_show;

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

pub(super) use status::run as status;

use super::service::Service;
use crate::base::{Error, Kind, Result};
use crate::wire::Failure;
use crate::wire::control::{Progress, Request};

/// Where a request reports while it works. An error means that nobody listens any more: stop.
pub trait Sink {
    /// How far the work is.
    fn progress(&mut self, progress: Progress) -> Result<()>;
    /// One element of a list.
    fn part(&mut self, part: Value) -> Result<()>;
    /// Bytes of a file.
    fn data(&mut self, bytes: Vec<u8>) -> Result<()>;
}

/// Answer one request.
pub fn answer(service: &Arc<Service>, request: Request, sink: &mut dyn Sink) -> std::result::Result<Value, Failure> {
    Ok(match request {
        Request::Status { exact } => document(&status::run(service, exact)?)?,
        Request::Mount { volume, dir, read_only, allow_other } => {
            document(&mount::run(service, volume, &dir, read_only, allow_other)?)?
        }
        Request::Unmount { dir } => document(&unmount::run(service, &dir)?)?,
        Request::VolumeCreate { name, dedup, chunking } => {
            document(&volume_create::run(service, &name, dedup, chunking)?)?
        }
        Request::VolumeList => document(&volume_list::run(service)?)?,
        Request::VolumeShow { name } => document(&volume_show::run(service, &name)?)?,
        Request::VolumeSet { name, replicas, lazy } => document(&volume_set::run(service, &name, replicas, lazy)?)?,
        Request::VolumeForget { name, force } => document(&volume_forget::run(service, &name, force)?)?,
        Request::List { at } => document(&list::run(service, &at, sink)?)?,
        Request::Stat { at } => document(&stat::run(service, &at)?)?,
        Request::Cat { at } => document(&cat::run(service, &at, sink)?)?,
        Request::DiskUsage { at } => document(&du::run(service, &at)?)?,
        Request::Hash { volume, files } => document(&hash::run(service, &volume, &files, sink)?)?,
        Request::Gc { volume, dry_run } => document(&gc::run(service, volume.as_deref(), dry_run, sink)?)?,
        Request::Fsck { volume, repair, read_data } => {
            document(&fsck::run(service, volume.as_deref(), repair, read_data, sink)?)?
        }
        Request::Invite { volume, role, seconds, via } => {
            document(&invite::run(service, &volume, &role, seconds, via.as_deref())?)?
        }
        Request::Join { link, mount, quota } => document(&join::run(service, &link, mount, quota)?)?,
        Request::Members { volume } => document(&members::list(service, &volume)?)?,
        Request::MemberRemove { volume, device, force } => {
            document(&members::remove(service, &volume, &device, force)?)?
        }
        Request::MemberRole { volume, device, role } => document(&members::role(service, &volume, &device, &role)?)?,
        Request::MemberCopies { volume, copies } => document(&members::copies(service, &volume, copies)?)?,
        Request::Pin { at, depth } => document(&pin::add(service, &at, depth)?)?,
        Request::Unpin { at } => document(&pin::remove(service, &at)?)?,
        Request::Pins => document(&pin::list(service))?,
        Request::Get { at } => document(&pin::get(service, &at, sink)?)?,
        Request::Evict { at } => document(&evict::run(service, &at, sink)?)?,
        Request::Explain { at } => document(&explain::run(service, &at)?)?,
        Request::PeerPing { peer } => document(&peer::ping(service, &peer)?)?,
        Request::Conflicts { volume } => document(&conflicts::list(service, volume.as_deref())?)?,
        Request::Resolve { at, keep } => document(&conflicts::resolve(service, &at, &keep)?)?,
        Request::Conflict { at } => document(&conflicts::one(service, &at)?)?,
        Request::Version { at, id } => document(&conflicts::version(service, &at, &id, sink)?)?,
        Request::ResolveMerged { at, merged, versions } => {
            document(&conflicts::resolve_merged(service, &at, &merged, &versions)?)?
        }
        Request::PeerAdd { address } => document(&peer::add(service, &address)?)?,
        Request::PeerRemove { address } => document(&peer::remove(service, &address)?)?,
        Request::StoreAdd { volume, name, url } => document(&store::add(service, &volume, &name, &url)?)?,
        Request::StoreRemove { volume, name, force } => document(&store::remove(service, &volume, &name, force)?)?,
        Request::KeepList => document(&keep::list(service)?)?,
        Request::KeepSet { name, quota } => document(&keep::set(service, &name, quota)?)?,
        Request::KeepGc { name } => document(&keep::collect(service, &name)?)?,
        Request::KeepDrop { name } => document(&keep::remove(service, &name)?)?,
        Request::StoreSet { volume, name, limit, before_fsync } => {
            document(&store::set(service, &volume, &name, limit, before_fsync)?)?
        }
        Request::StoreTest { volume, name } => document(&store::test(service, &volume, &name)?)?,
        Request::StoreSync { volume } => document(&store::sync(service, &volume, sink)?)?,
        Request::StoreCopy { volume, from, to } => document(&store::copy(service, &volume, (&from, &to), sink)?)?,
        Request::StoreCheck { volume, name, repair } => {
            document(&store::check(service, &volume, &name, repair, sink)?)?
        }
        Request::StoreGc { volume, name, take_over } => {
            document(&store_gc::run(service, &volume, &name, take_over, sink)?)?
        }
        Request::Push { at, store } => document(&store::push(service, &at, &store, sink)?)?,
        Request::LogLevel { directives } => document(&log_level::run(service, directives.as_deref())?)?,
        Request::Metrics => document(&metrics::run(service)?)?,
    })
}

/// An answer as a JSON document.
fn document<T: Serialize>(answer: &T) -> Result<Value> {
    serde_json::to_value(answer).map_err(|e| Error::new(Kind::Other, "answer", "").with_source(e))
}
