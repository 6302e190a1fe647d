//! Every file operation: to the tree of `/.lovage` where the number says so, else to the volume. No logic beyond that.

use super::Shown;
use super::attributes::Own;
use super::tree::{Item, NAME};
use crate::base::{Error, Kind, Name, Result};
use crate::volume::api::{
    Attr, DirEntry, EntryName, FallocMode, Fh, FileKind, Ino, MADE_UP, NewNode, ROOT_INO, RenameMode, SeekWhence,
    SetAttr, StatFs, XattrMode,
};
use crate::volume::{FileSystem, Filler};

/// The item behind a number, if it is one of ours.
macro_rules! ours {
    ($self:ident, $ino:expr) => {
        if $ino >= MADE_UP { Some($self.tree.item($ino)?) } else { None }
    };
}

fn refuse(ino: Ino) -> Result<()> {
    if ino >= MADE_UP { Err(Error::new(Kind::ReadOnly, "change", "/.lovage")) } else { Ok(()) }
}

/// Nothing of ours, and not the name kept for it.
fn refuse_name(parent: Ino, name: &[u8]) -> Result<()> {
    if parent == ROOT_INO && name == NAME {
        return Err(Error::new(Kind::Exists, "make", "/.lovage"));
    }
    refuse(parent)
}

impl Shown {
    fn list(&self, item: Item, cookie: u64, fill: Filler<'_>) -> Result<()> {
        let (ino, kind) = (self.tree.number(item)?, FileKind::Directory);
        let mut all = vec![(EntryName::Itself, ino, kind, None), (EntryName::Parent, ino, kind, None)];
        for (name, item) in self.tree.entries(item)? {
            let attr = self.tree.attr(item)?;
            all.push((EntryName::Child(Name::new(name.as_bytes())?), attr.ino, attr.kind, Some(attr)));
        }
        let skip = usize::try_from(cookie).unwrap_or(usize::MAX);
        for (cookie, (name, ino, kind, attr)) in (1..).zip(all).skip(skip) {
            if !fill(DirEntry { ino, kind, name, cookie }, attr) {
                break;
            }
        }
        Ok(())
    }
}

impl FileSystem for Shown {
    fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr> {
        if parent == ROOT_INO && name == NAME {
            return self.tree.attr(Item::Top);
        }
        let Some(item) = ours!(self, parent) else { return self.volume.lookup(parent, name) };
        let found = self.tree.entries(item)?.into_iter().find(|(entry, _)| entry.as_bytes() == name);
        let absent = || Error::new(Kind::NotFound, "find", String::from_utf8_lossy(name));
        self.tree.attr(found.ok_or_else(absent)?.1)
    }
    fn forget(&self, ino: Ino, count: u64) {
        if ino < MADE_UP {
            self.volume.forget(ino, count);
        }
    }
    fn getattr(&self, ino: Ino) -> Result<Attr> {
        match ours!(self, ino) {
            Some(item) => self.tree.attr(item),
            None => self.volume.getattr(ino),
        }
    }
    fn setattr(&self, ino: Ino, change: &SetAttr) -> Result<Attr> {
        refuse(ino)?;
        self.volume.setattr(ino, change)
    }
    fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        self.volume.readlink(ino)
    }
    fn make(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<Attr> {
        refuse_name(parent, name)?;
        self.volume.make(parent, name, node)
    }
    fn create(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<(Attr, Fh)> {
        refuse_name(parent, name)?;
        self.volume.create(parent, name, node)
    }
    fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr> {
        refuse(ino)?;
        refuse_name(parent, name)?;
        self.volume.link(ino, parent, name)
    }
    fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        refuse(parent)?;
        self.volume.unlink(parent, name)
    }
    fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        refuse(parent)?;
        if parent == ROOT_INO && name == NAME {
            return Err(Error::new(Kind::ReadOnly, "remove", "/.lovage"));
        }
        self.volume.rmdir(parent, name)
    }
    fn rename(&self, parent: Ino, name: &[u8], new_parent: Ino, new_name: &[u8], mode: RenameMode) -> Result<()> {
        refuse_name(parent, name)?;
        refuse_name(new_parent, new_name)?;
        self.volume.rename(parent, name, new_parent, new_name, mode)
    }

    fn open(&self, ino: Ino, write: bool, truncate: bool) -> Result<Fh> {
        let Some(item) = ours!(self, ino) else { return self.volume.open(ino, write, truncate) };
        if write || truncate {
            refuse(ino)?;
        }
        self.tree.open(item)?;
        Ok(Fh(ino))
    }
    fn release(&self, fh: Fh) -> Result<()> {
        if fh.0 >= MADE_UP { Ok(()) } else { self.volume.release(fh) }
    }
    fn read(&self, ino: Ino, offset: u64, len: u32) -> Result<Vec<u8>> {
        match ours!(self, ino) {
            Some(item) => self.tree.read(item, offset, len),
            None => self.volume.read(ino, offset, len),
        }
    }
    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<u32> {
        refuse(ino)?;
        self.volume.write(ino, offset, data)
    }
    fn flush(&self, ino: Ino) -> Result<()> {
        if ino >= MADE_UP { Ok(()) } else { self.volume.flush(ino) }
    }
    fn fsync(&self, ino: Ino, data_only: bool) -> Result<()> {
        if ino >= MADE_UP { Ok(()) } else { self.volume.fsync(ino, data_only) }
    }
    fn is_fsync_slow(&self) -> bool {
        self.volume.is_fsync_slow()
    }
    fn fallocate(&self, ino: Ino, offset: u64, len: u64, mode: FallocMode) -> Result<()> {
        refuse(ino)?;
        self.volume.fallocate(ino, offset, len, mode)
    }
    fn seek(&self, ino: Ino, offset: u64, whence: SeekWhence) -> Result<u64> {
        let Some(item) = ours!(self, ino) else { return self.volume.seek(ino, offset, whence) };
        let size = self.tree.attr(item)?.size;
        let beyond = || Error::new(Kind::NotFound, "seek", offset.to_string());
        let target = if whence == SeekWhence::Data { offset } else { size };
        if offset < size { Ok(target) } else { Err(beyond()) }
    }
    fn copy_range(&self, from: Ino, from_offset: u64, to: Ino, to_offset: u64, len: u64) -> Result<u64> {
        refuse(to)?;
        if from >= MADE_UP {
            return Err(Error::new(Kind::Unsupported, "copy blocks", "/.lovage")); // the kernel copies bytes then
        }
        self.volume.copy_range(from, from_offset, to, to_offset, len)
    }

    fn opendir(&self, ino: Ino) -> Result<Fh> {
        match ours!(self, ino) {
            Some(item) => self.tree.entries(item).map(|_| Fh(ino)),
            None => self.volume.opendir(ino),
        }
    }
    fn readdir(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()> {
        match ours!(self, fh.0) {
            Some(item) => self.list(item, cookie, fill),
            None => self.volume.readdir(fh, cookie, fill),
        }
    }
    fn readdir_plus(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()> {
        match ours!(self, fh.0) {
            Some(item) => self.list(item, cookie, fill),
            None => self.volume.readdir_plus(fh, cookie, fill),
        }
    }
    fn releasedir(&self, fh: Fh) -> Result<()> {
        if fh.0 >= MADE_UP { Ok(()) } else { self.volume.releasedir(fh) }
    }
    fn fsyncdir(&self, ino: Ino) -> Result<()> {
        if ino >= MADE_UP { Ok(()) } else { self.volume.fsyncdir(ino) }
    }

    fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        if ino >= MADE_UP {
            return Err(Error::new(Kind::NoAttribute, "get attribute", String::from_utf8_lossy(name)));
        }
        match Own::named(name) {
            Some(own) => own.of(&*self.service()?, &self.known, &self.volume, ino),
            None => self.volume.getxattr(ino, name),
        }
    }
    fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        refuse(ino)?;
        match Own::named(name) {
            Some(Own::Pinned) => self.set_pinned(ino, value),
            _ => self.volume.setxattr(ino, name, value, mode),
        }
    }
    fn listxattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        if ino >= MADE_UP { Ok(Vec::new()) } else { self.volume.listxattr(ino) }
    }
    fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        refuse(ino)?;
        match Own::named(name) {
            Some(Own::Pinned) => self.set_pinned(ino, b"0"),
            _ => self.volume.removexattr(ino, name),
        }
    }

    fn statfs(&self) -> Result<StatFs> {
        self.volume.statfs()
    }
    fn sync(&self) -> Result<()> {
        FileSystem::sync(&*self.volume)
    }
}
