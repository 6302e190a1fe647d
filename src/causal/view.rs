//! What a person sees of a state.
//!
//! A pure function of the state and the devices' labels: equal states are shown equally everywhere. Must
//! never lose anything: every node with content or a place is an entry somewhere.

use std::collections::BTreeMap;

use super::clock::Dot;
use super::join::State;
use super::names::Settle;
use super::place::{Places, Spot};
use super::state::LinkId;
use crate::base::{Name, NodeId, WriterIndex};

/// One link of one node.
pub type Item = (NodeId, LinkId);

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The node shown.
    pub node: NodeId,
    /// Under which of its links.
    pub link: LinkId,
    /// For a conflict copy: which version of the content. Otherwise the node's shown one.
    pub version: Option<Dot>,
    /// What shows under the same name and is the same: directories merged into this one, files of equal
    /// content. Whoever renames or removes the entry does it to these too, under one stamp.
    pub also: Vec<Item>,
}

/// The visible tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// The entries of every directory that has any, by name; also of the reserved ones.
    pub directories: BTreeMap<NodeId, BTreeMap<Name, Entry>>,
    /// Directories shown as part of another.
    pub merged: BTreeMap<NodeId, NodeId>,
    /// Where each link was put, before names were settled.
    pub spots: BTreeMap<Item, Spot>,
}

impl View {
    /// From scratch. `label` names a writer's device in conflict names and must be the same function on
    /// every device. O(n log n) and a pass for each level of revived or cyclic directories.
    pub fn of(state: &State, label: &dyn Fn(WriterIndex) -> String) -> Self {
        let spots = Places::of(state).spots;
        let (directories, merged) = Settle::new(state, &spots, label).run();
        Self { directories, merged, spots }
    }

    /// The entries of a directory.
    pub fn list(&self, directory: NodeId) -> impl Iterator<Item = (&Name, &Entry)> + '_ {
        self.directories.get(&self.canonical(directory)).into_iter().flatten()
    }

    /// The entry at `name` in `directory`.
    pub fn lookup(&self, directory: NodeId, name: &[u8]) -> Option<&Entry> {
        self.directories.get(&self.canonical(directory))?.get(name)
    }

    /// The directory as which `id` shows.
    pub fn canonical(&self, id: NodeId) -> NodeId {
        self.merged.get(&id).copied().unwrap_or(id)
    }

    /// Links that show elsewhere than their newest place.
    pub fn displaced(&self) -> impl Iterator<Item = (&Item, &Spot)> + '_ {
        self.spots.iter().filter(|(_, spot)| spot.displaced)
    }
}
