//! What changed since the trees were last sealed: names, dirty nodes, and the causal clock.
//!
//! Everything here is behind the volume's one namespace lock. Reads merge it over the sealed trees.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::api::Ino;
use super::author::Author;
use super::heads::Heads;
use super::inode::{Inner, Inode};
use super::row::Totals;
use super::table::{Spread, Table};
use super::view::View;
use crate::base::port::{Clock, Entropy, Time};
use crate::base::{Digest, Name, NodeId, WriterIndex};
use crate::causal::{Dot, Field, HybridClock, LinkId, Lived, NodeKind, Place, Shown, Stamp, Value, Vector};
use crate::tree::Root;

/// The sealed trees of a volume, replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Roots {
    /// Replicated state by node id.
    pub raw: Root,
    /// Nodes that never leave this machine, by node id.
    pub local: Root,
    /// Derived: directory entries by parent and name.
    pub index: Root,
    /// Derived: nodes that show otherwise than they say.
    pub displaced: Root,
    /// Subdirectories of, and everything below, the root directory.
    pub root_subdirs: u32,
    pub totals: Totals,
    /// Number of seals so far, and the hash of the last head.
    pub seq: u64,
    pub head: Digest,
}

/// What a name leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target {
    pub id: NodeId,
    pub link: LinkId,
    pub kind: NodeKind,
}

/// A name that changed since the last seal; `None`: it was removed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub target: Option<Target>,
    pub version: u64,
}

/// The changed names of one directory.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub map: BTreeMap<Name, Entry>,
    /// The directory is not in the sealed index: these are all its names.
    pub fresh: bool,
}

/// The live part of a volume's metadata.
#[derive(Debug)]
pub(super) struct Namespace {
    pub table: Table,
    pub names: HashMap<NodeId, Names, FromTail>,
    /// Nodes changed since the last journal flush, and since the last seal.
    pub unjournaled: HashMap<Ino, Arc<Inode>, Spread>,
    pub unsealed: HashMap<Ino, Arc<Inode>, Spread>,
    /// How many nodes the seal under way holds.
    pub in_seal: usize,
    pub roots: Arc<Roots>,
    /// What shows otherwise, and what the sealed index holds of it.
    pub view: View,
    pub vector: Vector,
    /// The vector when the trees were last sealed.
    pub sealed: Vector,
    /// The highest heads seen of others.
    pub heads: Heads,
    /// Others write to this volume, or did.
    pub shared: bool,
    /// Something beside nodes must be journaled: the vector, the view, heads.
    pub restless: bool,
    pub clock: HybridClock,
    pub writer: WriterIndex,
    /// As whom this device signs, and the lives it led.
    pub author: Author,
    /// For each writer the life of its newest change in `vector`.
    pub lived: Lived,
    /// Nodes made minus nodes removed since the last seal.
    pub born: i64,
    /// Grows with every change of a name.
    pub changes: u64,
    random: Vec<u8>,
}

/// Node ids end in random bytes: hash by them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FromTail(u64);

impl std::hash::Hasher for FromTail {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        if let Some(tail) = bytes.last_chunk::<8>() {
            self.0 = u64::from_le_bytes(*tail).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }
    fn write_usize(&mut self, _: usize) {}
    fn write_u8(&mut self, byte: u8) {
        self.0 = (self.0.rotate_left(8) ^ u64::from(byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl std::hash::BuildHasher for FromTail {
    type Hasher = Self;
    fn build_hasher(&self) -> Self {
        Self(0)
    }
}

impl Namespace {
    pub fn new(
        roots: Roots,
        vector: Vector,
        (writer, author): (WriterIndex, Author),
        last: Time,
        residents: usize,
    ) -> Self {
        Self {
            table: Table::new(residents),
            names: HashMap::default(),
            unjournaled: HashMap::default(),
            unsealed: HashMap::default(),
            in_seal: 0,
            roots: Arc::new(roots),
            view: View::default(),
            sealed: vector.clone(),
            vector,
            heads: Heads::default(),
            shared: false,
            restless: false,
            clock: HybridClock::new(writer, last),
            writer,
            author,
            lived: Lived::default(),
            born: 0,
            changes: 0,
            random: Vec::new(),
        }
    }

    /// A new dot of this writer and a stamp for it.
    pub fn tick(&mut self, clock: &dyn Clock) -> (Dot, Stamp) {
        (self.vector.next(self.writer), self.clock.stamp(clock.now()))
    }

    /// For each writer the life of its newest known change, this device's too.
    pub fn lived(&self) -> Lived {
        let mut lived = self.lived.clone();
        lived.set(self.writer, self.author.lives.at(self.vector.get(self.writer)));
        lived
    }

    /// An id for a node born in `parent`; randomness is drawn in batches.
    pub fn new_id(&mut self, parent: NodeId, entropy: &dyn Entropy) -> NodeId {
        if self.random.len() < 10 {
            self.random.resize(640, 0);
            entropy.fill(&mut self.random);
        }
        let mut ten = [0; 10];
        let rest = self.random.len().saturating_sub(10);
        if let Some(tail) = self.random.get(rest..) {
            ten.copy_from_slice(tail);
        }
        self.random.truncate(rest);
        NodeId::born_in(parent, ten)
    }

    #[allow(clippy::option_option)] // outer: changed at all; inner: what it is now
    /// What changed under `name` since the last seal: `Some(None)` means it is known not to be there.
    pub fn changed(&self, parent: NodeId, name: &[u8]) -> Option<Option<Target>> {
        let names = self.names.get(&parent)?;
        match names.map.get(name) {
            Some(entry) => Some(entry.target),
            None if names.fresh => Some(None),
            None => None,
        }
    }

    /// Record that `name` now leads to `target` (or nowhere).
    pub fn rename_entry(&mut self, parent: NodeId, name: Name, target: Option<Target>) {
        self.changes += 1;
        let entry = Entry { target, version: self.changes };
        let names = self.names.entry(parent).or_default();
        if target.is_none() && names.fresh {
            names.map.remove(&name);
        } else {
            names.map.insert(name, entry);
        }
    }

    /// `inode` changed, or where it shows: journal and seal it later. The caller holds its lock.
    pub fn mark(&mut self, inode: &Arc<Inode>, inner: &mut Inner) {
        if inner.version == inner.journaled || !self.unjournaled.contains_key(&inode.ino) {
            self.unjournaled.insert(inode.ino, inode.clone());
        }
        if inner.version == inner.sealed || !self.unsealed.contains_key(&inode.ino) {
            self.unsealed.insert(inode.ino, inode.clone());
        }
        inner.version += 1;
    }

    /// `inode` was changed here: as [`Self::mark`], under a dot of its own. The caller holds its lock.
    pub fn touch(&mut self, inode: &Arc<Inode>, inner: &mut Inner) {
        self.mark(inode, inner);
        // The join knows an attribute by the change that last asserted it.
        let dot = self.vector.next(self.writer);
        inner.state.assert_attributes(dot);
    }

    /// Entries of directory `dir` changed: its modification time is `stamp`'s, its subdirectories changed by `subdirs`.
    pub fn touch_dir(&mut self, dir: &Arc<Inode>, stamp: Stamp, subdirs: i32) {
        let mut inner = dir.inner.lock();
        inner.state.set_attribute(Field::Mtime, Value::Time(stamp.time), stamp);
        inner.subdirs = inner.subdirs.saturating_add_signed(subdirs);
        self.anchor(dir, &mut inner, stamp);
        self.touch(dir, &mut inner);
    }

    /// A directory that was deleted elsewhere and shows again is used: from now on it is where it shows.
    pub fn anchor(&mut self, dir: &Arc<Inode>, inner: &mut Inner, stamp: Stamp) {
        let trashed = || inner.state.places().next().is_some_and(|(_, p)| p.parent == NodeId::TRASH);
        if self.view.table().get(dir.id).is_some() && trashed() {
            self.settle_place(dir, inner, stamp);
        }
    }

    /// Let a node that shows otherwise than it says say where it shows. False if it does already. The caller
    /// touches it.
    pub fn settle_place(&mut self, inode: &Arc<Inode>, inner: &mut Inner, stamp: Stamp) -> bool {
        let Some(odd) = self.view.table().get(inode.id) else { return false };
        let known = |s: &Shown| s.version.is_some() || odd.wants.contains(&(s.parent, s.name.clone()));
        let here = |s: &&Shown| s.is_live() && s.parent != NodeId::LOST && !known(s);
        let shows: Vec<Shown> = odd.shows.iter().filter(here).cloned().collect();
        for shown in &shows {
            let dot = self.vector.next(self.writer);
            let from = Some((shown.parent, shown.name.clone()));
            let place = Place { parent: shown.parent, name: shown.name.clone(), stamp, from };
            for (_, register) in inner.state.links.iter_mut().filter(|(link, _)| *link == shown.link) {
                register.set(dot, place.clone());
            }
        }
        if !shows.is_empty() {
            self.view.doubt(inode.id);
        }
        !shows.is_empty()
    }
}
