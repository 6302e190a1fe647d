//! Bringing names up to date after a change: what shows, where, and under which marks.
//!
//! Everything that can fail is done first; what is then changed is changed under the namespace's lock as a
//! whole. Must never make a dot: what shows follows from states, it is not a change of them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Volume;
use super::inode::{Inner, Inode};
use super::names::name_in;
use super::namespace::{Namespace, Target};
use super::view::copy_state;
use crate::base::{Name, NodeId, Result, WriterIndex};
use crate::causal::{Displaced, NodeKind, NodeState, Refreshed, Shown, Terrain, copy_id, refresh};

/// New states of nodes; `None`: nothing of it remains.
pub(super) type Joined = BTreeMap<NodeId, Option<NodeState>>;

/// One node that shows otherwise now, or has another state.
struct Shift {
    inode: Arc<Inode>,
    old: Vec<Shown>,
    new: Vec<Shown>,
    /// For a merge: what it becomes, and whether it was there before.
    state: Option<(Option<NodeState>, bool)>,
    odd: bool,
}

/// Everything needed to change what shows, with nothing left that could fail.
pub(super) struct Prepared {
    shifts: Vec<Shift>,
    /// Directories that gain or lose subdirectories.
    parents: HashMap<NodeId, Arc<Inode>>,
    table: Arc<Displaced>,
}

impl Prepared {
    /// Nodes whose names or states change.
    pub fn len(&self) -> usize {
        self.shifts.len()
    }
}

/// The volume as [`refresh`] sees it: live, with what a merge is about to change.
struct Ground<'a> {
    volume: &'a Volume,
    ns: &'a Namespace,
    joined: &'a Joined,
}

impl Terrain for Ground<'_> {
    fn node(&mut self, id: NodeId) -> Result<Option<NodeState>> {
        match self.joined.get(&id) {
            Some(state) => Ok(state.clone()),
            None => self.volume.live_state(self.ns, id),
        }
    }

    fn held(&mut self, directory: NodeId, name: &Name) -> Result<Option<NodeId>> {
        let target = self.volume.find(self.ns, directory, name.as_bytes())?;
        Ok(target.map(|t| self.ns.view.copy(t.id).map_or(t.id, |(node, _)| node)))
    }

    fn inside(&mut self, directory: NodeId) -> Result<Vec<NodeId>> {
        let mut out = BTreeSet::new();
        let names = self.ns.names.get(&directory);
        out.extend(names.into_iter().flat_map(|n| n.map.values()).filter_map(|e| e.target).map(|t| t.id));
        if names.is_none_or(|n| !n.fresh) {
            for entry in self.volume.tree.range(&self.ns.roots.index, directory.as_bytes()) {
                let (key, value) = entry?;
                let Some(name) = name_in(&key, directory) else { break };
                if names.is_none_or(|n| !n.map.contains_key(name)) {
                    out.insert(super::row::Row::decode(&value)?.node);
                }
            }
        }
        Ok(out.into_iter().filter(|id| self.ns.view.copy(*id).is_none()).collect())
    }
}

impl Volume {
    /// A node as it is now, journaled or not; `None` if there is none.
    pub(super) fn live_state(&self, ns: &Namespace, id: NodeId) -> Result<Option<NodeState>> {
        match ns.table.resident(ns.table.number(id)) {
            Some(inode) => {
                let inner = inode.inner.lock();
                let real = !inner.gone && inner.copy.is_none();
                Ok(real.then(|| inner.state.clone()))
            }
            None => self.sealed_state(&ns.roots, id),
        }
    }

    /// After an operation on `ids` and names: what else shows otherwise now? Free while everything shows as it
    /// says. What cannot be read now is looked at with the next change.
    pub(super) fn review(&self, ns: &mut Namespace, ids: &[NodeId], names: &[(NodeId, &Name)]) {
        if !ns.view.concerns(ids, names) {
            return;
        }
        let touched: BTreeSet<NodeId> = ns.view.doubted().into_iter().chain(ids.iter().copied()).collect();
        let none = Joined::new();
        match self.prepare(ns, &touched, none) {
            Ok(prepared) => self.show(ns, prepared),
            Err(error) => {
                tracing::warn!("names are not up to date: {}", error.chain());
                ns.view.doubt_all(&touched);
                ns.restless = true;
            }
        }
    }

    /// As [`Self::review`], whatever it concerns.
    pub(super) fn review_always(&self, ns: &mut Namespace, id: NodeId) {
        ns.view.doubt(id);
        self.review(ns, &[], &[]);
    }

    /// Find out what shows where once `joined` are the states of its nodes. Changes nothing but the cache of nodes.
    pub(super) fn prepare(&self, ns: &mut Namespace, touched: &BTreeSet<NodeId>, joined: Joined) -> Result<Prepared> {
        let label = |writer: WriterIndex| (self.label)(writer);
        let before = ns.view.table().clone();
        let Refreshed { displaced, nodes } = {
            let mut ground = Ground { volume: self, ns, joined: &joined };
            refresh(&mut ground, &before, touched.iter().copied(), &label)?
        };
        let table = Arc::new(displaced);
        let mut shifts = Vec::new();
        for (id, state) in &nodes {
            if joined.contains_key(id) {
                continue;
            }
            let (old, new) = (before.shows(*id, state), table.shows(*id, state));
            if old != new {
                let inode = self.inode_held(ns, *id)?;
                shifts.push(Shift { inode, old, new, state: None, odd: table.get(*id).is_some() });
            }
        }
        let mut taken = HashSet::new();
        for (id, state) in joined {
            let was = self.live_state(ns, id)?;
            let old = was.as_ref().map(|s| before.shows(id, s)).unwrap_or_default();
            let new = state.as_ref().map(|s| table.shows(id, s)).unwrap_or_default();
            let inode = match (self.inode_held(ns, id), &state) {
                (Ok(inode), _) => inode,
                (Err(e), Some(state)) if e.kind() == crate::base::Kind::Stale => {
                    let ino = ns.table.number_beside(id, &taken);
                    taken.insert(ino);
                    Inode::fresh(ino, id, state.clone())
                }
                (Err(e), _) => return Err(e),
            };
            shifts.push(Shift { inode, old, new, state: Some((state, was.is_some())), odd: table.get(id).is_some() });
        }
        let parents = self.parents(ns, &shifts)?;
        if before.lost() != table.lost() {
            self.inode_held(ns, NodeId::ROOT)?;
        }
        Ok(Prepared { shifts, parents, table })
    }

    /// The directories whose number of subdirectories changes.
    fn parents(&self, ns: &mut Namespace, shifts: &[Shift]) -> Result<HashMap<NodeId, Arc<Inode>>> {
        let own: HashMap<NodeId, &Arc<Inode>> = shifts.iter().map(|s| (s.inode.id, &s.inode)).collect();
        let mut parents = HashMap::new();
        for shift in shifts.iter().filter(|s| s.inode.is_dir() && s.old != s.new) {
            for shown in shift.old.iter().chain(&shift.new).filter(|s| is_listed(s.parent)) {
                if parents.contains_key(&shown.parent) {
                    continue;
                }
                let inode = match own.get(&shown.parent) {
                    Some(inode) => (*inode).clone(),
                    None => self.inode_held(ns, shown.parent)?,
                };
                parents.insert(shown.parent, inode);
            }
        }
        Ok(parents)
    }

    /// Make what was prepared so. Cannot fail.
    pub(super) fn show(&self, ns: &mut Namespace, prepared: Prepared) {
        let Prepared { mut shifts, parents, table } = prepared;
        let before = ns.view.table().clone();
        for shift in &shifts {
            for shown in shift.old.iter().filter(|s| s.is_live() && !shift.new.contains(s)) {
                self.name(ns, shown, None);
            }
        }
        for shift in &mut shifts {
            self.become_so(ns, shift);
        }
        for shift in &shifts {
            for shown in shift.new.iter().filter(|s| s.is_live() && !shift.old.contains(s)) {
                let id = shown.version.map_or(shift.inode.id, |dot| copy_id(shift.inode.id, dot));
                let link = if shown.version.is_some() { 0 } else { shown.link };
                self.name(ns, shown, Some(Target { id, link, kind: shift.inode.kind }));
            }
        }
        for shift in shifts.iter().filter(|s| s.inode.is_dir() && s.old != s.new) {
            for (shown, change) in shift.old.iter().map(|s| (s, -1)).chain(shift.new.iter().map(|s| (s, 1))) {
                if let Some(parent) = parents.get(&shown.parent) {
                    let mut inner = parent.inner.lock();
                    inner.subdirs = inner.subdirs.saturating_add_signed(change);
                    ns.mark(parent, &mut inner);
                    self.note_inode(ns, parent.ino);
                }
            }
        }
        self.show_lost(ns, &before, &table);
        ns.view.set(table);
        ns.restless = true;
        for shift in &shifts {
            refresh_copies(ns, shift);
        }
    }

    /// Change one node.
    fn become_so(&self, ns: &mut Namespace, shift: &mut Shift) {
        if matches!(shift.state, Some((Some(_), false))) {
            shift.inode = ns.table.admit(shift.inode.clone());
        }
        let inode = shift.inode.clone();
        let mut inner = inode.inner.lock();
        let live = shift.new.iter().any(Shown::is_live);
        match shift.state.take() {
            Some((Some(state), existed)) => {
                ns.born += i64::from(!existed);
                (inner.gone, inner.copy) = (false, None);
                if inode.kind == NodeKind::File && inner.state.content != state.content {
                    // The kernel keeps a file's size as long as it keeps its inode: let it forget the name as well.
                    let names = shift.new.iter().filter(|s| s.is_live() && shift.old.contains(s));
                    names.for_each(|shown| self.note_entry(ns, shown));
                }
                self.keep_content(&mut inner, &state);
                inner.state = state;
            }
            Some((None, existed)) => {
                ns.born -= i64::from(existed);
                self.note_garbage(inner.size());
                inner.gone = true;
            }
            None => {}
        }
        inner.hidden = inode.id != NodeId::ROOT && !live && (!shift.odd || inner.gone);
        if inner.hidden && inner.opens == 0 {
            self.discard_content(&mut inner);
        }
        ns.mark(&inode, &mut inner);
        drop(inner);
        self.note_inode(ns, inode.ino);
    }

    /// Unsettled content stays over what it was written over, whatever the new state says, and becomes a version
    /// of its own when it is settled.
    fn keep_content(&self, inner: &mut Inner, state: &NodeState) {
        let same = inner.state.content == state.content;
        let Some(file) = inner.file.as_mut() else { return };
        if !file.is_changed() {
            self.discard_content(inner);
        } else if !same {
            file.detached = true;
            file.restate_all();
        }
    }

    fn name(&self, ns: &mut Namespace, shown: &Shown, target: Option<Target>) {
        ns.rename_entry(shown.parent, shown.name.clone(), target);
        self.note_entry(ns, shown);
    }

    fn note_entry(&self, ns: &Namespace, shown: &Shown) {
        let ino = ns.table.number(shown.parent);
        if ns.table.id(ino).is_some() {
            self.listeners.notes.lock().entries.insert((ino, shown.name.clone()));
        }
    }

    fn note_inode(&self, ns: &Namespace, ino: super::api::Ino) {
        if ns.table.id(ino).is_some() {
            self.listeners.notes.lock().inodes.insert(ino);
        }
    }

    /// The directory of what lost its place comes and goes with what is in it.
    fn show_lost(&self, ns: &mut Namespace, before: &Displaced, after: &Displaced) {
        if before.lost() == after.lost() {
            return;
        }
        let at = |name: &Name| Shown { link: 0, parent: NodeId::ROOT, name: name.clone(), version: None };
        if let Some(name) = before.lost() {
            self.name(ns, &at(name), None);
        }
        if let Some(name) = after.lost() {
            let target = Target { id: NodeId::LOST, link: 0, kind: NodeKind::Directory };
            self.name(ns, &at(name), Some(target));
        }
        if let Some(root) = ns.table.resident(super::api::ROOT_INO).cloned() {
            let mut inner = root.inner.lock();
            inner.subdirs = inner.subdirs.saturating_add_signed(match (before.lost(), after.lost()) {
                (None, Some(_)) => 1,
                (Some(_), None) => -1,
                _ => 0,
            });
            ns.mark(&root, &mut inner);
        }
    }
}

/// Copies in memory follow their node, or end.
fn refresh_copies(ns: &Namespace, shift: &Shift) {
    let state = shift.inode.inner.lock().state.clone();
    for shown in shift.old.iter().filter(|s| s.version.is_some()) {
        let Some(dot) = shown.version else { continue };
        let id = copy_id(shift.inode.id, dot);
        let Some(copy) = ns.table.resident(ns.table.number(id)).cloned() else { continue };
        let mut inner = copy.inner.lock();
        if inner.copy.is_none() {
            continue; // it is a node of its own by now
        }
        if let Some(now) = shift.new.iter().find(|s| s.version == Some(dot)) {
            inner.state = copy_state(&state, now, dot);
        } else {
            (inner.hidden, inner.gone) = (true, true);
        }
    }
}

fn is_listed(parent: NodeId) -> bool {
    parent != NodeId::TRASH && parent != NodeId::LOST
}
