//! The mounts this process serves, and those a killed one left behind.
//!
//! Must never forget a write: unmounting flushes first, and detaches by force only when the daemon ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::home::{Home, replace_file};
use super::hosted::Hosted;
use super::volumes::Known;
use crate::base::sync::Mutex;
use crate::base::{Context, Error, Kind, Result, VolumeId};
use crate::fuse::{self, Unmount};
use crate::volume::{FileSystem, Invalidate};
use crate::wire::{Advice, RawPath};

/// What to mount where.
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// Name of the volume.
    pub volume: String,
    /// The mountpoint.
    pub dir: PathBuf,
    /// Refuse writes.
    pub read_only: bool,
    /// Let other users in.
    pub allow_other: bool,
}

/// The mounts of one daemon.
#[derive(Debug)]
pub struct Mounts {
    home: Home,
    active: Mutex<Vec<Active>>,
}

#[derive(Debug, Clone)]
struct Active {
    known: Known,
    point: PathBuf,
    mounted: Arc<fuse::Mounted>,
}

impl Mounts {
    /// None yet; what a killed daemon of this home left is cleared away.
    pub fn new(home: Home) -> Self {
        for point in recorded(&home) {
            match fuse::clear_stale(&point) {
                Ok(true) => {
                    tracing::info!(dir = %point.display(), "cleared away the mount of a daemon that was killed");
                }
                Ok(false) => {}
                Err(error) => tracing::debug!(error = %error.chain(), "left a recorded mount alone"),
            }
        }
        Self { home, active: Mutex::new(Vec::new()) }
    }

    /// Mount `volume`, shown as `files`. When this returns the mount works; `ended` runs once it is gone, however that came.
    pub fn add(
        &self,
        known: &Known,
        volume: &Arc<dyn Hosted>,
        files: Arc<dyn FileSystem>,
        options: &MountOptions,
        ended: impl FnOnce() + Send + 'static,
    ) -> Result<PathBuf> {
        if let Some(other) = self.points(known.id).first() {
            let next = format!("Use it there, or unmount it first: lovage unmount {}", other.display());
            let advice = Advice::new(format!("the volume {} is mounted on {}", known.name, other.display()), next);
            return Err(Error::new(Kind::Busy, "mount", options.dir.display().to_string()).with_source(advice));
        }
        let how = fuse::MountOptions {
            read_only: options.read_only,
            allow_other: options.allow_other,
            acl: true,
            // A full disk is told of by the write itself, other late failures by fsync (docs/semantics.md).
            tell_closes: false,
            // A read that waits for another device must hold up nobody else, and end with its caller.
            pooled_reads: volume.volume().is_shared(),
            ..fuse::MountOptions::default()
        };
        let mounted = Arc::new(fuse::mount(files, &options.dir, &how).map_err(|e| explain(&options.dir, e))?);
        let cache: Arc<dyn Invalidate> = mounted.kernel_cache();
        volume.attach(&cache);
        let point = mounted.point().to_owned();
        let active = Active { known: known.clone(), point: point.clone(), mounted: Arc::clone(&mounted) };
        self.active.lock().push(active);
        self.record();
        let watch = std::thread::Builder::new().name("mount-end".into());
        let watched = watch.spawn(move || {
            mounted.wait();
            drop(mounted);
            ended();
        });
        watched.io("watch the mount", || point.display().to_string())?;
        Ok(point)
    }

    /// Where a volume is mounted.
    pub fn points(&self, id: VolumeId) -> Vec<PathBuf> {
        self.active.lock().iter().filter(|a| a.known.id == id).map(|a| a.point.clone()).collect()
    }

    /// The mount that `path` lies in, and the rest of the path.
    pub fn containing(&self, path: &Path) -> Option<(Known, PathBuf)> {
        let active = self.active.lock();
        let deepest = active.iter().filter(|a| path.starts_with(&a.point)).max_by_key(|a| a.point.as_os_str().len())?;
        Some((deepest.known.clone(), path.strip_prefix(&deepest.point).ok()?.to_owned()))
    }

    /// Whether nothing is mounted.
    pub fn is_empty(&self) -> bool {
        self.active.lock().is_empty()
    }

    /// Flush and unmount one. [`Kind::Busy`] while files are open in it.
    pub fn remove(&self, dir: &Path) -> Result<Known> {
        let found = self.active.lock().iter().find(|a| a.point == dir).cloned();
        let Some(active) = found else {
            let advice = Advice::new("this daemon has nothing mounted there", "See `lovage status` for its mounts.");
            return Err(Error::new(Kind::NotFound, "unmount", dir.display().to_string()).with_source(advice));
        };
        active.mounted.unmount(Unmount::IfIdle).map_err(|e| explain_busy(dir, e))?;
        self.prune();
        Ok(active.known)
    }

    /// Drop the mounts that have ended.
    pub fn prune(&self) {
        let ended: Vec<_> = self.active.lock().extract_if(.., |a| a.mounted.has_ended()).collect();
        if !ended.is_empty() {
            self.record();
        }
    }

    /// Unmount everything for good: in order where nothing is open, else flushed and detached.
    pub fn end(&self) {
        let all: Vec<_> = std::mem::take(&mut *self.active.lock());
        for active in all {
            if let Err(error) = active.mounted.unmount(Unmount::IfIdle) {
                tracing::warn!(error = %error.chain(), "in use: flushing and detaching");
                flush(&active.point);
                if let Err(error) = active.mounted.unmount(Unmount::Detach) {
                    tracing::warn!(error = %error.chain(), "could not unmount");
                }
            }
        }
        self.record();
    }

    /// Remember the mounts for whoever has to clean up after a kill. Not worth failing for.
    fn record(&self) {
        let points: Vec<_> = self.active.lock().iter().map(|a| RawPath::from(a.point.as_path())).collect();
        let written = serde_json::to_vec(&points).map(|text| replace_file(&self.home.mounts(), &text));
        if !matches!(written, Ok(Ok(()))) {
            tracing::warn!("could not record the mounts");
        }
    }
}

fn recorded(home: &Home) -> Vec<PathBuf> {
    let text = fs::read(home.mounts()).unwrap_or_default();
    let points: Vec<RawPath> = serde_json::from_slice(&text).unwrap_or_default();
    points.into_iter().map(|p| p.as_path().to_owned()).collect()
}

/// Push the kernel's dirty pages down to us.
fn flush(point: &Path) {
    let synced = fs::File::open(point).and_then(|dir| rustix::fs::syncfs(&dir).map_err(Into::into));
    if let Err(error) = synced {
        tracing::warn!(%error, dir = %point.display(), "could not flush");
    }
}

fn explain_busy(dir: &Path, error: Error) -> Error {
    if error.kind() != Kind::Busy {
        return error;
    }
    let next = format!("Close what uses it (fuser -vm {}) and try again.", dir.display());
    Error::new(Kind::Busy, "unmount", dir.display().to_string()).with_source(Advice::new("files in it are open", next))
}

/// The mountpoint's problems, each with what to do.
fn explain(dir: &Path, error: Error) -> Error {
    let shown = dir.display();
    let next = match error.kind() {
        Kind::NotFound if error.subject().contains("fuse") => {
            "Install fuse3 (apt install fuse3) or load the kernel module (modprobe fuse); in a container pass --device /dev/fuse."
                .to_owned()
        }
        Kind::NotFound => format!("Create it: mkdir -p {shown}"),
        Kind::NotEmpty => "Give an empty directory.".to_owned(),
        Kind::NotDirectory => "Give a directory.".to_owned(),
        Kind::Busy => format!("Unmount it first (lovage unmount {shown}), or choose another directory."),
        Kind::Denied | Kind::NotPermitted => {
            "Check that you own the directory and may use /dev/fuse (and user_allow_other in /etc/fuse.conf for --allow-other)."
                .to_owned()
        }
        _ => return error,
    };
    let source = std::error::Error::source(&error).map_or_else(|| error.kind().words().to_owned(), ToString::to_string);
    let about_dir = error.subject().ends_with(dir.file_name().and_then(|n| n.to_str()).unwrap_or("/"));
    let source = if about_dir { source } else { format!("{}: {source}", error.subject()) };
    Error::new(error.kind(), "mount", shown.to_string()).with_source(Advice::new(source, next))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_not_mounted_cannot_be_unmounted() {
        let dir = tempfile::tempdir().unwrap();
        let mounts = Mounts::new(Home::at(dir.path()).unwrap());
        assert_eq!(mounts.remove(dir.path()).unwrap_err().kind(), Kind::NotFound);
        assert!(mounts.is_empty() && mounts.containing(dir.path()).is_none());
    }

    #[test]
    fn a_record_of_mounts_that_are_gone_or_garbled_is_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path()).unwrap();
        for text in ["[\"/nonexistent\"]", "nonsense", ""] {
            fs::write(home.mounts(), text).unwrap();
            assert!(Mounts::new(home.clone()).is_empty());
        }
    }

    #[test]
    fn every_refusal_of_a_mountpoint_says_what_to_do() {
        for kind in [Kind::NotFound, Kind::NotEmpty, Kind::NotDirectory, Kind::Busy, Kind::Denied] {
            let told = explain(Path::new("/m"), Error::new(kind, "mount at", "/m").with_source("why"));
            let failure = crate::wire::Failure::from(told);
            assert!(!failure.next.is_empty() && failure.why == "why", "{failure}");
        }
    }
}
