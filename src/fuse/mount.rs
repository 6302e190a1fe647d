//! One mount from beginning to end.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, Session, SessionACL};

use super::dirty::Dirty;
use super::failstop::Watched;
use super::invalidate::KernelCache;
use super::linger::Linger;
use super::options::MountOptions;
use super::side::Adapter;
use super::unmount::{Unmount, unmount};
use super::waiting::Waiting;
use super::workers::Workers;
use super::{check, device, kernel, mountinfo};
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Context, Error, Result};
use crate::volume::FileSystem;

/// A live mount. Dropping it unmounts, detaching if something is still open.
#[derive(Debug)]
pub struct Mounted {
    point: PathBuf,
    cache: Arc<KernelCache>,
    ended: Arc<Ended>,
    session: Option<BackgroundSession>,
    _watched: Watched,
}

/// Mount `fs` at `dir` and serve it from threads of its own. When this returns the mount works.
///
/// Errors, each with one sentence for a person: [`NotFound`](crate::base::Kind::NotFound) (`dir`,
/// `/dev/fuse` or `fusermount3` missing), `NotDirectory`, `NotEmpty`, `Busy` (lovage is mounted there),
/// `NotPermitted`, `Denied`. A dead mount of ours at `dir` is taken away first.
pub fn mount(fs: Arc<dyn FileSystem>, dir: &Path, options: &MountOptions) -> Result<Mounted> {
    let point = check::ready(dir, options)?;
    let workers = Workers::start(options.workers)?;
    let waiting = options.pooled_reads.then(|| Waiting::start(options.read_deadline)).transpose()?;
    let ended = Arc::new(Ended::default());
    let dirty = Arc::new(Dirty::default());
    let watched = Watched::new(&point);
    let device = device::connect(&point, options)?;
    let detach = |_: &Error| drop(unmount(&point, Unmount::Detach));
    let twin = device.try_clone().io("copy descriptor", String::new).inspect_err(detach)?;
    let adapter = Adapter {
        fs,
        workers,
        patient: OnceLock::new(),
        lifetime: options.lifetime,
        waiting,
        tell_closes: options.tell_closes,
        acl: options.acl,
        dirty: dirty.clone(),
        ended: ended.clone(),
        linger: Linger::new(twin),
    };
    let session = serve(adapter, device, options).inspect_err(detach)?;
    dirty.can_tell(session.notifier());
    let cache = Arc::new(KernelCache::start(session.notifier())?);
    tune(&point, options);
    Ok(Mounted { point, cache, ended, session: Some(session), _watched: watched })
}

fn serve(adapter: Adapter, device: std::os::fd::OwnedFd, options: &MountOptions) -> Result<BackgroundSession> {
    let acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(options.threads.max(1));
    config.clone_fd = options.clone_fd;
    Session::from_fd(adapter, device, acl, config).and_then(Session::spawn).io("start serving", String::new)
}

/// What only root can tune is a matter of speed: failing is worth a line in the log, no more.
fn tune(point: &Path, options: &MountOptions) {
    if !device::is_root() {
        return;
    }
    let Ok(Some(entry)) = mountinfo::at(point) else { return };
    let (major, minor) = entry.device;
    let tuned = kernel::set_read_ahead(major, minor, options.read_ahead_kib)
        .and_then(|()| kernel::set_dirty_share(major, minor));
    if let Err(e) = tuned {
        tracing::debug!("{}", e.chain());
    }
}

impl Mounted {
    /// Where it is mounted: absolute, without symlinks.
    pub fn point(&self) -> &Path {
        &self.point
    }

    /// Where to announce changes that did not come through this mount.
    pub fn kernel_cache(&self) -> Arc<KernelCache> {
        self.cache.clone()
    }

    /// Whether the mount has ended, by us or by somebody else (`umount`, `fusermount3 -u`, an abort).
    pub fn has_ended(&self) -> bool {
        self.ended.within(Duration::ZERO)
    }

    /// Wait until the mount has ended and every request is answered.
    pub fn wait(&self) {
        while !self.ended.within(Duration::from_secs(3600)) {}
    }

    /// Wait at most `limit` for the end; whether it came.
    pub fn wait_at_most(&self, limit: Duration) -> bool {
        self.ended.within(limit)
    }

    /// Unmount; when this returns `Ok` for [`Unmount::IfIdle`], every page the kernel held has been written
    /// to the filesystem and every request answered. [`Kind::Busy`](crate::base::Kind::Busy) while files are
    /// open. Doing it twice is fine.
    pub fn unmount(&self, how: Unmount) -> Result<()> {
        if self.has_ended() {
            return Ok(());
        }
        unmount(&self.point, how)?;
        if how == Unmount::IfIdle {
            self.wait();
        }
        Ok(())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let clean = self.unmount(Unmount::IfIdle).or_else(|_| self.unmount(Unmount::Detach));
        match (clean, self.session.take()) {
            (Ok(()), Some(session)) if self.has_ended() => drop(session.join()),
            (Ok(()), _) => tracing::warn!("{} is still in use; detached", self.point.display()),
            (Err(e), _) => tracing::warn!("{}", e.chain()),
        }
    }
}

/// The end of a session, announced once.
#[derive(Debug, Default)]
pub(super) struct Ended {
    flag: Mutex<bool>,
    changed: Condvar,
}

impl Ended {
    pub(super) fn announce(&self) {
        *self.flag.lock() = true;
        self.changed.notify_all();
    }

    /// Whether the end has come, waiting at most `limit` for it.
    fn within(&self, limit: Duration) -> bool {
        let mut flag = self.flag.lock();
        let deadline = Instant::now() + limit;
        while !*flag {
            if self.changed.wait_until(&mut flag, deadline).timed_out() {
                return *flag;
            }
        }
        true
    }
}
