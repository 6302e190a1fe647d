//! What programs expect of a local filesystem, one behaviour at a time, through the kernel.
//!
//! Runs on a fresh mount, or below `FSTESTS_DIR` to see what another filesystem does. Never looks behind the mount.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "posix/attributes.rs"]
mod attributes;
#[path = "posix/content.rs"]
mod content;
#[path = "posix/limits.rs"]
mod limits;
#[path = "posix/locks.rs"]
mod locks;
#[path = "posix/names.rs"]
mod names;
#[path = "posix/space.rs"]
mod space;

use rustix::io::Errno;

/// The errno of an operation that must fail.
fn errno<T: std::fmt::Debug>(result: std::io::Result<T>) -> Errno {
    Errno::from_io_error(&result.unwrap_err()).unwrap()
}
