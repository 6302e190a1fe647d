//! Under which names a node shows, and the small table of those that show otherwise than they say.
//!
//! Almost every node shows exactly at its newest places. What does not (the loser of a name, a directory
//! that came back, merged directories, several versions) is kept here, complete: a node that is not in
//! the table needs nothing but its own state. Must hold nothing but what follows from the state.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::clock::Dot;
use super::place;
use super::state::{LinkId, NodeState};
use super::view::Item;
use crate::base::{Name, NodeId, hash};

/// One name of a node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shown {
    /// Through which link.
    pub link: LinkId,
    /// The directory as which its directory shows.
    pub parent: NodeId,
    /// The name there. In the trash: the node's id.
    pub name: Name,
    /// For a conflict copy: the version shown.
    pub version: Option<Dot>,
}

/// A node that shows otherwise than its newest places say.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Odd {
    /// All its names, sorted.
    pub shows: Vec<Shown>,
    /// The directory as part of which this one shows.
    pub merged: Option<NodeId>,
    /// What shows as part of this one, by the link it shows under.
    pub also: Vec<(LinkId, Vec<Item>)>,
    /// The names it would have if nothing were in its way, sorted.
    pub wants: Vec<(NodeId, Name)>,
}

/// All nodes that show otherwise. The reserved LOST directory is among them while there is anything in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Displaced(BTreeMap<NodeId, Odd>);

impl Shown {
    pub(super) fn at(id: NodeId, link: LinkId, parent: NodeId, name: &Name) -> Self {
        let hex = || Name::new(id.to_string().as_bytes()).ok();
        let name = Some(parent).filter(|p| *p == NodeId::TRASH).and_then(|_| hex()).unwrap_or_else(|| name.clone());
        Self { link, parent, name, version: None }
    }

    /// Whether a person sees it outside the trash.
    pub fn is_live(&self) -> bool {
        self.parent != NodeId::TRASH
    }
}

/// Where `state` shows if nothing is in its way; `canonical` tells as which directory one shows.
pub(super) fn usual(id: NodeId, state: &NodeState, canonical: impl Fn(NodeId) -> NodeId) -> Vec<Shown> {
    let shown = place::shown(state).into_iter();
    let mut out: Vec<Shown> =
        shown.map(|(link, place)| Shown::at(id, link, canonical(place.parent), &place.name)).collect();
    out.sort();
    out
}

impl Displaced {
    /// Whether everything shows as it says.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of nodes that do not.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How `id` is odd, if it is.
    pub fn get(&self, id: NodeId) -> Option<&Odd> {
        self.0.get(&id)
    }

    /// As [`Self::get`], to change.
    pub fn get_mut(&mut self, id: NodeId) -> Option<&mut Odd> {
        self.0.get_mut(&id)
    }

    /// All of them by id.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, &Odd)> + '_ {
        self.0.iter().map(|(id, odd)| (*id, odd))
    }

    /// Put a node into the table.
    pub fn insert(&mut self, id: NodeId, odd: Odd) {
        self.0.insert(id, odd);
    }

    /// Take a node from the table.
    pub fn remove(&mut self, id: NodeId) {
        self.0.remove(&id);
    }

    /// The directory as which `id` shows.
    pub fn canonical(&self, id: NodeId) -> NodeId {
        if self.0.is_empty() {
            return id;
        }
        self.0.get(&id).and_then(|odd| odd.merged).unwrap_or(id)
    }

    /// The directories that show as part of `id`.
    pub fn parts_of(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        self.0.iter().filter(move |(_, odd)| odd.merged == Some(id)).map(|(part, _)| *part)
    }

    /// All names of a node, sorted.
    pub fn shows(&self, id: NodeId, state: &NodeState) -> Vec<Shown> {
        match self.0.get(&id) {
            Some(odd) => odd.shows.clone(),
            None => usual(id, state, |dir| self.canonical(dir)),
        }
    }

    /// The name of the LOST directory in the root, while there is anything in it.
    pub fn lost(&self) -> Option<&Name> {
        self.0.get(&NodeId::LOST)?.shows.first().map(|shown| &shown.name)
    }
}

/// The id under which version `dot` of `node` shows beside it, and which it keeps once it is changed and so
/// becomes a node of its own: the same on every device.
pub fn copy_id(node: NodeId, dot: Dot) -> NodeId {
    let digest = hash(&[b"lovage copy 1", node.as_bytes(), &dot.writer.to_le_bytes(), &dot.seq.to_le_bytes()]);
    let mut random = [0; 10];
    random.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    NodeId::born_in(node, random)
}
