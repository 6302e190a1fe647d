//! rename in its three modes.

use std::sync::Arc;

use crate::base::{Error, Kind, Name, NodeId, Result};
use crate::causal::{Dot, NodeKind, Place, Stamp};
use crate::volume::Volume;
use crate::volume::api::{Ino, RenameMode};
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
        self.check_writable()?;
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
        let inode = self.inode_held(ns, source.id)?;
        let is_dir = source.kind == NodeKind::Directory;
        if let Some(other) = existing {
            self.check_removable(ns, other, is_dir, &to.name)?;
            let replaced = self.inode_held(ns, other.id)?;
            let (_, stamp) = ns.tick(&*self.clock);
            self.drop_link(ns, &replaced, other.link, stamp);
            // The new content must reach the log before the rename does: old or new, never empty.
            inode.inner.lock().ordered = true;
        }
        let (dot, stamp) = ns.tick(&*self.clock);
        move_link(ns, &inode, source, from, to, (dot, stamp));
        ns.rename_entry(from.dir.id, from.name.clone(), None);
        ns.rename_entry(to.dir.id, to.name.clone(), Some(source));
        let moved = i32::from(is_dir);
        ns.touch_dir(from.dir, stamp, -moved);
        ns.touch_dir(to.dir, stamp, moved - i32::from(is_dir && existing.is_some()));
        Ok(())
    }

    fn exchange(&self, ns: &mut Namespace, from: &End<'_>, source: Target, to: &End<'_>, other: Target) -> Result<()> {
        if other.kind == NodeKind::Directory && self.is_below(ns, from.dir.id, other.id)? {
            return Err(Error::new(Kind::Invalid, "move a directory into itself", to.name.to_string()));
        }
        let (a, b) = (self.inode_held(ns, source.id)?, self.inode_held(ns, other.id)?);
        let change = ns.tick(&*self.clock);
        move_link(ns, &a, source, from, to, change);
        let change = ns.tick(&*self.clock);
        move_link(ns, &b, other, to, from, change);
        ns.rename_entry(from.dir.id, from.name.clone(), Some(other));
        ns.rename_entry(to.dir.id, to.name.clone(), Some(source));
        let balance = i32::from(other.kind == NodeKind::Directory) - i32::from(source.kind == NodeKind::Directory);
        ns.touch_dir(from.dir, change.1, balance);
        ns.touch_dir(to.dir, change.1, -balance);
        Ok(())
    }
}

/// Give one link of `inode` its new place.
fn move_link(
    ns: &mut Namespace,
    inode: &Arc<Inode>,
    target: Target,
    from: &End<'_>,
    to: &End<'_>,
    change: (Dot, Stamp),
) {
    let (dot, stamp) = change;
    let place = Place { parent: to.dir.id, name: to.name.clone(), stamp, from: Some((from.dir.id, from.name.clone())) };
    let mut inner = inode.inner.lock();
    if let Some((_, register)) = inner.state.links.iter_mut().find(|(id, _)| *id == target.link) {
        register.set(dot, place);
    }
    ns.touch(inode, &mut inner);
}
