//! Taking a mount away: at once if nobody uses it, or out of sight until the last user leaves.

use std::path::Path;
use std::process::Command;

use rustix::mount::UnmountFlags;

use super::device::{HELPER, is_root};
use crate::base::{Context, Error, Kind, Result};

/// How to treat a mount that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmount {
    /// Fail with [`Kind::Busy`].
    IfIdle,
    /// Take it out of the tree now; files still open work until they are closed.
    Detach,
}

/// Unmount what is at `point`, which is never followed if it is a symlink and never looked into, so that
/// a mount whose process is gone can be taken away too.
pub fn unmount(point: &Path, how: Unmount) -> Result<()> {
    if is_root() { unmount_as_root(point, how) } else { unmount_with_helper(point, how) }
}

fn unmount_as_root(point: &Path, how: Unmount) -> Result<()> {
    let detach = if how == Unmount::Detach { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    rustix::mount::unmount(point, detach | UnmountFlags::NOFOLLOW)
        .map_err(|e| Error::io("unmount", point.to_string_lossy(), e.into()))
}

fn unmount_with_helper(point: &Path, how: Unmount) -> Result<()> {
    let flags = if how == Unmount::Detach { "-uz" } else { "-u" };
    let output = Command::new(HELPER).arg(flags).arg("--").arg(point).output().io("start", || HELPER.into())?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let kind = if reason.contains("busy") { Kind::Busy } else { Kind::Denied };
    Err(Error::new(kind, "unmount", point.to_string_lossy()).with_source(reason))
}
