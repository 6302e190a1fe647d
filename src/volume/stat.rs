//! What `stat` shows, derived from a node's replicated state. Pure.

use super::api::FileKind;
use super::content::allocated;
use crate::base::NodeId;
use crate::base::port::Time;
use crate::causal::{Field, NodeKind, NodeState, Value};

/// The shown attributes of a node, as far as its state determines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub perm: u16,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Bytes of content that are not holes.
    pub allocated: u64,
    pub atime: Time,
    pub mtime: Time,
    pub ctime: Time,
    pub has_xattrs: bool,
}

impl Stat {
    /// Derive. The newest stamp of anything is the change time; of several statements about a time the
    /// one stamped last holds.
    pub fn of(state: &NodeState) -> Self {
        let mut stat = Self {
            perm: 0,
            uid: 0,
            gid: 0,
            size: 0,
            allocated: 0,
            atime: state.born,
            mtime: state.born,
            ctime: state.born,
            has_xattrs: false,
        };
        let mut mtime_said = None;
        if let Some((_, version)) = state.shown() {
            stat.size = version.size;
            stat.allocated = if state.kind == NodeKind::File { allocated(&version.data) } else { version.size };
            stat.mtime = version.mtime;
            stat.ctime = stat.ctime.max(version.stamp.time);
            mtime_said = Some(version.stamp);
        }
        for (_, register) in &state.links {
            for (_, place) in &register.0 {
                stat.ctime = stat.ctime.max(place.stamp.time);
            }
        }
        for attribute in &state.attributes {
            stat.ctime = stat.ctime.max(attribute.stamp.time);
        }
        for attribute in state.shown_attributes() {
            match (&attribute.field, &attribute.value) {
                (Field::Mode, Value::Mode(mode)) => stat.perm = *mode,
                (Field::Owner, Value::Owner(uid, gid)) => (stat.uid, stat.gid) = (*uid, *gid),
                (Field::Atime, Value::Time(time)) => stat.atime = *time,
                (Field::Mtime, Value::Time(time)) if mtime_said.is_none_or(|said| said < attribute.stamp) => {
                    stat.mtime = *time;
                }
                (Field::Xattr(_), Value::Bytes(Some(_))) => stat.has_xattrs = true,
                _ => {}
            }
        }
        stat
    }
}

/// How many names a node has that is not gone: one at least, wherever it shows.
pub(super) fn live_links(state: &NodeState) -> u32 {
    let live = state.places().filter(|(_, place)| place.parent != NodeId::TRASH).count();
    u32::try_from(live.max(1)).unwrap_or(u32::MAX)
}

/// The kind as callers see it, and the device number.
pub(super) fn file_kind(kind: NodeKind) -> (FileKind, u32) {
    match kind {
        NodeKind::File => (FileKind::File, 0),
        NodeKind::Directory => (FileKind::Directory, 0),
        NodeKind::Symlink => (FileKind::Symlink, 0),
        NodeKind::Fifo => (FileKind::Fifo, 0),
        NodeKind::Socket => (FileKind::Socket, 0),
        NodeKind::CharDevice(rdev) => (FileKind::CharDevice, rdev),
        NodeKind::BlockDevice(rdev) => (FileKind::BlockDevice, rdev),
    }
}

/// The kind as it is stored.
pub(super) fn node_kind(kind: FileKind, rdev: u32) -> NodeKind {
    match kind {
        FileKind::File => NodeKind::File,
        FileKind::Directory => NodeKind::Directory,
        FileKind::Symlink => NodeKind::Symlink,
        FileKind::Fifo => NodeKind::Fifo,
        FileKind::Socket => NodeKind::Socket,
        FileKind::CharDevice => NodeKind::CharDevice(rdev),
        FileKind::BlockDevice => NodeKind::BlockDevice(rdev),
    }
}
