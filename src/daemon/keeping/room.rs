//! How much room there is for a kept volume: what a box says of itself to the members.
//!
//! Must never be taken for a promise: a quota may change, and others may fill the disk.

use std::path::Path;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Room {
    /// Bytes that it may take: its quota, or what its disk has.
    pub size: u64,
    /// Bytes that it takes.
    pub used: u64,
    /// In so many blocks.
    pub blocks: u64,
}

/// Bytes of the filesystem of `dir`, used or not; none that can be told of: the most.
pub fn disk_of(dir: &Path) -> u64 {
    rustix::fs::statvfs(dir).map_or(u64::MAX, |vfs| vfs.f_blocks.saturating_mul(vfs.f_frsize))
}
