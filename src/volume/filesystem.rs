//! The port between adapters and a filesystem: every file operation, as one object-safe trait.
//!
//! Implemented by the live volume and by the reference model the tests compare it with. Lookups that
//! hand out an inode number (`lookup`, `make`, `create`, `link`, entries taken by `readdir_plus`) count one
//! reference each; the caller gives them back with `forget`.

use super::api::{Attr, DirEntry, FallocMode, Fh, Ino, NewNode, RenameMode, SeekWhence, SetAttr, StatFs, XattrMode};
use crate::base::Result;

/// Takes one directory entry; `false` means full, the entry is not taken.
pub type Filler<'a> = &'a mut dyn FnMut(DirEntry, Option<Attr>) -> bool;

/// File operations. Every method may be called from any thread at any time.
#[allow(missing_docs)] // the operations are the system calls of the same names; deviations are documented
pub trait FileSystem: Send + Sync + 'static {
    fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr>;
    fn forget(&self, ino: Ino, count: u64);
    fn getattr(&self, ino: Ino) -> Result<Attr>;
    /// Times given win over times implied. A size that differs implies mtime; any change implies ctime; a change
    /// of nothing changes nothing.
    fn setattr(&self, ino: Ino, change: &SetAttr) -> Result<Attr>;
    fn readlink(&self, ino: Ino) -> Result<Vec<u8>>;
    /// mknod, mkdir and symlink.
    fn make(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<Attr>;
    fn create(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<(Attr, Fh)>;
    fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr>;
    fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()>;
    fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()>;
    fn rename(&self, parent: Ino, name: &[u8], new_parent: Ino, new_name: &[u8], mode: RenameMode) -> Result<()>;

    fn open(&self, ino: Ino, write: bool, truncate: bool) -> Result<Fh>;
    /// The last descriptor and mapping of an open are gone: the moment to seal. Comes some time after close(2).
    fn release(&self, fh: Fh) -> Result<()>;
    /// Short only at the end of the file.
    fn read(&self, ino: Ino, offset: u64, len: u32) -> Result<Vec<u8>>;
    /// All or nothing. Leaves the times alone, as do `fallocate` and `copy_range`: the kernel stamps these when
    /// the program acts, and sends the times with `setattr`, which may come before the data (`docs/fuse.md`).
    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<u32>;
    /// A descriptor was closed. Heard of only by mounts that ask for it.
    fn flush(&self, ino: Ino) -> Result<()>;
    /// Content and metadata of `ino`, and every name leading to it, survive a power cut once this returns.
    fn fsync(&self, ino: Ino, data_only: bool) -> Result<()>;
    /// Whether an `fsync` now may wait for more than this machine's disk.
    fn is_fsync_slow(&self) -> bool {
        false
    }
    fn fallocate(&self, ino: Ino, offset: u64, len: u64, mode: FallocMode) -> Result<()>;
    /// `NotFound` when there is none at or after `offset`.
    fn seek(&self, ino: Ino, offset: u64, whence: SeekWhence) -> Result<u64>;
    /// Shares blocks where both ends allow it; may copy less than asked only at the end of the source.
    fn copy_range(&self, from: Ino, from_offset: u64, to: Ino, to_offset: u64, len: u64) -> Result<u64>;

    fn opendir(&self, ino: Ino) -> Result<Fh>;
    /// Entries after `cookie` (0: from the start), `.` and `..` first. Attributes are `None`.
    fn readdir(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()>;
    /// As `readdir`, with attributes for all but `.` and `..`; each such entry taken counts one reference.
    /// `None` where the name no longer refers to the entry's node: the kernel would believe it.
    fn readdir_plus(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()>;
    fn releasedir(&self, fh: Fh) -> Result<()>;
    fn fsyncdir(&self, ino: Ino) -> Result<()>;

    fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>>;
    fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()>;
    fn listxattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>>;
    fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<()>;

    fn statfs(&self) -> Result<StatFs>;
    /// Everything acknowledged so far survives a power cut once this returns.
    fn sync(&self) -> Result<()>;
}

/// Where the filesystem tells the kernel that something it may have cached has changed by itself.
pub trait Invalidate: Send + Sync {
    /// Attributes and content of a node changed.
    fn inode(&self, ino: Ino);
    /// What a name in a directory refers to changed.
    fn entry(&self, parent: Ino, name: &[u8]);
}
