//! The view brought up to date is the view from scratch, whatever happened.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::laws::{runs, step};
use super::replica::*;
use crate::base::{Name, NodeId, Result};
use crate::causal::{Displaced, NodeState, Odd, Shown, State, Terrain, View, refresh};

/// A whole state before and after a change.
struct Whole<'a> {
    before: &'a View,
    after: &'a State,
    lost: Option<Name>,
}

impl Terrain for Whole<'_> {
    fn node(&mut self, id: NodeId) -> Result<Option<NodeState>> {
        Ok(self.after.nodes.get(&id).cloned())
    }

    fn held(&mut self, directory: NodeId, name: &Name) -> Result<Option<NodeId>> {
        if directory == ROOT && self.lost.as_ref() == Some(name) {
            return Ok(Some(LOST));
        }
        Ok(self.before.directories.get(&directory).and_then(|d| d.get(name)).map(|e| e.node))
    }

    fn inside(&mut self, directory: NodeId) -> Result<Vec<NodeId>> {
        let names = self.before.directories.get(&directory);
        Ok(names.into_iter().flatten().filter(|(_, e)| e.version.is_none()).map(|(_, e)| e.node).collect())
    }
}

/// What every node shows as, by the view from scratch.
fn expected(state: &State, view: &View) -> BTreeMap<NodeId, (Vec<Shown>, Option<NodeId>)> {
    let mut out: BTreeMap<_, (Vec<Shown>, _)> =
        state.nodes.keys().map(|id| (*id, (Vec::new(), view.merged.get(id).copied()))).collect();
    for (dir, names) in &view.directories {
        for (name, entry) in names {
            let trash = *dir == TRASH;
            if trash && entry.version.is_some() {
                continue;
            }
            let name = if trash { Name::new(entry.node.to_string().as_bytes()).unwrap() } else { name.clone() };
            let shown = Shown { link: entry.link, parent: *dir, name, version: entry.version };
            out.get_mut(&entry.node).unwrap().0.push(shown);
        }
    }
    out.values_mut().for_each(|(shows, _)| shows.sort());
    out
}

/// One device's view, brought up to date step by step.
#[derive(Default)]
struct Kept {
    state: State,
    view: View,
    table: Displaced,
}

impl Kept {
    fn follow(&mut self, after: &State) {
        let ids = self.state.nodes.keys().chain(after.nodes.keys());
        let touched: Vec<NodeId> = ids.filter(|id| self.state.nodes.get(id) != after.nodes.get(id)).copied().collect();
        let lost = self.table.lost().cloned();
        let mut whole = Whole { before: &self.view, after, lost };
        let refreshed = refresh(&mut whole, &self.table, touched, &label).unwrap();
        let view = View::of(after, &label);
        for (id, (shows, merged)) in expected(after, &view) {
            let node = &after.nodes[&id];
            if !id.is_reserved() {
                assert_eq!(refreshed.displaced.shows(id, node), shows, "{id}");
                assert_eq!(refreshed.displaced.get(id).and_then(|o: &Odd| o.merged), merged, "{id}");
            }
        }
        assert_eq!(refreshed.displaced.lost().is_some(), view.directories.contains_key(&LOST));
        *self = Self { state: after.clone(), view, table: refreshed.displaced };
    }
}

proptest! {
    #[test]
    fn the_view_brought_up_to_date_is_the_view_from_scratch((n, ops) in runs(80)) {
        let mut all: Vec<_> = (0..n).map(|w| Replica::new(u32::try_from(w).unwrap() + 1)).collect();
        let mut kept: Vec<Kept> = all.iter().map(|_| Kept::default()).collect();
        for (who, op) in &ops {
            let at = who.index(n);
            step(&mut all, at, op);
            kept[at].follow(&all[at].state);
        }
        for from in 0..n {
            let other = all[from].clone();
            all[0].receive(&other);
            kept[0].follow(&all[0].state);
        }
    }
}
