//! A device as the join sees it: operations that make dots, and receiving from others.

use std::collections::BTreeSet;

use crate::base::port::Time;
use crate::base::{Name, NodeId, hash};
use crate::causal::{
    Dot, Entry, Field, HybridClock, Item, LinkId, NodeKind, NodeState, Place, Register, Stamp, State, Value, Vector,
    Version, View, join_node,
};

pub const ROOT: NodeId = NodeId::ROOT;
pub const TRASH: NodeId = NodeId::TRASH;
pub const LOST: NodeId = NodeId::LOST;

#[derive(Debug, Clone)]
pub struct Replica {
    pub writer: u32,
    pub state: State,
    pub clock: HybridClock,
    /// What the wall clock says.
    pub now: i64,
}

pub fn label(writer: u32) -> String {
    format!("dev{writer}")
}

pub fn view(state: &State) -> View {
    let view = View::of(state, &label);
    check(state, &view);
    view
}

pub fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

impl Replica {
    pub fn new(writer: u32) -> Self {
        let clock = HybridClock::new(writer, Time(0));
        Self { writer, state: State::default(), clock, now: 0 }
    }

    /// Another device that knows the same.
    pub fn twin(&self, writer: u32) -> Self {
        let clock = HybridClock::new(writer, self.clock.last());
        Self { writer, state: self.state.clone(), clock, now: self.now }
    }

    pub fn receive(&mut self, other: &Self) {
        self.state = self.state.join(&other.state);
        self.clock.observe(Stamp { time: other.clock.last(), writer: other.writer });
    }

    pub fn tick(&mut self) -> (Dot, Stamp) {
        self.now += 1;
        (self.state.context.next(self.writer), self.clock.stamp(Time(self.now)))
    }

    pub fn node(&mut self, id: NodeId) -> &mut NodeState {
        self.state.nodes.get_mut(&id).unwrap()
    }

    pub fn view(&self) -> View {
        view(&self.state)
    }

    pub fn create(&mut self, kind: NodeKind, parent: NodeId, at: &str, data: Option<&str>) -> NodeId {
        let (dot, stamp) = self.tick();
        let random = hash(&[&dot.writer.to_le_bytes(), &dot.seq.to_le_bytes()]);
        let id = NodeId::born_in(parent, random[..10].try_into().unwrap());
        let place = Place { parent, name: name(at), stamp, from: None };
        let mut node = NodeState {
            kind,
            born: stamp.time,
            links: vec![(0, Register(vec![(dot, place)]))],
            content: Register::default(),
            attributes: Vec::new(),
        };
        if let Some(data) = data {
            node.content.set(dot, version(data, stamp));
        }
        node.set_attribute(Field::Mode, Value::Mode(0o644), stamp);
        node.set_attribute(Field::Owner, Value::Owner(1, 1), stamp);
        node.assert_attributes(dot);
        self.state.nodes.insert(id, node);
        id
    }

    pub fn mkdir(&mut self, parent: NodeId, at: &str) -> NodeId {
        self.create(NodeKind::Directory, parent, at, None)
    }

    pub fn file(&mut self, parent: NodeId, at: &str, data: &str) -> NodeId {
        self.create(NodeKind::File, parent, at, Some(data))
    }

    /// Where the first link shows: parent and wanted name.
    fn spot(&self, id: NodeId) -> (LinkId, (NodeId, Name)) {
        let view = self.view();
        let ((_, link), spot) = view.spots.range((id, 0)..).next().unwrap();
        (*link, (spot.parent, spot.name.clone()))
    }

    /// Whether `parent` lies in `id`.
    pub fn is_below(&self, parent: NodeId, id: NodeId) -> bool {
        let view = self.view();
        let mut next = Some(parent);
        while let Some(at) = next {
            if at == id {
                return true;
            }
            next = view.spots.range((at, 0)..).next().filter(|((n, _), _)| *n == at).map(|(_, spot)| spot.parent);
        }
        false
    }

    /// rename; false where POSIX forbids it.
    pub fn rename(&mut self, id: NodeId, parent: NodeId, to: &str) -> bool {
        if self.state.nodes[&id].kind == NodeKind::Directory && self.is_below(parent, id) {
            return false;
        }
        let (link, from) = self.spot(id);
        let change = self.tick();
        self.put(id, link, Place { parent, name: name(to), stamp: change.1, from: Some(from) }, change.0);
        true
    }

    fn put(&mut self, id: NodeId, link: LinkId, place: Place, dot: Dot) {
        let node = self.node(id);
        node.links.retain(|(l, _)| *l != link);
        node.links.push((link, Register(vec![(dot, place)])));
        node.links.sort_by_key(|(l, _)| *l);
        node.assert_attributes(dot);
    }

    /// Replace the shown version; others stay.
    pub fn write(&mut self, id: NodeId, data: &str) {
        let (dot, stamp) = self.tick();
        let node = self.node(id);
        let shown = node.shown().map(|(dot, _)| *dot);
        node.content.0.retain(|(d, _)| Some(*d) != shown);
        node.content.0.push((dot, version(data, stamp)));
        node.content.0.sort_by_key(|(d, _)| *d);
        node.assert_places(dot);
        node.assert_attributes(dot);
    }

    /// unlink or rmdir of all links: the node goes to the trash.
    pub fn remove(&mut self, id: NodeId) {
        let (link, from) = self.spot(id);
        let (dot, stamp) = self.tick();
        self.node(id).links.clear();
        let name = from.1.clone();
        self.put(id, link, Place { parent: TRASH, name, stamp, from: Some(from) }, dot);
    }

    pub fn remove_all(&mut self, ids: &[NodeId]) {
        ids.iter().for_each(|id| self.remove(*id));
    }

    /// unlink of one of several names.
    pub fn unlink(&mut self, id: NodeId, link: LinkId) {
        self.tick();
        self.node(id).links.retain(|(l, _)| *l != link);
    }

    pub fn link(&mut self, id: NodeId, parent: NodeId, at: &str) -> LinkId {
        let (dot, stamp) = self.tick();
        let link = dot.seq << 8 | u64::from(dot.writer);
        let place = Place { parent, name: name(at), stamp, from: None };
        self.put(id, link, place, dot);
        link
    }

    pub fn purge(&mut self, id: NodeId) {
        self.tick();
        self.state.nodes.remove(&id);
    }

    pub fn chmod(&mut self, id: NodeId, mode: u16) {
        self.set(id, Field::Mode, Value::Mode(mode));
    }

    pub fn set(&mut self, id: NodeId, field: Field, value: Value) {
        let (dot, stamp) = self.tick();
        let node = self.node(id);
        node.set_attribute(field, value, stamp);
        node.assert_attributes(dot);
    }

    /// Keep one version only.
    pub fn resolve(&mut self, id: NodeId, keep: Dot) {
        self.tick();
        self.node(id).content.0.retain(|(d, _)| *d == keep);
    }

    /// Write to a conflict copy: it becomes a node of its own.
    pub fn write_copy(&mut self, id: NodeId, copy: Dot, parent: NodeId, at: &str, data: &str) -> NodeId {
        let new = self.file(parent, at, data);
        self.tick();
        self.node(id).content.0.retain(|(d, _)| *d != copy);
        new
    }

    /// An editor writes a fresh file and renames it over the old one: the old one takes the content over.
    pub fn atomic_save(&mut self, target: NodeId, data: &str) {
        let (_, (parent, _)) = self.spot(target);
        let temporary = self.file(parent, ".tmp", data);
        self.write(target, data);
        self.purge(temporary);
    }

    pub fn mode(&self, id: NodeId) -> Option<u16> {
        match self.state.nodes.get(&id)?.attribute(&Field::Mode)?.value {
            Value::Mode(mode) => Some(mode),
            _ => None,
        }
    }
}

pub fn version(data: &str, stamp: Stamp) -> Version {
    Version { data: data.into(), size: data.len() as u64, mtime: stamp.time, stamp }
}

/// Everybody tells everybody; all must agree.
pub fn meet(all: &mut [&mut Replica]) -> View {
    for _ in 0..2 {
        for at in 0..all.len() {
            for from in 0..all.len() {
                let other = all[from].clone();
                all[at].receive(&other);
            }
        }
    }
    for pair in all.windows(2) {
        assert_eq!(pair[0].state, pair[1].state, "equal vectors, equal state");
        assert_eq!(pair[0].view(), pair[1].view());
    }
    all[0].view()
}

/// The whole tree as lines of `path = content`, directories with a slash; sorted.
pub fn paths(state: &State, view: &View, top: NodeId) -> Vec<String> {
    let mut out = Vec::new();
    for (name, entry) in view.list(top) {
        let node = &state.nodes[&entry.node];
        if node.kind == NodeKind::Directory {
            out.push(format!("{name}/"));
            out.extend(paths(state, view, entry.node).into_iter().map(|p| format!("{name}/{p}")));
        } else {
            out.push(format!("{name} = {}", data(node, entry)));
        }
    }
    out
}

pub fn data(node: &NodeState, entry: &Entry) -> String {
    let version = match entry.version {
        Some(dot) => node.content.0.iter().find(|(d, _)| *d == dot),
        None => node.shown(),
    };
    version.map_or_else(String::new, |(_, v)| String::from_utf8(v.data.clone()).unwrap())
}

/// The visible tree, with what marks a conflict shortened to `(conflict DEVICE)`.
pub fn show(state: &State) -> Vec<String> {
    let short = |line: String| match line.split_once(" (conflict ") {
        Some((before, rest)) => {
            let (device, rest) = rest.split_once(' ').unwrap();
            format!("{before}({device}){}", rest.split_once(')').unwrap().1)
        }
        None => line,
    };
    paths(state, &view(state), ROOT).into_iter().map(short).collect()
}

/// Everything is shown exactly once, under reserved directories, without cycles; all contents can be read.
pub fn check(state: &State, view: &View) {
    let mut shown: Vec<Item> = Vec::new();
    let mut open = vec![ROOT, TRASH, LOST];
    let mut versions = BTreeSet::new();
    let mut visited = BTreeSet::new();
    while let Some(directory) = open.pop() {
        assert!(visited.insert(directory), "a directory is shown twice");
        for entry in view.directories.get(&directory).into_iter().flat_map(|d| d.values()) {
            let node = &state.nodes[&entry.node];
            versions.insert((entry.node, data(node, entry)));
            if entry.version.is_none() {
                shown.push((entry.node, entry.link));
                shown.extend(&entry.also);
                for (also, _) in &entry.also {
                    versions.insert((*also, data(&state.nodes[also], &Entry { version: None, ..entry.clone() })));
                }
                if node.kind == NodeKind::Directory {
                    open.push(entry.node);
                }
            }
        }
    }
    shown.sort_unstable();
    let expected: Vec<Item> = view.spots.keys().copied().collect();
    assert_eq!(shown, expected, "every link is shown exactly once");
    for (id, node) in &state.nodes {
        let has_place = !node.links.is_empty() || !node.content.0.is_empty();
        assert_eq!(has_place, view.spots.range((*id, 0)..).next().is_some_and(|((n, _), _)| n == id));
        for (_, v) in &node.content.0 {
            let text = String::from_utf8(v.data.clone()).unwrap();
            assert!(versions.contains(&(*id, text)), "a version cannot be seen");
        }
    }
}

/// Joining node by node, as the trees do, is joining the states.
pub fn joined_by_nodes(a: &State, b: &State) -> State {
    let ids: BTreeSet<_> = a.nodes.keys().chain(b.nodes.keys()).collect();
    let mut context: Vector = a.context.clone();
    context.unite(&b.context);
    let nodes = ids
        .into_iter()
        .filter_map(|id| Some((*id, join_node((a.nodes.get(id), &a.context), (b.nodes.get(id), &b.context))?)))
        .collect();
    State { context, nodes }
}
