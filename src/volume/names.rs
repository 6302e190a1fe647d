//! Finding nodes: by name in a directory, by inode number, by path.

use std::collections::btree_map;
use std::ops::Bound;
use std::sync::Arc;

use super::Volume;
use super::api::{Attr, Ino, ROOT_INO};
use super::copies::copy_inode;
use super::inode::Inode;
use super::namespace::{Entry, Namespace, Roots, Target};
use super::row::{Row, decode_state, index_key};
use crate::base::{Error, Kind, Name, NodeId, Result, limits};
use crate::causal::{Displaced, NodeKind, NodeState};

impl Volume {
    /// The sealed row of a name.
    pub(super) fn sealed_row(&self, roots: &Roots, parent: NodeId, name: &[u8]) -> Result<Option<Row>> {
        let Some(bytes) = self.tree.get(&roots.index, &index_key(parent, name))? else { return Ok(None) };
        let row = Row::decode(&bytes)?;
        Ok(if self.is_foreign(roots, &row)? { None } else { Some(row) })
    }

    /// A device node of another machine, whose index this one took over.
    pub(super) fn is_foreign(&self, roots: &Roots, row: &Row) -> Result<bool> {
        Ok(row.kind.is_local() && self.tree.get(&roots.local, row.node.as_bytes())?.is_none())
    }

    /// The sealed state of a node.
    pub(super) fn sealed_state(&self, roots: &Roots, id: NodeId) -> Result<Option<NodeState>> {
        for root in [&roots.raw, &roots.local] {
            if let Some(bytes) = self.tree.get(root, id.as_bytes())? {
                return decode_state(&bytes).map(Some);
            }
        }
        Ok(None)
    }

    /// What `name` leads to, without holding the namespace while blocks are read. The row comes along when
    /// the name did not change since the last seal.
    pub(super) fn resolve_name(&self, parent: NodeId, name: &[u8]) -> Result<Option<(Target, Option<Row>)>> {
        loop {
            let roots = {
                let ns = self.ns.lock();
                if let Some(target) = ns.changed(parent, name) {
                    return Ok(target.map(|t| (t, None)));
                }
                ns.roots.clone()
            };
            let row = self.sealed_row(&roots, parent, name)?;
            let ns = self.ns.lock();
            if let Some(target) = ns.changed(parent, name) {
                return Ok(target.map(|t| (t, None)));
            }
            if Arc::ptr_eq(&roots, &ns.roots) {
                return Ok(row.map(|r| (Target { id: r.node, link: r.link, kind: r.kind }, Some(r))));
            }
        }
    }

    /// What `name` leads to, with the namespace held: call [`Self::resolve_name`] first so that the tree
    /// nodes needed are in memory.
    pub(super) fn find(&self, ns: &Namespace, parent: NodeId, name: &[u8]) -> Result<Option<Target>> {
        if let Some(target) = ns.changed(parent, name) {
            return Ok(target);
        }
        let row = self.sealed_row(&ns.roots, parent, name)?;
        Ok(row.map(|r| Target { id: r.node, link: r.link, kind: r.kind }))
    }

    /// The node behind an inode number, brought into memory if need be. [`Kind::Stale`] if nobody knows it.
    pub(super) fn inode(&self, ino: Ino) -> Result<Arc<Inode>> {
        loop {
            let (id, roots, shown, copy) = {
                let ns = self.ns.lock();
                if let Some(inode) = ns.table.resident(ino) {
                    return Ok(inode.clone());
                }
                let id = ns.table.id(ino).ok_or_else(|| Error::new(Kind::Stale, "find inode", ino.to_string()))?;
                (id, ns.roots.clone(), ns.view.sealed().clone(), ns.view.copy(id))
            };
            if let Some((node, _)) = copy {
                self.inode_of(node)?;
                let mut ns = self.ns.lock();
                if ns.view.copy(id).is_some() {
                    return self.inode_held(&mut ns, id);
                }
                continue;
            }
            let inode = self.load(&roots, &shown, ino, id)?;
            let mut ns = self.ns.lock();
            if Arc::ptr_eq(&roots, &ns.roots) {
                return Ok(ns.table.admit(inode));
            }
        }
    }

    /// The node with this id, brought into memory if need be.
    pub(super) fn inode_of(&self, id: NodeId) -> Result<Arc<Inode>> {
        let ino = {
            let mut ns = self.ns.lock();
            let ino = ns.table.number(id);
            if let Some(inode) = ns.table.resident(ino) {
                return Ok(inode.clone());
            }
            ns.table.reference(id)
        };
        let inode = self.inode(ino);
        self.ns.lock().table.forget(ino, 1);
        inode
    }

    /// The node with this id, with the namespace held.
    pub(super) fn inode_held(&self, ns: &mut Namespace, id: NodeId) -> Result<Arc<Inode>> {
        let ino = ns.table.number(id);
        if let Some(inode) = ns.table.resident(ino) {
            return Ok(inode.clone());
        }
        let inode = match ns.view.copy(id) {
            Some((node, dot)) => {
                let origin = self.inode_held(ns, node)?;
                let state = origin.inner.lock().state.clone();
                copy_inode(ns, ino, (node, dot), &state)?
            }
            None => self.load(&ns.roots.clone(), &ns.view.sealed().clone(), ino, id)?,
        };
        Ok(ns.table.admit(inode))
    }

    /// Read a node from the trees.
    fn load(&self, roots: &Roots, shown: &Displaced, ino: Ino, id: NodeId) -> Result<Arc<Inode>> {
        if id == NodeId::LOST {
            return self.lost_directory(roots, ino);
        }
        let state =
            self.sealed_state(roots, id)?.ok_or_else(|| Error::new(Kind::Stale, "load node", id.to_string()))?;
        let shows = shown.shows(id, &state);
        let mut subdirs = if id == NodeId::ROOT { roots.root_subdirs } else { 0 };
        let mut rows = Vec::new();
        for name in &shows {
            let row = if state.kind == NodeKind::Directory {
                self.sealed_row(roots, name.parent, name.name.as_bytes())?
            } else {
                Some(Row::shown(id, name, &state, 0, None))
            };
            if let Some(row) = row {
                subdirs = subdirs.max(row.subdirs);
                rows.push((name.parent, name.name.clone(), row.contribution()));
            }
        }
        if let (NodeId::ROOT, Some(name)) = (id, shown.lost()) {
            let row = self.sealed_row(roots, id, name.as_bytes())?;
            rows.extend(row.map(|row| (id, name.clone(), row.contribution())));
        }
        let odd = shown.get(id).is_some();
        let live = shows.iter().any(crate::causal::Shown::is_live);
        let inode = Inode::clean(ino, id, state, subdirs, rows);
        inode.inner.lock().hidden = id != NodeId::ROOT && !live && !odd;
        Ok(inode)
    }

    /// The directory of what lost its place: it has no state, and the root's owner.
    fn lost_directory(&self, roots: &Roots, ino: Ino) -> Result<Arc<Inode>> {
        let root = self.sealed_state(roots, NodeId::ROOT)?;
        let mut state = root.ok_or_else(|| Error::new(Kind::Stale, "load root", ""))?;
        state.attributes.retain(|a| !matches!(a.field, crate::causal::Field::Xattr(_)));
        Ok(Inode::clean(ino, NodeId::LOST, state, 0, Vec::new()))
    }

    /// A directory's node. [`Kind::NotDirectory`] for anything else.
    pub(super) fn directory(&self, ino: Ino) -> Result<Arc<Inode>> {
        let mut inode = self.inode(ino)?;
        let canonical = self.ns.lock().view.canonical(inode.id);
        if canonical != inode.id {
            inode = self.inode_of(canonical)?;
        }
        if inode.is_dir() { Ok(inode) } else { Err(Error::new(Kind::NotDirectory, "use directory", "")) }
    }

    /// Look a name up and count one reference.
    pub(super) fn lookup_name(&self, parent: Ino, name: &[u8]) -> Result<Attr> {
        let missing = || Error::new(Kind::NotFound, "look up", String::from_utf8_lossy(name));
        match name {
            b"." => return self.hold(parent),
            b".." => return self.hold(self.parent_of(parent)?),
            long if long.len() > limits::MAX_NAME => {
                return Err(Error::new(Kind::NameTooLong, "look up", String::from_utf8_lossy(name)));
            }
            _ => {}
        }
        let id = {
            let ns = self.ns.lock();
            ns.table.id(parent).map(|id| ns.view.canonical(id))
        };
        let id = id.ok_or_else(|| Error::new(Kind::Stale, "look up", ""))?;
        let (target, row) = self.resolve_name(id, name)?.ok_or_else(missing)?;
        let mut ns = self.ns.lock();
        let ino = ns.table.reference(target.id);
        if let Some(inode) = ns.table.resident(ino) {
            return Ok(inode.attr());
        }
        drop(ns);
        match row {
            Some(row) if !row.is_shared() => Ok(row.attr(ino)),
            _ => Ok(self.inode(ino)?.attr()),
        }
    }

    /// Count one reference to a known node.
    fn hold(&self, ino: Ino) -> Result<Attr> {
        let inode = self.inode(ino)?;
        self.ns.lock().table.reference(inode.id);
        Ok(inode.attr())
    }

    /// The directory a directory is in; the root is its own parent.
    pub(super) fn parent_of(&self, ino: Ino) -> Result<Ino> {
        if ino == ROOT_INO {
            return Ok(ROOT_INO);
        }
        let inode = self.inode(ino)?;
        let ns = self.ns.lock();
        let parent = ns.view.above(inode.id, &inode.inner.lock().state).unwrap_or(NodeId::ROOT);
        Ok(ns.table.number(parent))
    }

    /// Whether `id` is `ancestor` or lies below it, with the namespace held.
    pub(super) fn is_below(&self, ns: &mut Namespace, id: NodeId, ancestor: NodeId) -> Result<bool> {
        let mut at = id;
        while at != NodeId::ROOT {
            if at == ancestor {
                return Ok(true);
            }
            let inode = self.inode_held(ns, at)?;
            let parent = ns.view.above(at, &inode.inner.lock().state);
            match parent {
                Some(parent) => at = parent,
                None => return Ok(false),
            }
        }
        Ok(at == ancestor)
    }

    /// Whether a directory has no entries. O(entries that were sealed and since removed).
    pub(super) fn is_empty_dir(&self, ns: &Namespace, dir: NodeId) -> Result<bool> {
        let names = ns.names.get(&dir);
        if names.is_some_and(|n| n.map.values().any(|e| e.target.is_some())) {
            return Ok(false);
        }
        if names.is_some_and(|n| n.fresh) {
            return Ok(true);
        }
        for entry in self.tree.range(&ns.roots.index, dir.as_bytes()) {
            let (key, _) = entry?;
            let Some(name) = name_in(&key, dir) else { break };
            if names.is_none_or(|n| !n.map.contains_key(name)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Follow `path` (relative to the volume's root, empty components ignored) without following symlinks.
    pub fn resolve(&self, path: &[u8]) -> Result<Ino> {
        let mut at = NodeId::ROOT;
        for name in path.split(|&b| b == b'/').filter(|n| !n.is_empty() && *n != b".") {
            let (target, _) = self
                .resolve_name(at, name)?
                .ok_or_else(|| Error::new(Kind::NotFound, "find path", String::from_utf8_lossy(path)))?;
            at = target.id;
        }
        Ok(self.inode_of(at)?.ino)
    }

    /// A path that leads to `id` (its first link), for messages to people. Best effort.
    pub fn path_of(&self, id: NodeId) -> String {
        let mut parts = Vec::new();
        let mut at = id;
        for _ in 0..4096 {
            if at == NodeId::ROOT {
                parts.reverse();
                return format!("/{}", parts.join("/"));
            }
            let Ok(inode) = self.inode_of(at) else {
                parts.push("(damaged)".to_owned());
                parts.reverse();
                return parts.join("/");
            };
            let ns = self.ns.lock();
            let shows = ns.view.shows(at, &inode.inner.lock().state);
            drop(ns);
            let Some(shown) = shows.into_iter().find(crate::causal::Shown::is_live) else { break };
            parts.push(shown.name.to_string());
            at = shown.parent;
        }
        parts.reverse();
        format!("(unlinked) {}", parts.join("/"))
    }
}

/// The name in an index key, if it belongs to `dir`.
pub(super) fn name_in(key: &[u8], dir: NodeId) -> Option<&[u8]> {
    key.strip_prefix(dir.as_bytes().as_slice())
}

/// Up to `limit` changed names of `dir` after `from`, in order.
pub(super) fn changed_after<'n>(
    ns: &'n Namespace,
    dir: NodeId,
    from: Option<&Name>,
) -> Option<btree_map::Range<'n, Name, Entry>> {
    let names = ns.names.get(&dir)?;
    Some(match from {
        Some(name) => names.map.range::<Name, _>((Bound::Excluded(name), Bound::Unbounded)),
        None => names.map.range::<Name, _>(..),
    })
}
