//! rename in its three modes.

use std::sync::Arc;

use crate::base::{Error, Kind, Name, NodeId, Result};
use crate::causal::{Dot, LinkId, NodeKind, Place, Register, Stamp};
use crate::volume::Volume;
use crate::volume::api::{Ino, RenameMode};
use crate::volume::copies::twins;
use crate::volume::inode::Inode;
use crate::volume::namespace::{Namespace, Target};

/// One end of a rename.
struct End<'a> {
    dir: &'a Arc<Inode>,
    name: Name,
}

impl Volume {
    /// Move a name; see [`RenameMode`]. Atomic, also across a crash.
    pub(super) fn rename_name(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        self.begin_change()?;
        let (dir, new_dir) = (self.directory(parent)?, self.directory(new_parent)?);
        let from = End { dir: &dir, name: Name::new(name)? };
        let to = End { dir: &new_dir, name: Name::new(new_name)? };
        self.warm(&from)?;
        self.warm(&to)?;

        let mut ns = self.ns.lock();
        let missing = || Error::new(Kind::NotFound, "rename", from.name.to_string());
        let source = self.find(&ns, dir.id, from.name.as_bytes())?.ok_or_else(missing)?;
        let existing = self.find(&ns, new_dir.id, to.name.as_bytes())?;
        if new_dir.id != NodeId::ROOT && new_dir.inner.lock().is_unlinked() {
            return Err(Error::new(Kind::NotFound, "rename into removed directory", to.name.to_string()));
        }
        if new_dir.id == NodeId::LOST || source.id == NodeId::LOST {
            return Err(Error::new(Kind::NotPermitted, "rename among what was lost", to.name.to_string()));
        }
        if source.kind == NodeKind::Directory && self.is_below(&mut ns, new_dir.id, source.id)? {
            return Err(Error::new(Kind::Invalid, "move a directory into itself", from.name.to_string()));
        }
        match (mode, existing) {
            (RenameMode::Exchange, None) => Err(Error::new(Kind::NotFound, "exchange", to.name.to_string())),
            (RenameMode::Exchange, Some(other)) => self.exchange(&mut ns, &from, source, &to, other),
            (RenameMode::NoReplace, Some(_)) => Err(Error::new(Kind::Exists, "rename", to.name.to_string())),
            (_, Some(other)) if other.id == source.id => Ok(()),
            (_, existing) => self.replace(&mut ns, &from, source, &to, existing),
        }?;
        drop(ns);
        self.nudge();
        Ok(())
    }

    /// Bring what a rename looks at into memory before the namespace is held.
    fn warm(&self, end: &End<'_>) -> Result<()> {
        if let Some((target, _)) = self.resolve_name(end.dir.id, end.name.as_bytes())? {
            self.inode_of(target.id)?;
        }
        Ok(())
    }

    fn replace(
        &self,
        ns: &mut Namespace,
        from: &End<'_>,
        source: Target,
        to: &End<'_>,
        existing: Option<Target>,
    ) -> Result<()> {
        let inode = self.whole(ns, source)?;
        let is_dir = source.kind == NodeKind::Directory;
        if is_dir {
            self.steady(ns, to.dir.id)?;
        }
        if let Some(other) = existing {
            self.check_removable(ns, other, is_dir, &to.name)?;
            self.take_away(ns, other, (to.dir.id, &to.name))?;
            // The new content must reach the log before the rename does: old or new, never empty.
            inode.inner.lock().ordered = true;
        }
        let stamp = self.move_all(ns, &inode, source, from, to)?;
        ns.rename_entry(from.dir.id, from.name.clone(), None);
        ns.rename_entry(to.dir.id, to.name.clone(), Some(source));
        let moved = i32::from(is_dir);
        ns.touch_dir(from.dir, stamp, -moved);
        ns.touch_dir(to.dir, stamp, moved - i32::from(is_dir && existing.is_some()));
        let ids = [source.id, existing.map_or(source.id, |other| other.id), from.dir.id, to.dir.id];
        self.review(ns, &ids, &[(from.dir.id, &from.name), (to.dir.id, &to.name)]);
        Ok(())
    }

    fn exchange(&self, ns: &mut Namespace, from: &End<'_>, source: Target, to: &End<'_>, other: Target) -> Result<()> {
        if other.kind == NodeKind::Directory && self.is_below(ns, from.dir.id, other.id)? {
            return Err(Error::new(Kind::Invalid, "move a directory into itself", to.name.to_string()));
        }
        let (a, b) = (self.whole(ns, source)?, self.whole(ns, other)?);
        self.steady(ns, from.dir.id)?;
        self.steady(ns, to.dir.id)?;
        self.move_all(ns, &a, source, from, to)?;
        let stamp = self.move_all(ns, &b, other, to, from)?;
        ns.rename_entry(from.dir.id, from.name.clone(), Some(other));
        ns.rename_entry(to.dir.id, to.name.clone(), Some(source));
        let balance = i32::from(other.kind == NodeKind::Directory) - i32::from(source.kind == NodeKind::Directory);
        ns.touch_dir(from.dir, stamp, balance);
        ns.touch_dir(to.dir, stamp, -balance);
        let ids = [source.id, other.id, from.dir.id, to.dir.id];
        self.review(ns, &ids, &[(from.dir.id, &from.name), (to.dir.id, &to.name)]);
        Ok(())
    }

    /// The node to be renamed. A copy becomes a node of its own; of files that show as one, one is left.
    fn whole(&self, ns: &mut Namespace, target: Target) -> Result<Arc<Inode>> {
        let inode = self.inode_held(ns, target.id)?;
        self.own_held(ns, &inode)?;
        self.drop_twins(ns, &inode)?;
        Ok(inode)
    }

    /// A directory is about to be put below `dir`: whatever above it shows otherwise than it says will say so,
    /// lest the move be undone by what a merge decided about that.
    fn steady(&self, ns: &mut Namespace, dir: NodeId) -> Result<()> {
        let mut at = dir;
        while !ns.view.table().is_empty() && !at.is_reserved() {
            let inode = self.inode_held(ns, at)?;
            let mut inner = inode.inner.lock();
            let above = ns.view.above(at, &inner.state);
            if ns.view.table().get(at).is_some() {
                let (_, stamp) = ns.tick(&*self.clock);
                if ns.settle_place(&inode, &mut inner, stamp) {
                    ns.touch(&inode, &mut inner);
                }
            }
            match above {
                Some(parent) => at = parent,
                None => break,
            }
        }
        Ok(())
    }

    /// Give `inode`, and the directories that show as part of it, their new place under one stamp.
    fn move_all(
        &self,
        ns: &mut Namespace,
        inode: &Arc<Inode>,
        target: Target,
        from: &End<'_>,
        to: &End<'_>,
    ) -> Result<Stamp> {
        self.keep_marks(ns, (from.dir.id, &from.name))?;
        let parts: Result<Vec<_>> = twins(ns, target.id).into_iter().map(|id| self.inode_held(ns, id)).collect();
        let change = ns.tick(&*self.clock);
        for part in parts? {
            let link = part.inner.lock().state.links.first().map_or(0, |(link, _)| *link);
            let dot = ns.vector.next(ns.writer);
            move_link(ns, &part, link, from, to, (dot, change.1));
        }
        move_link(ns, inode, target.link, from, to, change);
        ns.view.reshow(target.id, target.link, Some((to.dir.id, to.name.clone())));
        if target.kind == NodeKind::Directory && !ns.view.table().is_empty() {
            ns.view.doubt(target.id);
        }
        Ok(change.1)
    }
}

/// Give one link of `inode` its new place.
fn move_link(ns: &mut Namespace, inode: &Arc<Inode>, link: LinkId, from: &End<'_>, to: &End<'_>, change: (Dot, Stamp)) {
    let (dot, stamp) = change;
    let place = Place { parent: to.dir.id, name: to.name.clone(), stamp, from: Some((from.dir.id, from.name.clone())) };
    let mut inner = inode.inner.lock();
    match inner.state.links.iter_mut().find(|(id, _)| *id == link) {
        Some((_, register)) => register.set(dot, place),
        // It had lost every place and showed all the same.
        None => inner.state.links.insert(0, (link, Register(vec![(dot, place)]))),
    }
    inner.hidden = false;
    ns.touch(inode, &mut inner);
}
