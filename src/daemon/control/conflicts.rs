//! `conflicts` and `resolve`: what several devices' changes left for a person to look at.

use std::fs::File;
use std::io::Read;
use std::sync::Arc;

use super::super::place::Place;
use super::super::service::Service;
use super::super::volumes::Known;
use super::Sink;
use crate::base::{Context, Error, Kind, Result};
use crate::causal::Dot;
use crate::volume::api::{Ino, SetAttr, SetTime};
use crate::volume::{Conflict, FileSystem, Volume};
use crate::wire::control::{ConflictStatus, PathArg, VersionStatus};
use crate::wire::{Advice, RawPath};

/// Bytes read and sent at once.
const PIECE: u32 = 256 << 10;

/// The conflicts of one volume, or of every volume.
pub fn list(service: &Arc<Service>, volume: Option<&str>) -> Result<Vec<ConflictStatus>> {
    let mut all = Vec::new();
    for known in service.volumes.named_or_all(volume)? {
        let found = service.volumes.open(&known)?.volume().conflicts()?;
        all.extend(found.iter().map(|conflict| shown(service, &known, conflict)));
    }
    Ok(all)
}

/// The conflict that shows at a path.
fn at(place: &Place) -> Result<Conflict> {
    let path = place.path.display().to_string();
    let found = place.volume.volume().conflicts()?.into_iter().find(|c| c.paths.contains(&path));
    found.ok_or_else(|| refused(place, Kind::NotFound, "it has only one version"))
}

fn refused(place: &Place, kind: Kind, why: &str) -> Error {
    let see = format!("See `lovage conflicts {}`.", place.known.name);
    Error::new(kind, "resolve", place.shown()).with_source(Advice::new(why, see))
}

/// The conflict at a path.
pub fn one(service: &Arc<Service>, at: &PathArg) -> Result<ConflictStatus> {
    let place = service.place(at)?;
    Ok(shown(service, &place.known, &self::at(&place)?))
}

/// Keep the version called `keep` of the file at `at`; the others go.
pub fn resolve(service: &Arc<Service>, at: &PathArg, keep: &str) -> Result<()> {
    let place = service.place(at)?;
    let conflict = self::at(&place)?;
    let dot = conflict.versions.iter().map(|v| v.dot).find(|dot| name(*dot) == keep);
    let dot = dot.ok_or_else(|| refused(&place, Kind::NotFound, "there is no such version"))?;
    place.volume.volume().resolve_conflict(conflict.node, dot)
}

/// Send one version of the file at `at`, or the common base.
pub fn version(service: &Arc<Service>, at: &PathArg, id: &str, sink: &mut dyn Sink) -> Result<()> {
    let place = service.place(at)?;
    let conflict = self::at(&place)?;
    let volume = place.volume.volume();
    let base = conflict.base.filter(|base| name(base.dot) == id);
    let dot = conflict.versions.iter().map(|v| v.dot).find(|dot| name(*dot) == id);
    if base.is_none() && dot.is_none() {
        return Err(refused(&place, Kind::NotFound, "there is no such version"));
    }
    let mut offset = 0;
    loop {
        let bytes = match dot {
            Some(dot) => volume.read_version(conflict.node, dot, offset, PIECE)?,
            None => volume.read_base(conflict.node, offset, PIECE)?,
        };
        if bytes.is_empty() {
            return Ok(());
        }
        offset += bytes.len() as u64;
        sink.data(bytes)?;
    }
}

/// Write what a person made of `versions` into the file at `at`; they go once it is durable. [`Kind::Busy`] if there
/// are others by now.
pub fn resolve_merged(service: &Arc<Service>, at: &PathArg, merged: &RawPath, versions: &[String]) -> Result<()> {
    let place = service.place(at)?;
    let conflict = self::at(&place)?;
    let mut now: Vec<String> = conflict.versions.iter().map(|v| name(v.dot)).collect();
    let mut then = versions.to_vec();
    now.sort();
    then.sort();
    if now != then {
        return Err(refused(&place, Kind::Busy, "its versions changed while they were merged"));
    }
    let volume = place.volume.volume();
    let mut from = File::open(merged.as_path()).io("read what was merged", || merged.to_string())?;
    let ino = volume.number_of(conflict.node)?;
    write_over(volume, ino, &mut from)?;
    let after = volume.conflicts()?.into_iter().find(|c| c.node == conflict.node);
    let old = |dot: &Dot| conflict.versions.iter().any(|v| v.dot == *dot);
    let new = after.iter().flat_map(|c| &c.versions).map(|v| v.dot).find(|dot| !old(dot));
    match new {
        Some(dot) => volume.resolve_conflict(conflict.node, dot),
        // It was equal to one of them, and so is the one that shows.
        None => after.map_or(Ok(()), |c| c.versions.first().map_or(Ok(()), |v| volume.resolve_conflict(c.node, v.dot))),
    }
}

fn write_over(volume: &Arc<Volume>, ino: Ino, from: &mut File) -> Result<()> {
    let fh = volume.open(ino, true, true)?;
    let mut copy = || {
        let (mut buffer, mut offset) = (vec![0; PIECE as usize], 0);
        loop {
            let read = from.read(&mut buffer).io("read what was merged", String::new)?;
            if read == 0 {
                let now = SetAttr { mtime: Some(SetTime::Now), ..SetAttr::default() };
                return volume.setattr(ino, &now).map(drop);
            }
            volume.write(ino, offset, buffer.get(..read).unwrap_or_default())?;
            offset += read as u64;
        }
    };
    let copied = copy();
    let released = volume.release(fh);
    copied.and(released)?;
    volume.sync_all()
}

fn shown(service: &Service, known: &Known, conflict: &Conflict) -> ConflictStatus {
    let replica = service.exchange.replica(known.id);
    let device = |writer| replica.as_ref().map_or_else(|| format!("device {writer}"), |r| r.writer_name(writer));
    let me = replica.as_ref().and_then(|r| r.own_writer());
    let versions = conflict.versions.iter().enumerate().map(|(n, version)| VersionStatus {
        id: name(version.dot),
        path: conflict.paths.get(n).cloned().unwrap_or_default(),
        device: device(version.dot.writer),
        time_ns: version.written.0,
        size: version.size,
        this: me == Some(version.dot.writer),
    });
    ConflictStatus {
        volume: known.name.clone(),
        path: conflict.paths.first().cloned().unwrap_or_default(),
        paths: conflict.paths.clone(),
        versions: versions.collect(),
        base: conflict.base.map(|base| name(base.dot)),
    }
}

/// How people name a version: its writer and number.
fn name(dot: Dot) -> String {
    format!("{}.{}", dot.writer, dot.seq)
}
