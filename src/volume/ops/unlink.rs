//! unlink and rmdir.

use std::sync::Arc;

use crate::base::{Error, Kind, Name, NodeId, Result};
use crate::causal::{Field, LinkId, NodeKind, Place, Register, Stamp, Value};
use crate::volume::Volume;
use crate::volume::api::Ino;
use crate::volume::copies::twins;
use crate::volume::inode::Inode;
use crate::volume::namespace::{Namespace, Target};
use crate::volume::stat::live_links;

impl Volume {
    /// Remove a name of anything but a directory.
    pub(super) fn unlink_name(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.remove(parent, name, false)
    }

    /// Remove an empty directory.
    pub(super) fn rmdir_name(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.remove(parent, name, true)
    }

    fn remove(&self, parent: Ino, name: &[u8], want_dir: bool) -> Result<()> {
        self.begin_change()?;
        let name = Name::new(name)?;
        let dir = self.directory(parent)?;
        let missing = || Error::new(Kind::NotFound, "remove", name.to_string());
        let (expected, _) = self.resolve_name(dir.id, name.as_bytes())?.ok_or_else(missing)?;
        self.inode_of(expected.id)?;

        let mut ns = self.ns.lock();
        let target = self.find(&ns, dir.id, name.as_bytes())?.ok_or_else(missing)?;
        self.check_removable(&ns, target, want_dir, &name)?;
        if target.id == NodeId::LOST {
            return Err(Error::new(Kind::NotPermitted, "remove what was lost", name.to_string()));
        }
        let stamp = self.take_away(&mut ns, target, (dir.id, &name))?;
        ns.touch_dir(&dir, stamp, if want_dir { -1 } else { 0 });
        self.review(&mut ns, &[target.id, dir.id], &[(dir.id, &name)]);
        drop(ns);
        self.nudge();
        Ok(())
    }

    /// Whether `target` may be removed by unlink (`want_dir` false) or rmdir (true).
    pub(super) fn check_removable(&self, ns: &Namespace, target: Target, want_dir: bool, name: &Name) -> Result<()> {
        let is_dir = target.kind == NodeKind::Directory;
        match (want_dir, is_dir) {
            (true, false) => Err(Error::new(Kind::NotDirectory, "remove directory", name.to_string())),
            (false, true) => Err(Error::new(Kind::IsDirectory, "remove file", name.to_string())),
            (true, true) if !self.is_empty_dir(ns, target.id)? => {
                Err(Error::new(Kind::NotEmpty, "remove directory", name.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// Take the entry `target` with all it stands for from `at`: directories merged into it and files of the same
    /// bytes go with it, other versions of it stay as nodes of their own.
    pub(super) fn take_away(&self, ns: &mut Namespace, target: Target, at: (NodeId, &Name)) -> Result<Stamp> {
        let inode = self.inode_held(ns, target.id)?;
        if inode.inner.lock().copy.is_some() {
            self.unlink_copy(ns, &inode, at)?;
            return Ok(ns.tick(&*self.clock).1);
        }
        self.keep_marks(ns, at)?;
        let last = live_links(&inode.inner.lock().state) == 1;
        if last {
            self.part_copies(ns, target.id)?;
        }
        let parts: Result<Vec<_>> = twins(ns, target.id).into_iter().map(|id| self.inode_held(ns, id)).collect();
        let (_, stamp) = ns.tick(&*self.clock);
        for part in parts? {
            let link = part.inner.lock().state.links.first().map_or(0, |(link, _)| *link);
            self.drop_link(ns, &part, link, stamp, at);
        }
        self.drop_link(ns, &inode, target.link, stamp, at);
        ns.rename_entry(at.0, at.1.clone(), None);
        Ok(stamp)
    }

    /// Take one link from a node. Without a live one it goes to the trash, or is gone as soon as nobody has it
    /// open if nobody else can know it.
    fn drop_link(&self, ns: &mut Namespace, inode: &Arc<Inode>, link: LinkId, stamp: Stamp, at: (NodeId, &Name)) {
        ns.view.reshow(inode.id, link, None);
        let mut inner = inode.inner.lock();
        let live = |(id, r): &(LinkId, Register<Place>)| {
            *id != link && r.shown().is_some_and(|place| place.parent != NodeId::TRASH)
        };
        if inner.state.links.iter().any(live) {
            inner.state.links.retain(|(id, _)| *id != link);
        } else if ns.shared && !inner.private {
            let from = Some((at.0, at.1.clone()));
            let place = Place { parent: NodeId::TRASH, name: at.1.clone(), stamp, from };
            let dot = ns.vector.next(ns.writer);
            inner.state.links = vec![(link, Register(vec![(dot, place)]))];
            inner.hidden = true;
            if inner.opens == 0 {
                self.discard_content(&mut inner);
            }
        } else {
            drop(inner);
            return self.purge(ns, inode, stamp);
        }
        inner.state.set_attribute(Field::Touched, Value::Nothing, stamp);
        ns.touch(inode, &mut inner);
    }

    /// Remove a node for good; who has it open reads on.
    pub(in crate::volume) fn purge(&self, ns: &mut Namespace, inode: &Arc<Inode>, stamp: Stamp) {
        let mut inner = inode.inner.lock();
        inner.state.links.clear();
        inner.state.set_attribute(Field::Touched, Value::Nothing, stamp);
        ns.touch(inode, &mut inner);
        (inner.hidden, inner.gone) = (true, true);
        ns.born -= 1;
        self.note_garbage(inner.size());
        if inner.opens == 0 {
            self.discard_content(&mut inner);
        }
        if inode.is_dir()
            && let Some(names) = ns.names.get(&inode.id)
            && names.map.is_empty()
        {
            ns.names.remove(&inode.id);
        }
        if ns.view.table().get(inode.id).is_some() {
            ns.view.doubt(inode.id);
        }
    }
}
