//! create, mkdir, mknod, symlink.

use std::sync::Arc;

use crate::base::{Error, Kind, Name, NodeId, Result, SymlinkTarget};
use crate::causal::{Field, NodeKind, NodeState, Place, Register, Stamp, Value, Version};
use crate::volume::Volume;
use crate::volume::api::{Attr, FileKind, Ino, NewNode};
use crate::volume::inode::Inode;
use crate::volume::namespace::{Names, Target};
use crate::volume::ops::acl;
use crate::volume::stat::node_kind;

const SET_GROUP: u16 = 0o2000;

impl Volume {
    /// Make a node under `name` and count one reference to it.
    pub(super) fn make_node(&self, parent: Ino, name: &[u8], new: &NewNode) -> Result<(Attr, Arc<Inode>)> {
        self.begin_change()?;
        let name = Name::new(name)?;
        let dir = self.directory(parent)?;
        self.resolve_name(dir.id, name.as_bytes())?;

        let mut ns = self.ns.lock();
        if dir.inner.lock().is_unlinked() && dir.id != NodeId::ROOT {
            return Err(Error::new(Kind::NotFound, "make entry in removed directory", name.to_string()));
        }
        if dir.id == NodeId::LOST {
            return Err(Error::new(Kind::NotPermitted, "make entry among what was lost", name.to_string()));
        }
        if self.find(&ns, dir.id, name.as_bytes())?.is_some() {
            return Err(Error::new(Kind::Exists, "make", name.to_string()));
        }
        let (dot, stamp) = ns.tick(&*self.clock);
        let mut state = new_state(&dir, new, stamp)?;
        let place = Place { parent: dir.id, name: name.clone(), stamp, from: None };
        state.links.push((0, Register(vec![(dot, place)])));
        if let Some(version) = first_version(new, stamp)? {
            state.content.set(dot, version);
        }
        let id = ns.new_id(dir.id, &*self.entropy);
        let kind = state.kind;
        let ino = ns.table.reference(id);
        let inode = ns.table.admit(Inode::fresh(ino, id, state));
        {
            let mut inner = inode.inner.lock();
            inner.private = true;
            ns.touch(&inode, &mut inner);
        }
        ns.rename_entry(dir.id, name, Some(Target { id, link: 0, kind }));
        let is_dir = kind == NodeKind::Directory;
        if is_dir {
            ns.names.insert(id, Names { fresh: true, ..Names::default() });
        }
        ns.touch_dir(&dir, stamp, i32::from(is_dir));
        ns.born += 1;
        self.review(&mut ns, &[id], &[]);
        drop(ns);
        self.nudge();
        Ok((inode.attr(), inode))
    }
}

/// The state of a node that is about to be born in `dir`.
fn new_state(dir: &Arc<Inode>, new: &NewNode, stamp: Stamp) -> Result<NodeState> {
    let kind = node_kind(new.kind, new.rdev);
    let mut state = NodeState {
        kind,
        born: stamp.time,
        links: Vec::with_capacity(1),
        content: Register::default(),
        attributes: Vec::with_capacity(2),
    };
    let (mut perm, mut gid) = (new.perm & 0o7777, new.gid);
    let parent = dir.inner.lock();
    let parent_stat = crate::volume::stat::Stat::of(&parent.state);
    if parent_stat.perm & SET_GROUP != 0 {
        gid = parent_stat.gid;
        if kind == NodeKind::Directory {
            perm |= SET_GROUP;
        }
    }
    if parent_stat.has_xattrs && kind != NodeKind::Symlink {
        perm = acl::inherit(&parent.state, &mut state, perm, stamp)?;
    }
    drop(parent);
    state.set_attribute(Field::Mode, Value::Mode(perm), stamp);
    state.set_attribute(Field::Owner, Value::Owner(new.uid, gid), stamp);
    Ok(state)
}

/// The first content: empty for a file, the target for a symlink.
fn first_version(new: &NewNode, stamp: Stamp) -> Result<Option<Version>> {
    let data = match new.kind {
        FileKind::File => Vec::new(),
        FileKind::Symlink => SymlinkTarget::new(new.target.as_deref().unwrap_or_default())?.as_bytes().to_vec(),
        _ => return Ok(None),
    };
    let size = data.len() as u64;
    Ok(Some(Version { data, size, mtime: stamp.time, stamp }))
}
