//! A node: its attributes, and its body by kind.

use std::collections::BTreeMap;

use lovage::base::port::Time;
use lovage::base::{Kind, Result};
use lovage::volume::api::{Attr, FileKind, Ino, NewNode, SetAttr, SetTime};

use super::content::Content;
use super::fail;

#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: FileKind,
    pub(super) perm: u16,
    /// Names; 2 and the subdirectories for a directory; 0 once it has none.
    pub(super) nlink: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) rdev: u32,
    pub(super) atime: Time,
    pub(super) mtime: Time,
    pub(super) ctime: Time,
    pub(super) crtime: Time,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) body: Body,
    /// References the caller holds and will forget.
    pub(super) references: u64,
    /// Open handles.
    pub(super) opens: u64,
}

#[derive(Debug)]
pub(super) enum Body {
    File(Content),
    Directory { parent: Ino, entries: BTreeMap<Vec<u8>, Ino> },
    Symlink(Vec<u8>),
    Special,
}

impl Node {
    /// `parent` matters to directories only.
    pub(super) fn new(new: &NewNode, now: Time, parent: Ino) -> Self {
        let (body, nlink) = match new.kind {
            FileKind::File => (Body::File(Content::default()), 1),
            FileKind::Directory => (Body::Directory { parent, entries: BTreeMap::new() }, 2),
            FileKind::Symlink => (Body::Symlink(new.target.clone().unwrap_or_default()), 1),
            FileKind::Fifo | FileKind::Socket | FileKind::CharDevice | FileKind::BlockDevice => (Body::Special, 1),
        };
        Self {
            kind: new.kind,
            perm: new.perm,
            nlink,
            uid: new.uid,
            gid: new.gid,
            rdev: new.rdev,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            xattrs: BTreeMap::new(),
            body,
            references: 0,
            opens: 0,
        }
    }

    pub(super) fn attr(&self, ino: Ino) -> Attr {
        let (size, blocks) = match &self.body {
            Body::File(content) => (content.size, content.blocks()),
            Body::Directory { entries, .. } => (entries.len() as u64, 0),
            Body::Symlink(target) => (target.len() as u64, 0),
            Body::Special => (0, 0),
        };
        Attr {
            ino,
            kind: self.kind,
            perm: self.perm,
            nlink: self.nlink,
            uid: self.uid,
            gid: self.gid,
            rdev: self.rdev,
            size,
            blocks,
            atime: self.atime,
            mtime: self.mtime,
            ctime: self.ctime,
            crtime: self.crtime,
        }
    }

    pub(super) fn content(&self) -> Result<&Content> {
        match &self.body {
            Body::File(content) => Ok(content),
            Body::Directory { .. } => fail(Kind::IsDirectory),
            _ => fail(Kind::Invalid),
        }
    }

    pub(super) fn content_mut(&mut self) -> Result<&mut Content> {
        match &mut self.body {
            Body::File(content) => Ok(content),
            Body::Directory { .. } => fail(Kind::IsDirectory),
            _ => fail(Kind::Invalid),
        }
    }

    pub(super) fn entries(&self) -> Result<&BTreeMap<Vec<u8>, Ino>> {
        match &self.body {
            Body::Directory { entries, .. } => Ok(entries),
            _ => fail(Kind::NotDirectory),
        }
    }

    pub(super) fn entries_mut(&mut self) -> Result<&mut BTreeMap<Vec<u8>, Ino>> {
        match &mut self.body {
            Body::Directory { entries, .. } => Ok(entries),
            _ => fail(Kind::NotDirectory),
        }
    }

    /// Content changed.
    pub(super) fn modified(&mut self, now: Time) {
        self.mtime = now;
        self.ctime = now;
    }

    /// Take set-id privileges away: set-group-id only where it means privilege, nothing on directories.
    pub(super) fn drop_set_id(&mut self) {
        if self.kind == FileKind::Directory {
            return;
        }
        self.perm &= !0o4000;
        if self.perm & 0o0010 != 0 {
            self.perm &= !0o2000;
        }
    }

    /// setattr: privileges go before the new mode comes, times given win over times implied.
    pub(super) fn change(&mut self, change: &SetAttr, now: Time) -> Result<()> {
        if *change == SetAttr::default() {
            return Ok(());
        }
        if let Some(size) = change.size {
            let content = self.content_mut()?;
            if content.size != size {
                content.resize(size);
                self.mtime = now;
            }
        }
        if change.kill_suidgid || change.uid.is_some() || change.gid.is_some() {
            self.drop_set_id();
        }
        self.perm = change.perm.unwrap_or(self.perm);
        self.uid = change.uid.unwrap_or(self.uid);
        self.gid = change.gid.unwrap_or(self.gid);
        self.atime = moment(change.atime, now).unwrap_or(self.atime);
        self.mtime = moment(change.mtime, now).unwrap_or(self.mtime);
        self.ctime = change.ctime.unwrap_or(now);
        Ok(())
    }
}

fn moment(time: Option<SetTime>, now: Time) -> Option<Time> {
    time.map(|time| match time {
        SetTime::Now => now,
        SetTime::At(at) => at,
    })
}
