//! Clashes of names: which entry keeps a name, which are merged, which are marked.
//!
//! Works from the reserved directories downwards, because what is merged decides what meets below. Must
//! never hide different content, and never depend on the order of anything but stamps and ids.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::clock::{Dot, Stamp};
use super::join::State;
use super::place::Spot;
use super::state::{NodeKind, NodeState, Version};
use super::suffix::conflict_name;
use super::view::{Entry, Item};
use crate::base::{Name, NodeId, WriterIndex, hash};

/// Entries of directories, and which directories show as part of another.
type Settled = (BTreeMap<NodeId, BTreeMap<Name, Entry>>, BTreeMap<NodeId, NodeId>);

/// The work of one view.
pub(super) struct Settle<'s> {
    state: &'s State,
    spots: &'s BTreeMap<Item, Spot>,
    label: &'s dyn Fn(WriterIndex) -> String,
    children: HashMap<NodeId, Vec<Item>>,
    out: Settled,
}

/// A claim on a name: what would be one entry.
struct Claim<'s> {
    entry: Entry,
    spot: &'s Spot,
    directory: bool,
}

/// An entry that needs another name.
struct Marked<'s> {
    entry: Entry,
    name: &'s Name,
    stamp: Stamp,
    directory: bool,
}

impl<'s> Settle<'s> {
    pub(super) fn new(
        state: &'s State,
        spots: &'s BTreeMap<Item, Spot>,
        label: &'s dyn Fn(WriterIndex) -> String,
    ) -> Self {
        let mut children = HashMap::<NodeId, Vec<Item>>::new();
        for (item, spot) in spots {
            children.entry(spot.parent).or_default().push(*item);
        }
        Self { state, spots, label, children, out: Settled::default() }
    }

    pub(super) fn run(mut self) -> Settled {
        let mut open: Vec<Vec<NodeId>> = [NodeId::ROOT, NodeId::TRASH, NodeId::LOST].map(|id| vec![id]).into();
        while let Some(group) = open.pop() {
            open.extend(self.directory(&group));
        }
        self.out
    }

    /// Settle one directory, given as all that are merged into its first. The directories below.
    fn directory(&mut self, group: &[NodeId]) -> Vec<Vec<NodeId>> {
        let Some(canonical) = group.first().copied() else { return Vec::new() };
        let mut wanted = BTreeMap::<&Name, Vec<Item>>::new();
        for item in group.iter().flat_map(|id| self.children.get(id).into_iter().flatten()) {
            if let Some(spot) = self.spots.get(item) {
                wanted.entry(&spot.name).or_default().push(*item);
            }
        }
        let mut names = BTreeMap::new();
        let mut marked = Vec::new();
        for (name, items) in wanted {
            let claims = self.claims(&items, canonical == NodeId::TRASH);
            let keeper = keeper(&claims);
            for (at, claim) in claims.into_iter().enumerate() {
                marked.extend(self.conflict_copies(&claim, name));
                if at == keeper {
                    names.insert(name.clone(), claim.entry);
                } else {
                    marked.push(Marked {
                        name,
                        stamp: claim.spot.stamp,
                        directory: claim.directory,
                        entry: claim.entry,
                    });
                }
            }
        }
        self.rename(&mut names, marked);
        self.finish(canonical, names)
    }

    /// Record a settled directory; its subdirectories with all that are merged into them.
    fn finish(&mut self, canonical: NodeId, names: BTreeMap<Name, Entry>) -> Vec<Vec<NodeId>> {
        let mut below = Vec::new();
        for entry in names.values() {
            if self.kind(entry.node) != Some(NodeKind::Directory) {
                continue;
            }
            let merged = entry.also.iter().map(|(id, _)| *id);
            self.out.1.extend(merged.clone().map(|id| (id, entry.node)));
            below.push(std::iter::once(entry.node).chain(merged).collect());
        }
        if !names.is_empty() {
            self.out.0.insert(canonical, names);
        }
        below
    }

    fn node(&self, id: NodeId) -> Option<&'s NodeState> {
        self.state.nodes.get(&id)
    }

    fn kind(&self, id: NodeId) -> Option<NodeKind> {
        self.node(id).map(|n| n.kind)
    }

    /// What wants one name, with what is the same put together. In the trash nothing is.
    fn claims(&self, items: &[Item], trash: bool) -> Vec<Claim<'s>> {
        let mut sorted: Vec<(&Spot, Item)> = items.iter().filter_map(|i| Some((self.spots.get(i)?, *i))).collect();
        sorted.sort_by_key(|(spot, item)| (spot.stamp, *item));
        let mut claims: Vec<Claim<'s>> = Vec::new();
        for (spot, item) in sorted {
            let same = claims.iter_mut().find(|c| !trash && self.same(c, spot, item));
            match same {
                // Of equal directories the earliest stands for all, of equal files the latest.
                Some(claim) if claim.directory => claim.entry.also.push(item),
                Some(claim) => {
                    claim.entry.also.push((claim.entry.node, claim.entry.link));
                    (claim.entry.node, claim.entry.link) = item;
                    claim.spot = spot;
                }
                None => claims.push(self.claim(spot, item)),
            }
        }
        claims
    }

    fn claim(&self, spot: &'s Spot, (node, link): Item) -> Claim<'s> {
        let directory = self.kind(node) == Some(NodeKind::Directory);
        Claim { entry: Entry { node, link, version: None, also: Vec::new() }, spot, directory }
    }

    /// Directories are merged if neither was ever renamed, or one operation moved both (it renamed a
    /// merged directory). Files are the same if their content is, without conflicts.
    fn same(&self, claim: &Claim<'_>, spot: &Spot, (id, _): Item) -> bool {
        let (Some(a), Some(b)) = (self.node(claim.entry.node), self.node(id)) else { return false };
        if a.kind == NodeKind::Directory && b.kind == NodeKind::Directory {
            return (!claim.spot.moved && !spot.moved) || claim.spot.stamp == spot.stamp;
        }
        let bytes = |n: &NodeState| {
            Some(versions(n)).filter(|v| v.len() < 2).map(|v| v.first().map(|(_, v)| content(v).to_vec()))
        };
        claim.entry.node == id || (a.kind == b.kind && matches!((bytes(a), bytes(b)), (Some(x), Some(y)) if x == y))
    }

    /// The versions of a file that lost its name, shown beside its first link.
    fn conflict_copies(&self, claim: &Claim<'_>, name: &'s Name) -> Vec<Marked<'s>> {
        let Claim { entry, directory: false, .. } = claim else { return Vec::new() };
        let first = self.spots.range((entry.node, 0)..).next().map(|(item, _)| *item);
        let here = first.is_some_and(|f| f == (entry.node, entry.link) || entry.also.contains(&f));
        let Some(node) = self.node(entry.node).filter(|_| here) else { return Vec::new() };
        let losers = versions(node).into_iter().skip(1);
        losers
            .map(|(dot, v)| Marked {
                entry: Entry { version: Some(dot), also: Vec::new(), ..entry.clone() },
                name,
                stamp: v.stamp,
                directory: false,
            })
            .collect()
    }

    /// Give every marked entry a name that nobody else has.
    fn rename(&self, names: &mut BTreeMap<Name, Entry>, mut marked: Vec<Marked<'s>>) {
        marked.sort_by_key(|m| (m.name, m.stamp, m.entry.node, m.entry.link, m.entry.version));
        for Marked { entry, name, stamp, directory } in marked {
            let label = (self.label)(stamp.writer);
            let digest = tag(&entry);
            let free = (4..=digest.len())
                .map(|len| conflict_name(name, &label, stamp, digest.get(..len).unwrap_or(&digest), directory))
                .find(|name| !names.contains_key(name));
            names.insert(free.unwrap_or_else(|| name.clone()), entry);
        }
    }
}

/// Distinct contents of a node: the shown one, then the others by falling stamp.
fn versions(node: &NodeState) -> Vec<(Dot, &Version)> {
    let mut all: Vec<_> = node.content.0.iter().map(|(dot, v)| (*dot, v)).collect();
    all.sort_by_key(|(dot, v)| std::cmp::Reverse((v.stamp, *dot)));
    let mut seen = HashSet::new();
    all.retain(|(_, v)| seen.insert(content(v)));
    all
}

fn content(version: &Version) -> &[u8] {
    &version.data
}

/// Who keeps the name: a directory before anything else. Where a rename made the clash the earlier
/// stands; among what was born there, the later file keeps it (and all directories are one).
fn keeper(claims: &[Claim<'_>]) -> usize {
    let directories = claims.iter().any(|c| c.directory);
    let moved = claims.iter().any(|c| c.spot.moved);
    let able = claims.iter().enumerate().filter(|(_, c)| c.directory == directories);
    let order = |(_, c): &(usize, &Claim<'_>)| (c.spot.stamp, c.entry.node, c.entry.link);
    let found = if directories || moved { able.min_by_key(order) } else { able.max_by_key(order) };
    found.map_or(0, |(at, _)| at)
}

fn tag(entry: &Entry) -> String {
    let version = entry.version.map_or([0; 12], |dot| {
        let mut out = [0; 12];
        out[..4].copy_from_slice(&dot.writer.to_le_bytes());
        out[4..].copy_from_slice(&dot.seq.to_le_bytes());
        out
    });
    let digest = hash(&[entry.node.as_bytes(), &entry.link.to_le_bytes(), &version]);
    NodeId::from_slice(digest.get(..16).unwrap_or(&[])).map_or_else(String::new, |id| id.to_string())
}
