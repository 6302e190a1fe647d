//! What is agreed with the kernel when a mount starts, and what root can tune afterwards.
//!
//! Reasons for every choice, with figures: `docs/fuse.md`.

use std::path::Path;
use std::time::Duration;

use fuser::{InitFlags, KernelConfig};

use crate::base::{Context, Result};

/// Largest read or write in one request, in bytes: 256 pages, the kernel's own default limit.
const MAX_REQUEST: u32 = 1 << 20;

/// Requests the kernel may have under way on its own account (readahead, writeback). Root gets what it
/// asks for; for others the kernel caps it.
const MAX_BACKGROUND: u16 = 256;

/// Wanted wherever the kernel has it. Not asked for, on purpose: `AUTO_INVAL_DATA` (we say when content
/// changed), `POSIX_LOCKS` and `FLOCK_LOCKS` (locks stay in the kernel), `NO_OPENDIR_SUPPORT` (a listing
/// needs its handle), `EXPORT_SUPPORT` (inode numbers are not looked up by `.` and `..`), `ASYNC_DIO` stays.
const WANTED: [InitFlags; 15] = [
    InitFlags::FUSE_ASYNC_READ,
    InitFlags::FUSE_ASYNC_DIO,
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_BIG_WRITES,
    InitFlags::FUSE_CACHE_SYMLINKS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    InitFlags::FUSE_HAS_IOCTL_DIR,
    InitFlags::FUSE_MAX_PAGES,
    InitFlags::FUSE_NO_EXPORT_SUPPORT,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_WRITEBACK_CACHE,
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
];

/// For access lists: the kernel enforces them and leaves the umask to us.
const ACCESS_LISTS: [InitFlags; 2] = [InitFlags::FUSE_POSIX_ACL, InitFlags::FUSE_DONT_MASK];

/// Answer the kernel's INIT: everything wanted that it offers.
pub(super) fn configure(config: &mut KernelConfig, acl: bool) {
    let lists = ACCESS_LISTS.into_iter().filter(|_| acl);
    for flag in WANTED.into_iter().chain(lists) {
        if let Err(missing) = config.add_capabilities(flag) {
            tracing::debug!("the kernel does not offer {missing:?}");
        }
    }
    // Each call names its limit when it refuses; all of these are within every kernel's limits.
    let _ = config.set_max_write(MAX_REQUEST);
    let _ = config.set_max_readahead(MAX_REQUEST).or_else(|most| config.set_max_readahead(most));
    let _ = config.set_max_background(MAX_BACKGROUND);
    let _ = config.set_time_granularity(Duration::from_nanos(1));
}

/// Set how far the kernel reads ahead on the mount with this device number. Needs root.
pub(super) fn set_read_ahead(major: u32, minor: u32, kib: u32) -> Result<()> {
    set_bdi(major, minor, "read_ahead_kb", kib)
}

/// Let dirty pages of the mount fill the share of memory that those of a disk may. A FUSE mount starts at
/// 1 %, which throttles writers long before we are busy. Needs root.
pub(super) fn set_dirty_share(major: u32, minor: u32) -> Result<()> {
    set_bdi(major, minor, "max_ratio", 100)
}

fn set_bdi(major: u32, minor: u32, what: &str, value: u32) -> Result<()> {
    let file = format!("/sys/class/bdi/{major}:{minor}/{what}");
    std::fs::write(Path::new(&file), value.to_string()).io("tune mount", || file.clone())
}
