//! What is stored: the documents of the commands that look at, free or verify it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::RawPath;

/// One entry of `ls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Entry {
    pub name: RawPath,
    pub kind: String,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Where a symlink points.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<RawPath>,
}

/// Recursive totals of a directory (a file counts itself).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Usage {
    pub path: RawPath,
    pub bytes: u64,
    pub files: u64,
    pub directories: u64,
}

/// `stat --json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct NodeStat {
    pub volume: String,
    pub path: RawPath,
    pub ino: u64,
    #[serde(flatten)]
    pub entry: Entry,
    pub atime_ns: i64,
    pub ctime_ns: i64,
    pub crtime_ns: i64,
    /// The extended attributes lovage itself shows: id, content, local bytes, recursive totals.
    pub attributes: BTreeMap<String, String>,
    /// The blocks of its content, in order, with where they are.
    pub blocks: Vec<BlockStat>,
    /// Blocks left out of `blocks` because there are too many.
    pub more_blocks: u64,
}

/// One block of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct BlockStat {
    pub id: String,
    pub offset: u64,
    pub bytes: u64,
    pub local: bool,
}

/// `gc --json`, one document a volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GcReport {
    pub volume: String,
    pub dry_run: bool,
    pub kept_blocks: u64,
    pub kept_bytes: u64,
    pub freed_blocks: u64,
    pub freed_bytes: u64,
}

/// `fsck --json`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct FsckReport {
    pub checked: u64,
    pub bad: u64,
    pub repaired: u64,
    pub unrepairable: Vec<Damage>,
}

/// Damage that could not be repaired.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Damage {
    pub path: RawPath,
    pub block: String,
    pub reason: String,
}

/// One line of `hash`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct ContentId {
    pub path: RawPath,
    pub id: String,
    pub bytes: u64,
    pub blocks: u64,
}

/// One line of `bench`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: String,
}
