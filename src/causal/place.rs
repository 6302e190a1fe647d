//! Where every link shows: registers turned into one tree, whatever was moved concurrently.
//!
//! Steps in this order: a live place beats the trash, then the latest stamp; an unknown parent means LOST;
//! in a cycle the latest mover returns to where it came from, then LOST; a trashed directory with
//! something live in it shows again where it was. Must be a function of the state alone, and must end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::clock::Stamp;
use super::join::State;
use super::state::{LinkId, NodeKind, NodeState, Place};
use super::view::Item;
use crate::base::port::Time;
use crate::base::{Name, NodeId};

/// Where one link shows, before clashes of names are settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// The directory.
    pub parent: NodeId,
    /// The name wanted there.
    pub name: Name,
    /// When it was put there.
    pub stamp: Stamp,
    /// Whether a rename put it there.
    pub moved: bool,
    /// Where to go back to; used up by going.
    from: Option<(NodeId, Name)>,
    /// Steps taken back so far.
    steps: u8,
    /// Not at the place its register says.
    pub displaced: bool,
}

/// Spots of all links, in the making.
pub(super) struct Places {
    pub(super) spots: BTreeMap<Item, Spot>,
    /// The item of each directory: it has one place, however many links a liar gives it.
    directories: HashMap<NodeId, Item>,
}

impl Spot {
    fn of(place: &Place) -> Self {
        Self {
            parent: place.parent,
            name: place.name.clone(),
            stamp: place.stamp,
            moved: place.from.is_some(),
            from: place.from.clone(),
            steps: 0,
            displaced: false,
        }
    }

    /// For a node that has content and no place.
    fn lost(id: NodeId) -> Option<Self> {
        let name = Name::new(format!("recovered-{id}").as_bytes()).ok()?;
        let stamp = Stamp { time: Time(i64::MIN), writer: 0 };
        let parent = NodeId::LOST;
        Some(Self { parent, name, stamp, moved: true, from: None, steps: 0, displaced: true })
    }

    fn lose(&mut self) {
        self.parent = NodeId::LOST;
        self.from = None;
        self.displaced = true;
    }

    /// To where it came from, once; else to LOST.
    fn go_back(&mut self) {
        match self.from.take() {
            Some((parent, name)) => {
                self.parent = parent;
                self.name = name;
                self.displaced = true;
            }
            None => self.lose(),
        }
    }

    /// One step of leaving a cycle.
    fn leave_cycle(&mut self) {
        self.steps = self.steps.saturating_add(1);
        if self.steps == 1 { self.go_back() } else { self.lose() }
    }
}

/// The links of a node that show, with their places.
pub(super) fn shown(node: &NodeState) -> Vec<(LinkId, &Place)> {
    let places: Vec<_> = node.places().collect();
    let live = |p: &Place| p.parent != NodeId::TRASH;
    let latest = || places.iter().max_by_key(|(id, p)| (live(p), p.stamp, p.parent, &p.name, *id)).copied();
    if node.kind != NodeKind::Directory && places.iter().any(|(_, p)| live(p)) {
        return places.into_iter().filter(|(_, p)| live(p)).collect();
    }
    latest().into_iter().collect()
}

impl Places {
    /// All steps.
    pub(super) fn of(state: &State) -> Self {
        let mut places = Self { spots: BTreeMap::new(), directories: HashMap::new() };
        for (id, node) in state.nodes.iter().filter(|(id, _)| !id.is_reserved()) {
            places.enter(*id, node);
        }
        loop {
            places.lose_orphans();
            if !places.break_cycles() && !places.revive() {
                return places;
            }
        }
    }

    fn enter(&mut self, id: NodeId, node: &NodeState) {
        let mut spots: Vec<_> = shown(node).into_iter().map(|(link, place)| (link, Spot::of(place))).collect();
        if spots.is_empty() && !node.content.0.is_empty() {
            spots.extend(Spot::lost(id).map(|spot| (0, spot)));
        }
        for (link, spot) in spots {
            if node.kind == NodeKind::Directory {
                self.directories.insert(id, (id, link));
            }
            self.spots.insert((id, link), spot);
        }
    }

    /// The directory that holds `of`; none at the reserved directories.
    fn parent(&self, of: &Item) -> Option<Item> {
        self.directories.get(&self.spots.get(of)?.parent).copied()
    }

    fn lose_orphans(&mut self) {
        for spot in self.spots.values_mut() {
            if !spot.parent.is_reserved() && !self.directories.contains_key(&spot.parent) {
                spot.lose();
            }
        }
    }

    /// The latest mover of every cycle takes a step back. False if there is no cycle.
    fn break_cycles(&mut self) -> bool {
        let cycles = self.cycles();
        for cycle in &cycles {
            let latest = cycle.iter().max_by_key(|item| (self.spots.get(item).map(|s| s.stamp), **item)).copied();
            if let Some(spot) = latest.and_then(|item| self.spots.get_mut(&item)) {
                spot.leave_cycle();
            }
        }
        !cycles.is_empty()
    }

    fn cycles(&self) -> Vec<Vec<Item>> {
        let mut seen = HashMap::<Item, Item>::new();
        let mut cycles = Vec::new();
        for start in self.directories.values() {
            let mut path = Vec::new();
            let mut next = Some(*start);
            while let Some(item) = next.filter(|item| !seen.contains_key(item)) {
                seen.insert(item, *start);
                path.push(item);
                next = self.parent(&item);
            }
            let Some(end) = next.filter(|item| seen.get(item) == Some(start)) else { continue };
            cycles.push(path.into_iter().skip_while(|item| *item != end).collect());
        }
        cycles
    }

    /// Trashed directories that hold something live show where they were. False if there are none.
    /// Needs a tree without cycles.
    fn revive(&mut self) -> bool {
        let mut trashed = BTreeSet::new();
        let mut seen = BTreeSet::new();
        for (start, spot) in &self.spots {
            let mut next = if spot.parent == NodeId::TRASH { None } else { self.parent(start) };
            while let Some(item) = next.filter(|item| seen.insert(*item)) {
                let in_trash = self.spots.get(&item).is_some_and(|s| s.parent == NodeId::TRASH);
                if in_trash {
                    trashed.insert(item);
                }
                next = if in_trash { None } else { self.parent(&item) };
            }
        }
        for item in &trashed {
            if let Some(spot) = self.spots.get_mut(item) {
                spot.go_back();
            }
        }
        !trashed.is_empty()
    }
}
