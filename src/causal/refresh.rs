//! The view after a change, from the part of the state that the change can have to do with.
//!
//! The part is closed: what was touched, what showed oddly before, all their ancestors, whoever holds a
//! name that one of them wants, and what lay in directories that went, fell into the trash or were merged.
//! Everything else shows as before. Must give what [`View::of`] gives for the whole state.

use std::collections::{BTreeMap, BTreeSet};

use super::join::State;
use super::place;
use super::shown::{Displaced, Odd, Shown, usual};
use super::state::{LinkId, NodeKind, NodeState};
use super::view::{Item, View};
use crate::base::{Name, NodeId, Result, WriterIndex};

/// What a refresh asks of the whole.
pub trait Terrain {
    /// A node after the change.
    fn node(&mut self, id: NodeId) -> Result<Option<NodeState>>;
    /// Whose name `name` in `directory` was before the change.
    fn held(&mut self, directory: NodeId, name: &Name) -> Result<Option<NodeId>>;
    /// What had names in `directory` before the change.
    fn inside(&mut self, directory: NodeId) -> Result<Vec<NodeId>>;
}

/// The outcome of a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// The new table.
    pub displaced: Displaced,
    /// Every node looked at, as it is after the change. No other node shows otherwise than before.
    pub nodes: BTreeMap<NodeId, NodeState>,
}

/// The view after `touched` nodes changed (or came, or went). O(n log n) in the nodes looked at: those
/// touched, those in `before`, their ancestors, and whoever they clash with; beyond that the entries of
/// directories that were merged, parted, trashed or purged.
pub fn refresh(
    terrain: &mut dyn Terrain,
    before: &Displaced,
    touched: impl IntoIterator<Item = NodeId>,
    label: &dyn Fn(WriterIndex) -> String,
) -> Result<Refreshed> {
    let seeds: BTreeSet<NodeId> = touched.into_iter().chain(before.iter().map(|(id, _)| id)).collect();
    let mut region = Region {
        terrain,
        before,
        state: State::default(),
        missing: BTreeSet::new(),
        asked: BTreeSet::new(),
        opened: BTreeSet::new(),
        seeds: seeds.iter().copied().collect(),
    };
    region.grow(seeds.into_iter().collect())?;
    loop {
        let view = View::of(&region.state, label);
        let more = region.gaps(&view)?;
        if !region.grow(more)? {
            let displaced = region.outcome(&view)?;
            return Ok(Refreshed { displaced, nodes: region.state.nodes });
        }
    }
}

struct Region<'a> {
    terrain: &'a mut dyn Terrain,
    before: &'a Displaced,
    state: State,
    missing: BTreeSet<NodeId>,
    /// Names and directories asked about already.
    asked: BTreeSet<(NodeId, Name)>,
    opened: BTreeSet<NodeId>,
    seeds: Vec<NodeId>,
}

impl Region<'_> {
    /// Take in nodes with everything above them. False if all were there.
    fn grow(&mut self, mut queue: Vec<NodeId>) -> Result<bool> {
        let mut grew = false;
        while let Some(id) = queue.pop() {
            if id.is_reserved() || self.knows(id) {
                continue;
            }
            grew = true;
            let Some(node) = self.terrain.node(id)? else {
                self.missing.insert(id);
                continue;
            };
            for (_, place) in place::shown(&node) {
                queue.push(place.parent);
                queue.extend(place.from.as_ref().map(|(parent, _)| *parent));
            }
            self.state.nodes.insert(id, node);
        }
        Ok(grew)
    }

    fn knows(&self, id: NodeId) -> bool {
        self.state.nodes.contains_key(&id) || self.missing.contains(&id)
    }

    /// Who else has to do with what `view` shows.
    fn gaps(&mut self, view: &View) -> Result<Vec<NodeId>> {
        let mut more = Vec::new();
        for spot in view.spots.values().filter(|s| s.parent != NodeId::TRASH) {
            self.ask(view, spot.parent, &spot.name, &mut more)?;
        }
        for (dir, names) in view.directories.iter().filter(|(dir, _)| **dir != NodeId::TRASH) {
            for (name, entry) in names {
                let wanted = view.spots.get(&(entry.node, entry.link)).map(|s| &s.name);
                if entry.version.is_some() || wanted != Some(name) {
                    self.ask(view, *dir, name, &mut more)?;
                }
            }
        }
        for dir in self.unsettled(view) {
            if self.opened.insert(dir) {
                more.extend(self.terrain.inside(self.before.canonical(dir))?);
            }
        }
        Ok(more)
    }

    /// Whose `name` in the directory as which `dir` shows was.
    fn ask(&mut self, view: &View, dir: NodeId, name: &Name, more: &mut Vec<NodeId>) -> Result<()> {
        let canonical = view.canonical(dir);
        let parts = view.merged.iter().filter(|(_, into)| **into == canonical).map(|(part, _)| *part);
        let all: BTreeSet<NodeId> =
            parts.chain([canonical, dir]).flat_map(|part| [part, self.before.canonical(part)]).collect();
        for part in all {
            if self.asked.insert((part, name.clone())) {
                more.extend(self.terrain.held(part, name)?);
            }
        }
        Ok(())
    }

    /// Directories whose entries may show elsewhere now: gone, in the trash, merged or parted.
    fn unsettled(&self, view: &View) -> Vec<NodeId> {
        let placed = |id: NodeId| view.spots.range((id, 0)..).next().is_some_and(|((at, _), _)| *at == id);
        let is_dir = |id: &NodeId| self.state.nodes.get(id).is_some_and(|n| n.kind == NodeKind::Directory);
        let gone = self.seeds.iter().copied().filter(|id| self.missing.contains(id) || (is_dir(id) && !placed(*id)));
        let trashed = view.spots.iter().filter(|(_, s)| s.parent == NodeId::TRASH).map(|((id, _), _)| *id);
        let merged = view.merged.keys().copied().chain(self.before.iter().map(|(id, _)| id));
        let parted = merged.filter(|id| view.merged.get(id) != self.before.get(*id).and_then(|o| o.merged.as_ref()));
        gone.chain(trashed.filter(is_dir)).chain(parted).collect()
    }

    fn outcome(&mut self, view: &View) -> Result<Displaced> {
        let mut shows = BTreeMap::<NodeId, Vec<Shown>>::new();
        let mut also = BTreeMap::<NodeId, Vec<(LinkId, Vec<Item>)>>::new();
        for (dir, names) in &view.directories {
            for (name, entry) in names {
                if entry.version.is_some() && *dir == NodeId::TRASH {
                    continue;
                }
                let shown = Shown::at(entry.node, entry.link, *dir, name);
                shows.entry(entry.node).or_default().push(Shown { version: entry.version, ..shown });
                if !entry.also.is_empty() {
                    also.entry(entry.node).or_default().push((entry.link, entry.also.clone()));
                }
            }
        }
        let mut out = Displaced::default();
        for (id, node) in &self.state.nodes {
            let mut shows = shows.remove(id).unwrap_or_default();
            shows.sort();
            let usual = usual(*id, node, |dir| view.canonical(dir));
            let wants = usual.iter().map(|s| (s.parent, s.name.clone())).collect();
            let (merged, also) = (view.merged.get(id).copied(), also.remove(id).unwrap_or_default());
            let lost = shows.iter().any(|s| s.parent == NodeId::LOST);
            if lost || merged.is_some() || !also.is_empty() || usual != shows {
                out.insert(*id, Odd { shows, merged, also, wants });
            }
        }
        if let Some(name) = self.name_of_lost(view)? {
            let shown = Shown { link: 0, parent: NodeId::ROOT, name, version: None };
            out.insert(NodeId::LOST, Odd { shows: vec![shown], ..Odd::default() });
        }
        Ok(out)
    }

    /// `lost+found`, or with a number behind it if somebody has that name.
    fn name_of_lost(&mut self, view: &View) -> Result<Option<Name>> {
        if !view.directories.contains_key(&NodeId::LOST) {
            return Ok(None);
        }
        for n in 1..=u32::MAX {
            let text = if n == 1 { "lost+found".to_owned() } else { format!("lost+found {n}") };
            let name = Name::new(text.as_bytes())?;
            let held = self.terrain.held(NodeId::ROOT, &name)?;
            let other = held.is_some_and(|id| id != NodeId::LOST && !self.knows(id));
            if !other && view.lookup(NodeId::ROOT, name.as_bytes()).is_none() {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }
}
