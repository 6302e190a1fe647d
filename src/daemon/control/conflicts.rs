//! `conflicts` and `resolve`: what several devices' changes left for a person to look at.

use std::sync::Arc;

use super::super::service::Service;
use super::super::volumes::Known;
use crate::base::{Error, Kind, Result};
use crate::causal::Dot;
use crate::volume::Conflict;
use crate::wire::Advice;
use crate::wire::control::{ConflictStatus, PathArg, VersionStatus};

/// The conflicts of one volume, or of every volume.
pub fn list(service: &Arc<Service>, volume: Option<&str>) -> Result<Vec<ConflictStatus>> {
    let mut all = Vec::new();
    for known in service.volumes.named_or_all(volume)? {
        let found = service.volumes.open(&known)?.volume().conflicts()?;
        all.extend(found.iter().map(|conflict| shown(service, &known, conflict)));
    }
    Ok(all)
}

/// Keep the version called `keep` of the file at `at`; the others go.
pub fn resolve(service: &Arc<Service>, at: &PathArg, keep: &str) -> Result<()> {
    let place = service.place(at)?;
    let volume = place.volume.volume();
    let path = place.path.display().to_string();
    let refuse = |kind, why: &str, next: String| {
        Err(Error::new(kind, "resolve", place.shown()).with_source(Advice::new(why, next)))
    };
    let see = format!("See `lovage conflicts {}`.", place.known.name);
    let found = volume.conflicts()?.into_iter().find(|c| c.paths.contains(&path));
    let Some(conflict) = found else { return refuse(Kind::NotFound, "it has only one version", see) };
    let Some(dot) = conflict.versions.iter().map(|v| v.dot).find(|dot| name(*dot) == keep) else {
        return refuse(Kind::NotFound, "there is no such version", see);
    };
    volume.resolve_conflict(conflict.node, dot)
}

fn shown(service: &Service, known: &Known, conflict: &Conflict) -> ConflictStatus {
    let replica = service.exchange.replica(known.id);
    let device = |writer| replica.as_ref().map_or_else(|| format!("device {writer}"), |r| r.writer_name(writer));
    let versions = conflict.versions.iter().enumerate().map(|(n, version)| VersionStatus {
        id: name(version.dot),
        path: conflict.paths.get(n).cloned().unwrap_or_default(),
        device: device(version.dot.writer),
        time_ns: version.written.0,
        size: version.size,
    });
    ConflictStatus {
        volume: known.name.clone(),
        path: conflict.paths.first().cloned().unwrap_or_default(),
        paths: conflict.paths.clone(),
        versions: versions.collect(),
        base: None,
    }
}

/// How people name a version: its writer and number.
fn name(dot: Dot) -> String {
    format!("{}.{}", dot.writer, dot.seq)
}
