//! getattr, setattr, readlink, statfs.

use std::sync::Arc;

use crate::base::port::Time;
use crate::base::{Error, Kind, Result, limits};
use crate::causal::{Field, NodeKind, Stamp, Value};
use crate::volume::Volume;
use crate::volume::api::{Attr, Ino, SetAttr, SetTime};
use crate::volume::inode::{Inner, Inode};
use crate::volume::ops::acl;
use crate::volume::stat::Stat;

const SET_USER: u16 = 0o4000;
const SET_GROUP: u16 = 0o2000;
const GROUP_EXEC: u16 = 0o010;

impl Volume {
    /// Change attributes; a size change is a truncation. Returns what callers now see.
    pub(super) fn set_attr(&self, ino: Ino, change: &SetAttr) -> Result<Attr> {
        self.begin_change()?;
        let inode = self.inode(ino)?;
        if let Some(size) = change.size {
            self.truncate(&inode, size)?;
        }
        // A change time alone is the kernel writing back what it kept: ours is the stamp of that change.
        if *change == (SetAttr { size: change.size, ctime: change.ctime, ..SetAttr::default() }) {
            return Ok(inode.attr());
        }
        self.own(&inode)?;
        let mut ns = self.ns.lock();
        let (_, stamp) = ns.tick(&*self.clock);
        let mut inner = inode.inner.lock();
        apply(&inode, &mut inner, change, stamp)?;
        ns.touch(&inode, &mut inner);
        let attr = inner.attr(ino);
        drop(inner);
        drop(ns);
        self.nudge();
        Ok(attr)
    }

    /// The target of a symlink.
    pub(super) fn read_link(&self, ino: Ino) -> Result<Vec<u8>> {
        let inode = self.inode(ino)?;
        if inode.kind != NodeKind::Symlink {
            return Err(Error::new(Kind::Invalid, "read link", ""));
        }
        let inner = inode.inner.lock();
        Ok(inner.state.shown().map(|(_, v)| v.data.clone()).unwrap_or_default())
    }

    fn truncate(&self, inode: &Arc<Inode>, size: u64) -> Result<()> {
        match inode.kind {
            NodeKind::File if size > limits::MAX_FILE => Err(Error::new(Kind::TooBig, "truncate", size.to_string())),
            NodeKind::File => self.resize(inode, size),
            NodeKind::Directory => Err(Error::new(Kind::IsDirectory, "truncate", "")),
            _ => Err(Error::new(Kind::Invalid, "truncate", "")),
        }
    }
}

fn apply(inode: &Arc<Inode>, inner: &mut Inner, change: &SetAttr, stamp: Stamp) -> Result<()> {
    let old = Stat::of(&inner.state);
    let owned = change.uid.is_some() || change.gid.is_some();
    let kept = if (owned || change.kill_suidgid) && !inode.is_dir() { without_set_ids(old.perm) } else { old.perm };
    let perm = change.perm.unwrap_or(kept);
    if perm != old.perm {
        inner.state.set_attribute(Field::Mode, Value::Mode(perm), stamp);
    }
    if change.perm.is_some() {
        acl::follow_mode(&mut inner.state, perm, stamp)?;
        inner.state.set_attribute(Field::Touched, Value::Nothing, stamp);
    }
    if owned {
        let owner = Value::Owner(change.uid.unwrap_or(old.uid), change.gid.unwrap_or(old.gid));
        inner.state.set_attribute(Field::Owner, owner, stamp);
    }
    let at = |t: SetTime| match t {
        SetTime::Now => stamp.time,
        SetTime::At(time) => time,
    };
    if let Some(atime) = change.atime.map(at) {
        inner.state.set_attribute(Field::Atime, Value::Time(atime), stamp);
    }
    if let Some(mtime) = change.mtime.map(at) {
        set_mtime(inner, mtime, stamp);
    }
    Ok(())
}

/// An unsettled file carries its time with the content that will be settled; anything else as an attribute.
fn set_mtime(inner: &mut Inner, mtime: Time, stamp: Stamp) {
    match &mut inner.file {
        Some(file) if file.touched.is_some() => file.touched = Some((mtime, stamp.time)),
        _ => inner.state.set_attribute(Field::Mtime, Value::Time(mtime), stamp),
    }
}

/// What `chown` and writes by others leave of the permission bits.
fn without_set_ids(perm: u16) -> u16 {
    let perm = perm & !SET_USER;
    if perm & GROUP_EXEC != 0 { perm & !SET_GROUP } else { perm }
}
