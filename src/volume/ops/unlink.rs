//! unlink and rmdir.

use std::sync::Arc;

use crate::base::{Error, Kind, Name, NodeId, Result};
use crate::causal::{Field, LinkId, NodeKind, Stamp, Value};
use crate::volume::Volume;
use crate::volume::api::Ino;
use crate::volume::inode::Inode;
use crate::volume::namespace::{Namespace, Target};

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
        self.check_writable()?;
        let name = Name::new(name)?;
        let dir = self.directory(parent)?;
        let missing = || Error::new(Kind::NotFound, "remove", name.to_string());
        let (expected, _) = self.resolve_name(dir.id, name.as_bytes())?.ok_or_else(missing)?;
        self.inode_of(expected.id)?;

        let mut ns = self.ns.lock();
        let target = self.find(&ns, dir.id, name.as_bytes())?.ok_or_else(missing)?;
        self.check_removable(&ns, target, want_dir, &name)?;
        let inode = self.inode_held(&mut ns, target.id)?;
        let (_, stamp) = ns.tick(&*self.clock);
        self.drop_link(&mut ns, &inode, target.link, stamp);
        ns.rename_entry(dir.id, name, None);
        ns.touch_dir(&dir, stamp, if want_dir { -1 } else { 0 });
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

    /// Take one link from a node. Without links it is gone as soon as nobody has it open.
    pub(super) fn drop_link(&self, ns: &mut Namespace, inode: &Arc<Inode>, link: LinkId, stamp: Stamp) {
        let mut inner = inode.inner.lock();
        inner.state.links.retain(|(id, _)| *id != link);
        inner.state.set_attribute(Field::Touched, Value::Nothing, stamp);
        ns.touch(inode, &mut inner);
        if inner.is_unlinked() {
            ns.born -= 1;
            self.note_garbage(inner.size());
            if inner.opens == 0 {
                self.discard_content(&mut inner);
            }
            if inode.id != NodeId::ROOT
                && inode.is_dir()
                && let Some(names) = ns.names.get(&inode.id)
                && names.map.is_empty()
            {
                ns.names.remove(&inode.id);
            }
        }
    }
}
