//! Where nodes show, beside what they say of themselves: the live form of the view.
//!
//! A node that is not in the table shows at its places. Everything else follows from the states, by
//! [`refresh`](crate::causal::refresh); must never be changed but by what an operation did to one name, and
//! then be looked at again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::base::{Name, NodeId};
use crate::causal::{Displaced, Dot, LinkId, NodeState, Place, Register, Shown, copy_id};

/// The table of the live view and what is derived from it.
#[derive(Debug, Default)]
pub(super) struct View {
    table: Arc<Displaced>,
    /// As the sealed index has it.
    sealed: Arc<Displaced>,
    /// Versions shown beside their nodes, by the id they show under.
    copies: HashMap<NodeId, (NodeId, Dot)>,
    /// Names that something showing otherwise would have.
    wanted: HashSet<(NodeId, Name)>,
    /// To be looked at again.
    doubted: BTreeSet<NodeId>,
}

impl View {
    pub fn table(&self) -> &Arc<Displaced> {
        &self.table
    }

    /// The table that belongs to the sealed index.
    pub fn sealed(&self) -> &Arc<Displaced> {
        &self.sealed
    }

    pub fn set(&mut self, table: Arc<Displaced>) {
        self.copies.clear();
        self.wanted.clear();
        for (id, odd) in table.iter() {
            let copies = odd.shows.iter().filter_map(|s| s.version);
            self.copies.extend(copies.map(|dot| (copy_id(id, dot), (id, dot))));
            self.wanted.extend(odd.wants.iter().cloned());
        }
        self.table = table;
    }

    /// The index was sealed with `table`.
    pub fn set_sealed(&mut self, table: Arc<Displaced>) {
        self.sealed = table;
    }

    /// Look at `id` again with the next change.
    pub fn doubt(&mut self, id: NodeId) {
        self.doubted.insert(id);
    }

    /// Look at all of these again with the next change.
    pub fn doubt_all(&mut self, ids: &BTreeSet<NodeId>) {
        self.doubted.extend(ids);
    }

    /// What is to be looked at, asked once.
    pub fn doubted(&mut self) -> BTreeSet<NodeId> {
        std::mem::take(&mut self.doubted)
    }

    /// Whether changing these nodes, and who has these names, can change what else shows.
    pub fn concerns(&self, ids: &[NodeId], names: &[(NodeId, &Name)]) -> bool {
        if self.table.is_empty() {
            return !self.doubted.is_empty();
        }
        !self.doubted.is_empty()
            || ids.iter().any(|id| self.table.get(*id).is_some())
            || names.iter().any(|(dir, name)| self.wanted.contains(&(*dir, (*name).clone())))
    }

    /// Whether something that shows otherwise would have this name.
    pub fn is_wanted(&self, at: (NodeId, &Name)) -> bool {
        !self.wanted.is_empty() && self.wanted.contains(&(at.0, at.1.clone()))
    }

    /// The directory as which `id` shows.
    pub fn canonical(&self, id: NodeId) -> NodeId {
        self.table.canonical(id)
    }

    /// The node and version that show under `id`.
    pub fn copy(&self, id: NodeId) -> Option<(NodeId, Dot)> {
        self.copies.get(&id).copied()
    }

    pub fn shows(&self, id: NodeId, state: &NodeState) -> Vec<Shown> {
        self.table.shows(id, state)
    }

    /// The directory a node shows in; none if it shows nowhere.
    pub fn above(&self, id: NodeId, state: &NodeState) -> Option<NodeId> {
        if id == NodeId::LOST {
            return Some(NodeId::ROOT);
        }
        let id = self.canonical(id);
        if let Some(odd) = self.table.get(id) {
            return odd.shows.iter().find(|s| s.is_live()).map(|s| s.parent);
        }
        let place = state.places().map(|(_, place)| place.parent).find(|parent| *parent != NodeId::TRASH);
        place.map(|parent| self.canonical(parent))
    }

    /// An operation gave `link` of a node another name, or (`None`) took it away: so the table must say.
    pub fn reshow(&mut self, id: NodeId, link: LinkId, to: Option<(NodeId, Name)>) {
        if self.table.get(id).is_none() {
            return;
        }
        if let Some(odd) = Arc::make_mut(&mut self.table).get_mut(id) {
            odd.shows.retain(|s| s.link != link || s.version.is_some());
            odd.shows.extend(to.map(|(parent, name)| Shown { link, parent, name, version: None }));
            odd.shows.sort();
        }
        self.doubted.insert(id);
    }

    /// An operation gave a node one more name.
    pub fn add_name(&mut self, id: NodeId, link: LinkId, to: (NodeId, Name)) {
        self.reshow(id, link, Some(to));
    }

    /// A version does not show beside its node any more.
    pub fn forget_copy(&mut self, id: NodeId, dot: Dot) {
        if let Some(odd) = Arc::make_mut(&mut self.table).get_mut(id) {
            odd.shows.retain(|s| s.version != Some(dot));
        }
        self.copies.remove(&copy_id(id, dot));
        self.doubted.insert(id);
    }
}

/// What a version shown beside its node looks like: a node with this version alone.
pub(super) fn copy_state(state: &NodeState, shown: &Shown, dot: Dot) -> NodeState {
    let version = state.content.0.iter().find(|(d, _)| *d == dot);
    let stamp = version.map_or(crate::causal::Stamp { time: state.born, writer: 0 }, |(_, v)| v.stamp);
    let place = Place { parent: shown.parent, name: shown.name.clone(), stamp, from: None };
    NodeState {
        kind: state.kind,
        born: state.born,
        links: vec![(0, Register(vec![(dot, place)]))],
        content: Register(version.cloned().into_iter().collect()),
        attributes: state.shown_attributes().cloned().collect(),
    }
}
