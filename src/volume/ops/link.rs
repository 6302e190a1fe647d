//! link: another name for a node.

use crate::base::{Error, Kind, Name, NodeId, Result, limits};
use crate::causal::{Place, Register};
use crate::volume::Volume;
use crate::volume::api::{Attr, Ino};
use crate::volume::namespace::Target;

impl Volume {
    /// Give `ino` another name and count one reference.
    pub(super) fn link_name(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr> {
        self.begin_change()?;
        let name = Name::new(name)?;
        let dir = self.directory(parent)?;
        let inode = self.inode(ino)?;
        if inode.is_dir() {
            return Err(Error::new(Kind::NotPermitted, "link directory", name.to_string()));
        }
        self.resolve_name(dir.id, name.as_bytes())?;

        let mut ns = self.ns.lock();
        if dir.inner.lock().is_unlinked() && dir.id != NodeId::ROOT {
            return Err(Error::new(Kind::NotFound, "link into removed directory", name.to_string()));
        }
        if dir.id == NodeId::LOST {
            return Err(Error::new(Kind::NotPermitted, "link among what was lost", name.to_string()));
        }
        self.own_held(&mut ns, &inode)?;
        if self.find(&ns, dir.id, name.as_bytes())?.is_some() {
            return Err(Error::new(Kind::Exists, "link", name.to_string()));
        }
        let (dot, stamp) = ns.tick(&*self.clock);
        let link = {
            let mut inner = inode.inner.lock();
            if inner.is_unlinked() {
                return Err(Error::new(Kind::NotFound, "link removed file", name.to_string()));
            }
            if inner.state.links.len() >= limits::MAX_LINKS as usize {
                return Err(Error::new(Kind::TooManyLinks, "link", name.to_string()));
            }
            // Unique without coordination: the dot that made the link.
            let link = (u64::from(dot.writer) << 48) | (dot.seq & 0xFFFF_FFFF_FFFF);
            let place = Place { parent: dir.id, name: name.clone(), stamp, from: None };
            let at = inner.state.links.partition_point(|(id, _)| *id < link);
            inner.state.links.insert(at, (link, Register(vec![(dot, place)])));
            ns.touch(&inode, &mut inner);
            link
        };
        ns.view.add_name(inode.id, link, (dir.id, name.clone()));
        ns.rename_entry(dir.id, name, Some(Target { id: inode.id, link, kind: inode.kind }));
        ns.touch_dir(&dir, stamp, 0);
        self.review(&mut ns, &[inode.id], &[]);
        ns.table.reference(inode.id);
        drop(ns);
        self.nudge();
        Ok(inode.attr())
    }
}
