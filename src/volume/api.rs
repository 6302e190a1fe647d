//! The types of file operations: what a caller passes in and gets back. No behaviour.

use crate::base::Name;
use crate::base::port::Time;

/// An inode number, stable for as long as the volume lives. The root is [`ROOT_INO`].
pub type Ino = u64;

/// The inode number of the root directory.
pub const ROOT_INO: Ino = 1;

/// Numbers from here on are never given to nodes: they are for what an adapter shows beside the volume's own files.
/// The kernel keeps nothing of such a node.
pub const MADE_UP: Ino = Ino::MAX - 0xf_ffff;

/// A handle of an open file or directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fh(pub u64);

/// What a node is. Fixed at birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A Unix-domain socket.
    Socket,
    /// A character device (never leaves this machine).
    CharDevice,
    /// A block device (never leaves this machine).
    BlockDevice,
}

/// What `stat` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: Ino,
    /// Kind of node.
    pub kind: FileKind,
    /// Permission bits with set-id and sticky: `mode & 0o7777`.
    pub perm: u16,
    /// Number of names (for a directory: 2 + subdirectories).
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// Size in bytes.
    pub size: u64,
    /// Allocated size in units of 512 bytes.
    pub blocks: u64,
    /// Last access (kept as relatime keeps it: moved by explicit requests only).
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// Birth.
    pub crtime: Time,
}

/// A time to set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SetTime {
    /// The current time.
    Now,
    /// This time.
    At(Time),
}

/// The fields of a node to change; `None` leaves a field alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetAttr {
    /// Permission bits, `mode & 0o7777`.
    pub perm: Option<u16>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Truncate or extend to this size.
    pub size: Option<u64>,
    /// Access time.
    pub atime: Option<SetTime>,
    /// Modification time.
    pub mtime: Option<SetTime>,
    /// Change time: sent by the kernel when it writes back the times it kept under the writeback cache.
    /// `None`: now, if anything else changes.
    pub ctime: Option<Time>,
    /// Clear set-user-id, and set-group-id where the group may execute, never on directories. A change of
    /// owner or group does the same by itself.
    pub kill_suidgid: bool,
}

/// A node to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewNode {
    /// Kind of node.
    pub kind: FileKind,
    /// Permission bits after the umask.
    pub perm: u16,
    /// Owner.
    pub uid: u32,
    /// Group (before the parent's set-group-id bit is applied).
    pub gid: u32,
    /// Device number of a device node, else 0.
    pub rdev: u32,
    /// Target of a symlink.
    pub target: Option<Vec<u8>>,
}

/// How `rename` treats an existing target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace it.
    Replace,
    /// Fail with `Exists`.
    NoReplace,
    /// Swap the two.
    Exchange,
}

/// What `seek` looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeekWhence {
    /// The next byte of data.
    Data,
    /// The next hole; the end of the file counts as one.
    Hole,
}

/// What `fallocate` does with a range. All false: make sure it exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // the flags of the system call, one to one
pub struct FallocMode {
    /// Leave the size alone.
    pub keep_size: bool,
    /// Make the range a hole.
    pub punch: bool,
    /// Make the range read as zeros.
    pub zero: bool,
    /// Remove the range, moving what follows down.
    pub collapse: bool,
    /// Insert a hole, moving what follows up.
    pub insert: bool,
}

/// How `setxattr` treats an existing attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XattrMode {
    /// Create or replace.
    Set,
    /// Fail with `Exists` if it is there.
    Create,
    /// Fail with `NoAttribute` if it is not.
    Replace,
}

/// One entry of a directory listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Inode number.
    pub ino: Ino,
    /// Kind of node.
    pub kind: FileKind,
    /// Name.
    pub name: EntryName,
    /// Listing resumes after this entry when given this cookie.
    pub cookie: u64,
}

/// The name of a listed entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryName {
    /// `.`
    Itself,
    /// `..`
    Parent,
    /// A real entry.
    Child(Name),
}

impl EntryName {
    /// The bytes shown to programs.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Itself => b".",
            Self::Parent => b"..",
            Self::Child(name) => name.as_bytes(),
        }
    }
}

/// What `statfs` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatFs {
    /// Size of the underlying storage in blocks of `bsize`.
    pub blocks: u64,
    /// Free blocks.
    pub bfree: u64,
    /// Blocks free to users.
    pub bavail: u64,
    /// Nodes in the volume plus `ffree`.
    pub files: u64,
    /// Nodes that can still be made (nominal: there is no fixed limit).
    pub ffree: u64,
    /// Block size in bytes.
    pub bsize: u32,
    /// Longest name in bytes.
    pub namelen: u32,
}
