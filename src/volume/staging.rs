//! The rows of the index a seal changes, with the recursive totals carried up to the root.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Volume;
use super::names::name_in;
use super::namespace::Roots;
use super::row::{Contribution, Row, Totals, index_key};
use super::sealing::{Changed, Rows, Snapshot};
use crate::base::{Name, NodeId, Result};
use crate::causal::{Displaced, NodeKind};

/// The rows of the index that change, and what they add to the directories above.
#[derive(Default)]
pub(super) struct Staged {
    pub rows: BTreeMap<Vec<u8>, Option<Row>>,
    /// Where each staged directory row is.
    dirs: HashMap<NodeId, (NodeId, Vec<u8>)>,
    pending: HashMap<NodeId, Contribution>,
    gone: HashSet<NodeId>,
}

impl Volume {
    /// The new rows, with recursive totals carried up to the root.
    pub(super) fn stage(&self, snapshot: &Snapshot, roots: &mut Roots) -> Result<Staged> {
        let mut staged = Staged::default();
        for changed in &snapshot.changed {
            for (parent, name, contribution) in &changed.old_rows {
                staged.rows.insert(index_key(*parent, name.as_bytes()), None);
                staged.pending.entry(*parent).or_default().subtract(*contribution);
            }
        }
        for changed in &snapshot.changed {
            let Some(state) = &changed.state else {
                staged.gone.insert(changed.inode.id);
                continue;
            };
            if changed.shows.is_empty() && changed.inode.id != NodeId::ROOT {
                // Merged into another: it has no row that could carry totals.
                staged.gone.insert(changed.inode.id);
            }
            if changed.inode.id == NodeId::ROOT {
                roots.root_subdirs = changed.subdirs;
            }
            let is_dir = state.kind == NodeKind::Directory;
            let totals = is_dir.then(|| changed.old_rows.first().map_or_else(Totals::default, |(.., c)| c.totals()));
            for shown in &changed.shows {
                let row = Row::shown(changed.inode.id, shown, state, changed.subdirs, totals);
                let key = index_key(shown.parent, shown.name.as_bytes());
                staged.pending.entry(shown.parent).or_default().add(row.contribution());
                if is_dir {
                    staged.dirs.insert(changed.inode.id, (shown.parent, key.clone()));
                }
                staged.rows.insert(key, Some(row));
            }
            if let (NodeId::ROOT, Some(name)) = (changed.inode.id, snapshot.table.lost()) {
                let row = Row::of(NodeId::LOST, 0, state, 0, Some(Totals::default()));
                staged.pending.entry(NodeId::ROOT).or_default().add(row.contribution());
                staged.rows.insert(index_key(NodeId::ROOT, name.as_bytes()), Some(row));
            }
        }
        self.carry_up(&mut staged, (roots, &snapshot.sealed_table))?;
        Ok(staged)
    }

    /// Apply what is pending to directory rows until it has reached the root.
    fn carry_up(&self, staged: &mut Staged, (roots, shown): (&mut Roots, &Displaced)) -> Result<()> {
        while let Some(dir) = staged.pending.keys().next().copied() {
            let Some(change) = staged.pending.remove(&dir) else { continue };
            if dir == NodeId::ROOT {
                change.apply(&mut roots.totals);
                continue;
            }
            if staged.gone.contains(&dir) {
                continue;
            }
            if !staged.dirs.contains_key(&dir) && !self.stage_clean_dir(staged, (roots, shown), dir)? {
                continue;
            }
            let Some((parent, key)) = staged.dirs.get(&dir).cloned() else { continue };
            if let Some(Some(row)) = staged.rows.get_mut(&key) {
                let before = row.contribution();
                change.apply(row.totals.get_or_insert_default());
                let mut difference = row.contribution();
                difference.subtract(before);
                if !difference.is_nothing() || change.changed > before.changed {
                    staged.pending.entry(parent).or_default().add(difference);
                }
            }
        }
        Ok(())
    }

    /// Stage the row of a directory that did not change itself.
    fn stage_clean_dir(&self, staged: &mut Staged, (roots, shown): (&Roots, &Displaced), dir: NodeId) -> Result<bool> {
        let Some(state) = self.sealed_state(roots, dir)? else { return Ok(false) };
        let Some(at) = shown.shows(dir, &state).into_iter().next() else { return Ok(false) };
        let Some(row) = self.sealed_row(roots, at.parent, at.name.as_bytes())? else { return Ok(false) };
        let key = index_key(at.parent, at.name.as_bytes());
        staged.dirs.insert(dir, (at.parent, key.clone()));
        staged.rows.insert(key, Some(row));
        Ok(true)
    }
}

impl Staged {
    /// The rows `changed` has after this seal.
    pub fn rows_of(&self, changed: &Changed, table: &Displaced) -> Rows {
        let lost = table.lost().filter(|_| changed.inode.id == NodeId::ROOT);
        let shows = changed.shows.iter().map(|s| (s.parent, &s.name));
        shows
            .chain(lost.map(|name| (NodeId::ROOT, name)))
            .filter_map(|(parent, name)| {
                let row = self.rows.get(&index_key(parent, name.as_bytes()))?.as_ref()?;
                Some((parent, name.clone(), row.contribution()))
            })
            .collect()
    }

    /// The rows of every staged directory.
    pub fn dir_rows(&self) -> Vec<(NodeId, Rows)> {
        let row = |(dir, (parent, key)): (&NodeId, &(NodeId, Vec<u8>))| {
            let row = self.rows.get(key)?.as_ref()?;
            let name = Name::new(name_in(key, *parent)?).ok()?;
            Some((*dir, vec![(*parent, name, row.contribution())]))
        };
        self.dirs.iter().filter_map(row).collect()
    }
}
