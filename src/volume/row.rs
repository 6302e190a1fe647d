//! The rows of the two trees: keys and values, their encoding, and nothing else.
//!
//! `raw` (and `local`, for nodes that never leave this machine): node id -> [`NodeState`].
//! `index`: parent id, name -> [`Row`], derived from `raw`, enough to list a directory without it.

use serde::{Deserialize, Serialize};

use super::api::{Attr, Ino};
use super::stat::{Stat, file_kind, live_links};
use super::view::copy_state;
use crate::base::port::Time;
use crate::base::{Error, Kind, NodeId, Result, limits};
use crate::causal::{LinkId, NodeKind, NodeState, Shown, copy_id};

/// Recursive totals of a directory, itself not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of file sizes in bytes.
    pub rbytes: u64,
    /// Number of names of things that are not directories.
    pub rfiles: u64,
    /// Number of directories.
    pub rsubdirs: u64,
    /// Latest change of anything below, nanoseconds since 1970 (as known when it was last sealed).
    pub rctime: i64,
}

/// One entry of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    pub node: NodeId,
    pub link: LinkId,
    pub kind: NodeKind,
    pub perm: u16,
    pub uid: u32,
    pub gid: u32,
    /// More than 1: the node has other names, and only `raw` knows its attributes for sure.
    pub nlink: u32,
    pub size: u64,
    /// Bytes that are not holes.
    pub allocated: u64,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
    pub born: Time,
    pub has_xattrs: bool,
    /// Directories: subdirectories directly inside, and everything below.
    pub subdirs: u32,
    pub totals: Option<Totals>,
}

impl Row {
    /// The row of `state` under one of its links.
    pub fn of(node: NodeId, link: LinkId, state: &NodeState, subdirs: u32, totals: Option<Totals>) -> Self {
        let stat = Stat::of(state);
        Self {
            node,
            link,
            kind: state.kind,
            perm: stat.perm,
            uid: stat.uid,
            gid: stat.gid,
            nlink: live_links(state),
            size: stat.size,
            allocated: stat.allocated,
            atime: stat.atime,
            mtime: stat.mtime,
            ctime: stat.ctime,
            born: state.born,
            has_xattrs: stat.has_xattrs,
            subdirs,
            totals,
        }
    }

    /// The row of `state` under one of the names it shows.
    pub fn shown(node: NodeId, shown: &Shown, state: &NodeState, subdirs: u32, totals: Option<Totals>) -> Self {
        match shown.version {
            Some(dot) => Self::of(copy_id(node, dot), 0, &copy_state(state, shown, dot), 0, None),
            None => Self::of(node, shown.link, state, subdirs, totals),
        }
    }

    /// Whether attributes must be read from `raw`.
    pub fn is_shared(&self) -> bool {
        self.nlink > 1 && self.kind != NodeKind::Directory
    }

    /// As callers see it.
    pub fn attr(&self, ino: Ino) -> Attr {
        let (kind, rdev) = file_kind(self.kind);
        Attr {
            ino,
            kind,
            perm: self.perm,
            nlink: if self.kind == NodeKind::Directory { self.subdirs.saturating_add(2) } else { self.nlink },
            uid: self.uid,
            gid: self.gid,
            rdev,
            size: self.size,
            blocks: self.allocated.div_ceil(512),
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            crtime: self.born,
        }
    }

    /// What this row adds to the totals of the directory it is in.
    pub fn contribution(&self) -> Contribution {
        match (self.kind, self.totals) {
            (NodeKind::Directory, totals) => {
                let t = totals.unwrap_or_default();
                Contribution {
                    bytes: signed(t.rbytes),
                    files: signed(t.rfiles),
                    subdirs: signed(t.rsubdirs) + 1,
                    changed: t.rctime.max(self.ctime.0),
                }
            }
            (kind, _) => Contribution {
                bytes: if kind == NodeKind::File { signed(self.size) } else { 0 },
                files: 1,
                subdirs: 0,
                changed: self.ctime.0,
            },
        }
    }

    pub fn encode(&self) -> Result<Vec<u8>> {
        postcard::to_stdvec(self).map_err(|e| Error::new(Kind::Other, "encode directory row", "").with_source(e))
    }

    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let row: Self = postcard::from_bytes(bytes)
            .map_err(|e| Error::new(Kind::Corrupt, "decode directory row", "").with_source(e))?;
        if row.size > limits::MAX_FILE || row.perm > 0o7777 {
            return Err(Error::new(Kind::Corrupt, "decode directory row", "out of bounds"));
        }
        Ok(row)
    }
}

/// A change to a directory's totals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Contribution {
    pub bytes: i128,
    pub files: i128,
    pub subdirs: i128,
    pub changed: i64,
}

impl Contribution {
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.files += other.files;
        self.subdirs += other.subdirs;
        self.changed = self.changed.max(other.changed);
    }

    pub fn subtract(&mut self, other: Self) {
        self.bytes -= other.bytes;
        self.files -= other.files;
        self.subdirs -= other.subdirs;
    }

    /// The totals of the directory whose row contributed this.
    pub fn totals(&self) -> Totals {
        Totals {
            rbytes: clamp(self.bytes),
            rfiles: clamp(self.files),
            rsubdirs: clamp(self.subdirs - 1),
            rctime: self.changed,
        }
    }

    pub fn is_nothing(&self) -> bool {
        self.bytes == 0 && self.files == 0 && self.subdirs == 0
    }

    pub fn apply(&self, totals: &mut Totals) {
        totals.rbytes = clamp(signed(totals.rbytes) + self.bytes);
        totals.rfiles = clamp(signed(totals.rfiles) + self.files);
        totals.rsubdirs = clamp(signed(totals.rsubdirs) + self.subdirs);
        totals.rctime = totals.rctime.max(self.changed);
    }
}

fn signed(n: u64) -> i128 {
    i128::from(n)
}

fn clamp(n: i128) -> u64 {
    u64::try_from(n.max(0)).unwrap_or(u64::MAX)
}

/// The key of a directory entry in `index`.
pub(super) fn index_key(parent: NodeId, name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(NodeId::LEN + name.len());
    key.extend_from_slice(parent.as_bytes());
    key.extend_from_slice(name);
    key
}

pub(super) fn encode_state(state: &NodeState) -> Result<Vec<u8>> {
    postcard::to_stdvec(state).map_err(|e| Error::new(Kind::Other, "encode node", "").with_source(e))
}

pub(super) fn decode_state(bytes: &[u8]) -> Result<NodeState> {
    postcard::from_bytes(bytes).map_err(|e| Error::new(Kind::Corrupt, "decode node", "").with_source(e))
}
