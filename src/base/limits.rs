//! Every limit that input is checked against, in one place.

/// Largest stored block, sealed, in bytes.
pub const MAX_BLOCK: usize = 4 << 20;
/// Longest file name in bytes.
pub const MAX_NAME: usize = 255;
/// Longest symlink target in bytes.
pub const MAX_SYMLINK: usize = 4095;
/// Largest file size in bytes (exclusive of the sign bit, as off_t).
pub const MAX_FILE: u64 = i64::MAX as u64;
/// Content up to this size lives in the tree itself, in bytes.
pub const MAX_INLINE: usize = 256;
/// Largest value of one extended attribute, in bytes (the kernel's own limit).
pub const MAX_XATTR_VALUE: usize = 64 << 10;
/// Largest sum of names and values of one node's extended attributes, in bytes.
pub const MAX_XATTRS: usize = 256 << 10;
/// Longest name of an extended attribute in bytes.
pub const MAX_XATTR_NAME: usize = 255;
/// Most hard links to one node.
pub const MAX_LINKS: u32 = 65_000;
/// Largest signed head, in bytes.
pub const MAX_HEAD: usize = 64 << 10;
/// Largest number of children of a manifest node.
pub const MAX_FANOUT: usize = 1024;
