//! A thread that takes requests must not die quietly: its request would hang for ever, and once the last
//! such thread is gone so would everybody else's.
//!
//! fuser ends a thread that panics, be it on our account or on its own. Then every mount of this process is
//! aborted: programs get errors at once, and `Mounted::wait` returns. What was acknowledged is with the
//! filesystem already.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Once;

use rustix::mount::UnmountFlags;

use super::unmount::{Unmount, unmount};
use crate::base::sync::Mutex;

/// How fuser names its threads.
const THREADS: &str = "fuser-";

static MOUNTS: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
static HOOK: Once = Once::new();

/// A mount that is to be aborted when a thread of fuser dies, for as long as this lives.
#[derive(Debug)]
pub(super) struct Watched(PathBuf);

impl Watched {
    pub(super) fn new(point: &Path) -> Self {
        HOOK.call_once(install);
        MOUNTS.lock().insert(point.to_path_buf());
        Self(point.to_path_buf())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        MOUNTS.lock().remove(&self.0);
    }
}

fn install() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        before(panic);
        if std::thread::current().name().is_some_and(|name| name.starts_with(THREADS)) {
            // Not on this thread: it may hold locks that unmounting needs.
            std::thread::spawn(abort_all);
        }
    }));
}

fn abort_all() {
    for point in std::mem::take(&mut *MOUNTS.lock()) {
        tracing::error!("a thread serving {} died; the mount is aborted", point.display());
        let flags = UnmountFlags::FORCE | UnmountFlags::DETACH | UnmountFlags::NOFOLLOW;
        if rustix::mount::unmount(&point, flags).is_err() {
            // Only root can abort; the others' new requests fail at least.
            let _ = unmount(&point, Unmount::Detach);
        }
    }
}
