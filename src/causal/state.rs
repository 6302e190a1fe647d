//! The replicated state of one node: registers of places, versions of content, and attributes.
//!
//! Encoded with postcard (see `docs/format.md`); every list is sorted, so equal states are equal bytes.

use serde::{Deserialize, Serialize};

use super::clock::{Dot, Stamp};
use crate::base::port::Time;
use crate::base::{Name, NodeId};

/// What a node is, fixed at birth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum NodeKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link; its version's data is the target.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device with its device number. Local: never replicated.
    CharDevice(u32),
    /// A block device with its device number. Local: never replicated.
    BlockDevice(u32),
}

impl NodeKind {
    /// Whether nodes of this kind stay on the machine that made them.
    pub fn is_local(self) -> bool {
        matches!(self, Self::CharDevice(_) | Self::BlockDevice(_))
    }
}

/// Identifies one hard link of a node; 0 is the one it was born with.
pub type LinkId = u64;

/// Where a link shows: a name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The directory.
    pub parent: NodeId,
    /// The name in it.
    pub name: Name,
    /// When it was put there.
    pub stamp: Stamp,
    /// The place before, used only to break cycles and to restore from the trash.
    pub from: Option<(NodeId, Name)>,
}

/// One version of a node's content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    /// The encoded content (a manifest reference or inline bytes), opaque here; a symlink's target.
    pub data: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// Modification time shown.
    pub mtime: Time,
    /// When it was written; the later of two concurrent versions keeps the name.
    pub stamp: Stamp,
}

/// All surviving concurrent values, sorted by dot. More than one is a conflict, kept as data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register<T>(pub Vec<(Dot, T)>);

impl<T> Default for Register<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Register<T> {
    /// Replace everything known by one value.
    pub fn set(&mut self, dot: Dot, value: T) {
        self.0.clear();
        self.0.push((dot, value));
    }

    /// Replace `known` values by one; what was written concurrently stays beside it.
    pub fn replace(&mut self, known: &[Dot], dot: Dot, value: T) {
        self.0.retain(|(d, _)| !known.contains(d));
        let at = self.0.partition_point(|(d, _)| *d < dot);
        self.0.insert(at, (dot, value));
    }
}

/// Which attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Field {
    /// Permission bits.
    Mode,
    /// User and group.
    Owner,
    /// Access time set by hand.
    Atime,
    /// A directory's modification time, or one set by hand on anything but a file.
    Mtime,
    /// Something else about the node changed (a name of a hard link went): moves ctime only.
    Touched,
    /// An extended attribute.
    Xattr(Vec<u8>),
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Value {
    /// Permission bits.
    Mode(u16),
    /// User and group.
    Owner(u32, u32),
    /// A time.
    Time(Time),
    /// An extended attribute's value; `None` once removed.
    Bytes(Option<Vec<u8>>),
    /// For [`Field::Touched`].
    Nothing,
}

/// An attribute with the stamp that decides between concurrent values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attribute {
    /// Which.
    pub field: Field,
    /// Its value.
    pub value: Value,
    /// Set when.
    pub stamp: Stamp,
    /// The change that last asserted it, see [`NodeState::assert_attributes`].
    pub dot: Dot,
}

/// One node of the replicated state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// What it is.
    pub kind: NodeKind,
    /// When it was made.
    pub born: Time,
    /// The places of each link, sorted by link id.
    pub links: Vec<(LinkId, Register<Place>)>,
    /// The versions of its content.
    pub content: Register<Version>,
    /// Attributes, sorted by field, stamp and dot. Several of one field are concurrent: the last is shown.
    pub attributes: Vec<Attribute>,
}

impl NodeState {
    /// The value of `field`, if it was ever set: the one with the latest stamp.
    pub fn attribute(&self, field: &Field) -> Option<&Attribute> {
        let end = self.attributes.partition_point(|a| a.field <= *field);
        self.attributes.get(..end)?.last().filter(|a| a.field == *field)
    }

    /// One attribute for each field that was ever set, in order of fields.
    pub fn shown_attributes(&self) -> impl Iterator<Item = &Attribute> + '_ {
        self.attributes.chunk_by(|a, b| a.field == b.field).filter_map(<[_]>::last)
    }

    /// Set `field`, replacing all concurrent values. The attribute has no dot until
    /// [`NodeState::assert_attributes`] gives it one, as the operation that sets it must do before the
    /// state is joined with another: a join takes attributes without a dot for removed.
    pub fn set_attribute(&mut self, field: Field, value: Value, stamp: Stamp) {
        let start = self.attributes.partition_point(|a| a.field < field);
        let end = self.attributes.partition_point(|a| a.field <= field);
        let dot = Dot { writer: stamp.writer, seq: 0 };
        self.attributes.splice(start..end, [Attribute { field, value, stamp, dot }]);
    }

    /// Let all shown attributes stand under `dot`, replacing concurrent values. Part of every change of
    /// the node: so an edit keeps mode and owner alive against a concurrent removal of the node, as it
    /// keeps its places.
    pub fn assert_attributes(&mut self, dot: Dot) {
        let shown = self.shown_attributes().map(|a| Attribute { dot, ..a.clone() }).collect();
        self.attributes = shown;
    }

    /// Let every link stand under `dot` at the place it shows, with its old stamp: part of an edit, which
    /// wins over a concurrent removal but must not undo a concurrent move.
    pub fn assert_places(&mut self, dot: Dot) {
        for (_, register) in &mut self.links {
            if let Some(place) = register.shown().cloned() {
                register.set(dot, place);
            }
        }
    }

    /// The version shown under the node's own name: the one with the latest stamp.
    pub fn shown(&self) -> Option<&(Dot, Version)> {
        self.content.0.iter().max_by_key(|(dot, v)| (v.stamp, *dot))
    }

    /// The place each link shows, in order of link ids.
    pub fn places(&self) -> impl Iterator<Item = (LinkId, &Place)> + '_ {
        self.links.iter().filter_map(|(id, register)| register.shown().map(|p| (*id, p)))
    }
}

impl Register<Place> {
    /// The place shown: any live one beats the trash; among equals the latest stamp.
    pub fn shown(&self) -> Option<&Place> {
        self.0.iter().map(|(_, place)| place).max_by_key(|p| (p.parent != NodeId::TRASH, p.stamp, p.parent, &p.name))
    }
}
