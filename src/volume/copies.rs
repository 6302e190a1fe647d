//! Conflict copies: versions shown beside their node, until somebody changes, removes or keeps one.
//!
//! A copy is an entry of the view. Changing it makes it a node of its own under the id it shows under; removing
//! it resolves. Must never lose a version that nobody asked to lose.

use std::sync::Arc;

use super::Volume;
use super::api::Ino;
use super::inode::Inode;
use super::namespace::Namespace;
use super::view::copy_state;
use crate::base::port::Time;
use crate::base::{Error, Kind, Name, NodeId, Result};
use crate::causal::{Dot, NodeKind, NodeState, Shown, copy_id};

/// One file of which several versions were written concurrently, or a node that could not keep its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The node.
    pub node: NodeId,
    /// Paths under which it shows, the node's own first.
    pub paths: Vec<String>,
    /// Its versions, the one shown under the node's own name first. Fewer than two: a clash of names.
    pub versions: Vec<ConflictVersion>,
    /// What the versions were all written over, where that is known and still here.
    pub base: Option<ConflictBase>,
}

/// The version that several others replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConflictBase {
    /// Names the version.
    pub dot: Dot,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
}

/// One of several versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictVersion {
    /// Names the version.
    pub dot: Dot,
    /// Size in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
    /// When it was written.
    pub written: Time,
    /// Inode number to read it by: look its path up first.
    pub ino: Ino,
}

impl Volume {
    /// Before `inode` is changed: if it is a copy, it becomes a node of its own.
    pub(super) fn own(&self, inode: &Arc<Inode>) -> Result<()> {
        if inode.inner.lock().copy.is_none() {
            return Ok(());
        }
        let mut ns = self.ns.lock();
        self.own_held(&mut ns, inode)
    }

    /// As [`Self::own`], with the namespace held.
    pub(super) fn own_held(&self, ns: &mut Namespace, inode: &Arc<Inode>) -> Result<()> {
        let Some((node, dot)) = inode.inner.lock().copy else { return Ok(()) };
        let origin = self.inode_held(ns, node)?;
        let (birth, stamp) = ns.tick(&*self.clock);
        {
            let mut inner = inode.inner.lock();
            if inner.gone {
                return Err(Error::new(Kind::Stale, "change version", inode.id.to_string()));
            }
            inner.copy = None;
            for (_, register) in &mut inner.state.links {
                if let Some(mut place) = register.shown().cloned() {
                    place.stamp = stamp;
                    register.set(birth, place);
                }
            }
            if let Some((_, version)) = inner.state.content.0.first().cloned() {
                inner.state.content.set(birth, version);
            }
            ns.touch(inode, &mut inner);
        }
        ns.born += 1;
        drop_version(ns, &origin, dot);
        self.review(ns, &[inode.id, node], &[]);
        Ok(())
    }

    /// Remove a copy's entry: its version is resolved away.
    pub(super) fn unlink_copy(
        &self,
        ns: &mut Namespace,
        copy: &Arc<Inode>,
        (dir, name): (NodeId, &Name),
    ) -> Result<()> {
        let Some((node, dot)) = copy.inner.lock().copy else { return Ok(()) };
        let origin = self.inode_held(ns, node)?;
        drop_version(ns, &origin, dot);
        {
            let mut inner = copy.inner.lock();
            (inner.hidden, inner.gone) = (true, true);
        }
        ns.rename_entry(dir, name.clone(), None);
        self.review(ns, &[node], &[]);
        Ok(())
    }

    /// A node is about to go: versions shown beside it stay, as nodes of their own.
    pub(super) fn part_copies(&self, ns: &mut Namespace, node: NodeId) -> Result<()> {
        let shows = ns.view.table().get(node).map(|odd| odd.shows.clone()).unwrap_or_default();
        for dot in shows.iter().filter_map(|s: &Shown| s.version) {
            let copy = self.inode_held(ns, copy_id(node, dot))?;
            self.own_held(ns, &copy)?;
        }
        Ok(())
    }

    /// The name `at` is about to be free: whatever was marked because of it keeps the mark, lest a program that goes
    /// through a directory find other things than it was told. O(nodes that show otherwise).
    pub(super) fn keep_marks(&self, ns: &mut Namespace, at: (NodeId, &Name)) -> Result<()> {
        if !ns.view.is_wanted(at) {
            return Ok(());
        }
        let table = ns.view.table().clone();
        for (id, _) in table.iter().filter(|(_, odd)| odd.wants.iter().any(|(dir, name)| (*dir, name) == at)) {
            let inode = self.inode_held(ns, id)?;
            let (_, stamp) = ns.tick(&*self.clock);
            let mut inner = inode.inner.lock();
            if ns.settle_place(&inode, &mut inner, stamp) {
                ns.touch(&inode, &mut inner);
            }
        }
        Ok(())
    }

    /// Files of equal content that show as one with `inode`: only it is left of them.
    pub(super) fn drop_twins(&self, ns: &mut Namespace, inode: &Arc<Inode>) -> Result<()> {
        if inode.is_dir() {
            return Ok(());
        }
        for twin in twins(ns, inode.id) {
            let twin = self.inode_held(ns, twin)?;
            let (_, stamp) = ns.tick(&*self.clock);
            self.purge(ns, &twin, stamp);
        }
        Ok(())
    }

    /// Everything that several devices' changes left for a person to look at: files with several versions, and
    /// nodes that could not keep their names. O(nodes that show otherwise).
    pub fn conflicts(&self) -> Result<Vec<Conflict>> {
        let table = self.ns.lock().view.table().clone();
        let mut out = Vec::new();
        for (id, odd) in table.iter().filter(|(id, odd)| !id.is_reserved() && !odd.shows.is_empty()) {
            let clash =
                odd.shows.iter().any(|s| s.version.is_some() || !odd.wants.contains(&(s.parent, s.name.clone())));
            if !clash {
                continue;
            }
            let inode = self.inode_of(id)?;
            let (kind, content) = {
                let inner = inode.inner.lock();
                (inner.state.kind, inner.state.content.clone())
            };
            let mut versions: Vec<_> = content.0.into_iter().filter(|_| kind == NodeKind::File).collect();
            versions.sort_by_key(|(dot, v)| std::cmp::Reverse((v.stamp, *dot)));
            let number = |n: usize, dot: Dot| {
                let ns = self.ns.lock();
                if n == 0 { inode.ino } else { ns.table.number(copy_id(id, dot)) }
            };
            let versions = versions.into_iter().enumerate().map(|(n, (dot, v))| ConflictVersion {
                dot,
                size: v.size,
                mtime: v.mtime,
                written: v.stamp.time,
                ino: number(n, dot),
            });
            let mut shows: Vec<&Shown> = odd.shows.iter().filter(|s| s.is_live()).collect();
            shows.sort_by_key(|s| s.version.is_some());
            let path = |s: &&Shown| format!("{}/{}", self.path_of(s.parent).trim_end_matches('/'), s.name);
            let base = self.base_of(id);
            out.push(Conflict {
                node: id,
                versions: versions.collect(),
                paths: shows.iter().map(path).collect(),
                base,
            });
        }
        Ok(out)
    }

    /// Keep one version of a file and let the others go. [`Kind::NotFound`] if there is no such version.
    pub fn resolve_conflict(&self, node: NodeId, keep: Dot) -> Result<()> {
        self.begin_change()?;
        let inode = self.inode_of(node)?;
        let mut ns = self.ns.lock();
        let others: Vec<Dot> = {
            let inner = inode.inner.lock();
            if !inner.state.content.0.iter().any(|(dot, _)| *dot == keep) {
                return Err(Error::new(Kind::NotFound, "keep version", node.to_string()));
            }
            inner.state.content.0.iter().map(|(dot, _)| *dot).filter(|dot| *dot != keep).collect()
        };
        for dot in others {
            drop_version(&mut ns, &inode, dot);
        }
        self.review_always(&mut ns, node);
        drop(ns);
        self.nudge();
        self.tell();
        Ok(())
    }
}

/// Bring a copy into memory: a node with its version alone.
pub(super) fn copy_inode(
    ns: &Namespace,
    ino: Ino,
    (node, dot): (NodeId, Dot),
    state: &NodeState,
) -> Result<Arc<Inode>> {
    let stale = || Error::new(Kind::Stale, "find version", node.to_string());
    let shows = ns.view.shows(node, state);
    let shown = shows.iter().find(|s| s.version == Some(dot)).ok_or_else(stale)?;
    let inode = Inode::clean(ino, copy_id(node, dot), copy_state(state, shown, dot), 0, Vec::new());
    inode.inner.lock().copy = Some((node, dot));
    Ok(inode)
}

/// Take one version from a node.
fn drop_version(ns: &mut Namespace, origin: &Arc<Inode>, dot: Dot) {
    let mut inner = origin.inner.lock();
    inner.state.content.0.retain(|(d, _)| *d != dot);
    ns.touch(origin, &mut inner);
    drop(inner);
    ns.view.forget_copy(origin.id, dot);
}

/// What shows as one with `id`, whole nodes only.
pub(super) fn twins(ns: &Namespace, id: NodeId) -> Vec<NodeId> {
    let also = ns.view.table().get(id).map(|odd| odd.also.clone()).unwrap_or_default();
    let mut ids: Vec<_> = also.into_iter().flat_map(|(_, items)| items).map(|(id, _)| id).collect();
    ids.retain(|other| *other != id);
    ids.dedup();
    ids
}
