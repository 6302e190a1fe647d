//! Joining two states: what both together know.
//!
//! A dot stays if both have it, or if the side that lacks it has never seen it. Must never make a dot,
//! look at a clock, or depend on which side is which: join is commutative, associative and idempotent.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::{Dot, Vector};
use super::state::{Attribute, Field, LinkId, NodeState, Place, Register};
use crate::base::NodeId;

/// The replicated state of a volume, whole and in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// What is known. A dot covered by it and absent from the nodes has been removed.
    pub context: Vector,
    /// What is there.
    pub nodes: BTreeMap<NodeId, NodeState>,
}

impl State {
    /// Both together. O(n log n); the trees of `raw` nodes are joined by walking their differences and
    /// calling [`join_node`].
    #[must_use]
    pub fn join(&self, other: &Self) -> Self {
        let ids: BTreeSet<_> = self.nodes.keys().chain(other.nodes.keys()).copied().collect();
        let joined = |id| {
            let (a, b) = (self.nodes.get(&id), other.nodes.get(&id));
            Some((id, join_node((a, &self.context), (b, &other.context))?))
        };
        let nodes = ids.into_iter().filter_map(joined).collect();
        let mut context = self.context.clone();
        context.unite(&other.context);
        Self { context, nodes }
    }
}

/// One node of two states, with what each state knows. `None` if nothing of it remains.
pub fn join_node(a: (Option<&NodeState>, &Vector), b: (Option<&NodeState>, &Vector)) -> Option<NodeState> {
    let (first, second) = (a.0.or(b.0)?, b.0.or(a.0)?);
    let node = NodeState {
        // Fixed at birth; only a liar makes them differ, and then everybody must agree on one.
        kind: first.kind.max(second.kind),
        born: first.born.max(second.born),
        links: join_links(a, b),
        content: Register(join_dots(
            (a.0.map_or(&[], |n| &n.content.0), a.1),
            (b.0.map_or(&[], |n| &n.content.0), b.1),
        )),
        attributes: join_attributes(a, b),
    };
    let nothing = node.links.is_empty() && node.content.0.is_empty() && node.attributes.is_empty();
    (!nothing).then_some(node)
}

type Side<'a, T> = (&'a [(Dot, T)], &'a Vector);

fn join_dots<T: Ord + Clone>(a: Side<'_, T>, b: Side<'_, T>) -> Vec<(Dot, T)> {
    let mut out = BTreeMap::<Dot, &T>::new();
    for ((mine, _), (others, their_context)) in [(a, b), (b, a)] {
        let stays = |dot: &Dot| !their_context.covers(*dot) || others.iter().any(|(d, _)| d == dot);
        for (dot, value) in mine.iter().filter(|(dot, _)| stays(dot)) {
            // One dot has one value; a liar's two must not tell sides apart.
            out.entry(*dot).and_modify(|had| *had = value.max(*had)).or_insert(value);
        }
    }
    out.into_iter().map(|(dot, value)| (dot, value.clone())).collect()
}

fn join_links(a: (Option<&NodeState>, &Vector), b: (Option<&NodeState>, &Vector)) -> Vec<(LinkId, Register<Place>)> {
    let links = |node: Option<&NodeState>| -> BTreeMap<LinkId, Vec<(Dot, Place)>> {
        node.into_iter().flat_map(|n| &n.links).map(|(id, register)| (*id, register.0.clone())).collect()
    };
    let (mine, theirs) = (links(a.0), links(b.0));
    let ids: BTreeSet<_> = mine.keys().chain(theirs.keys()).copied().collect();
    let of = |side: &BTreeMap<LinkId, Vec<(Dot, Place)>>, id| side.get(&id).cloned().unwrap_or_default();
    let joined = |id| (id, Register(join_dots((&of(&mine, id), a.1), (&of(&theirs, id), b.1))));
    ids.into_iter().map(joined).filter(|(_, register)| !register.0.is_empty()).collect()
}

fn join_attributes(a: (Option<&NodeState>, &Vector), b: (Option<&NodeState>, &Vector)) -> Vec<Attribute> {
    let mut out = BTreeMap::<(&Field, Dot), &Attribute>::new();
    for ((mine, _), (theirs, their_context)) in [(a, b), (b, a)] {
        let mine = mine.map_or(&[][..], |n| &n.attributes);
        let theirs = theirs.map_or(&[][..], |n| &n.attributes);
        let has = |x: &Attribute| theirs.iter().any(|y| y.dot == x.dot && y.field == x.field);
        for x in mine.iter().filter(|x| !their_context.covers(x.dot) || has(x)) {
            let slot = out.entry((&x.field, x.dot)).or_insert(x);
            if (slot.stamp, &slot.value) < (x.stamp, &x.value) {
                *slot = x;
            }
        }
    }
    let mut all: Vec<Attribute> = out.into_values().cloned().collect();
    all.sort_by(|x, y| (&x.field, x.stamp, x.dot).cmp(&(&y.field, y.stamp, y.dot)));
    all
}
