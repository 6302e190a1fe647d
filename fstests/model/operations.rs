//! The port, operation by operation.

use lovage::base::{Kind, Result, limits};
use lovage::volume::api::{Attr, FallocMode, Fh, Ino, NewNode, RenameMode, SeekWhence, SetAttr, StatFs, XattrMode};
use lovage::volume::{FileSystem, Filler};

use super::node::Body;
use super::{Handle, ModelFs, State, fail};

impl State {
    /// Attributes of a node whose number is handed out.
    fn hand_out(&mut self, ino: Ino) -> Result<Attr> {
        let node = self.node_mut(ino)?;
        node.references += 1;
        Ok(node.attr(ino))
    }

    fn open(&mut self, ino: Ino) -> Result<Fh> {
        self.node(ino)?.content()?;
        self.node_mut(ino)?.opens += 1;
        Ok(Fh(self.add_handle(Handle::File(ino))))
    }

    fn close(&mut self, fh: Fh) -> Result<()> {
        let ino = match self.handles.remove(&fh.0) {
            Some(Handle::File(ino)) => ino,
            Some(Handle::Directory(open)) => open.ino,
            None => return fail(Kind::Stale),
        };
        self.node_mut(ino)?.opens -= 1;
        self.reap(ino);
        Ok(())
    }

    fn write(&mut self, ino: Ino, offset: u64, data: &[u8]) -> Result<()> {
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > limits::MAX_FILE) {
            return fail(Kind::TooBig);
        }
        self.node_mut(ino)?.content_mut()?.write(offset, data);
        Ok(())
    }

    fn fallocate(&mut self, ino: Ino, offset: u64, len: u64, mode: FallocMode) -> Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= limits::MAX_FILE);
        let Some(end) = end else { return fail(Kind::TooBig) };
        if mode.collapse || mode.insert || (mode.punch && !mode.keep_size) {
            return fail(Kind::Unsupported);
        }
        let content = self.node_mut(ino)?.content_mut()?;
        if mode.punch || mode.zero {
            content.clear(offset.min(content.size), end.min(content.size));
        }
        if !mode.keep_size && end > content.size {
            content.resize(end);
        }
        Ok(())
    }

    fn set_xattr(&mut self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        let now = self.now();
        let node = self.node_mut(ino)?;
        match (mode, node.xattrs.contains_key(name)) {
            (XattrMode::Create, true) => return fail(Kind::Exists),
            (XattrMode::Replace, false) => return fail(Kind::NoAttribute),
            _ => {}
        }
        let others = node.xattrs.iter().filter(|(other, _)| *other != name);
        let used: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        if value.len() > limits::MAX_XATTR_VALUE || used + name.len() + value.len() > limits::MAX_XATTRS {
            return fail(Kind::Full);
        }
        node.xattrs.insert(name.to_vec(), value.to_vec());
        node.ctime = now;
        Ok(())
    }
}

impl FileSystem for ModelFs {
    fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr> {
        let mut state = self.state.lock();
        let ino = state.find(parent, name)?;
        state.hand_out(ino)
    }

    fn forget(&self, ino: Ino, count: u64) {
        let mut state = self.state.lock();
        if let Ok(node) = state.node_mut(ino) {
            node.references = node.references.saturating_sub(count);
        }
        state.reap(ino);
    }

    fn getattr(&self, ino: Ino) -> Result<Attr> {
        Ok(self.state.lock().node(ino)?.attr(ino))
    }

    fn setattr(&self, ino: Ino, change: &SetAttr) -> Result<Attr> {
        if change.size.is_some_and(|size| size > limits::MAX_FILE) {
            return fail(Kind::TooBig);
        }
        let mut state = self.state.lock();
        let now = state.now();
        let node = state.node_mut(ino)?;
        node.change(change, now)?;
        Ok(node.attr(ino))
    }

    fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        match &self.state.lock().node(ino)?.body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => fail(Kind::Invalid),
        }
    }

    fn make(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<Attr> {
        let mut state = self.state.lock();
        let ino = state.make(parent, name, node)?;
        state.hand_out(ino)
    }

    fn create(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<(Attr, Fh)> {
        let mut state = self.state.lock();
        let ino = state.make(parent, name, node)?;
        let fh = state.open(ino)?;
        Ok((state.hand_out(ino)?, fh))
    }

    fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr> {
        let mut state = self.state.lock();
        state.link(ino, parent, name)?;
        state.hand_out(ino)
    }

    fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.state.lock().unlink(parent, name)
    }

    fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.state.lock().rmdir(parent, name)
    }

    fn rename(&self, parent: Ino, name: &[u8], new_parent: Ino, new_name: &[u8], mode: RenameMode) -> Result<()> {
        self.state.lock().rename((parent, name), (new_parent, new_name), mode)
    }

    fn open(&self, ino: Ino, _write: bool, truncate: bool) -> Result<Fh> {
        let mut state = self.state.lock();
        let now = state.now();
        let fh = state.open(ino)?;
        if truncate {
            let node = state.node_mut(ino)?;
            node.content_mut()?.resize(0);
            node.modified(now);
        }
        Ok(fh)
    }

    fn release(&self, fh: Fh) -> Result<()> {
        self.state.lock().close(fh)
    }

    fn read(&self, ino: Ino, offset: u64, len: u32) -> Result<Vec<u8>> {
        Ok(self.state.lock().node(ino)?.content()?.read(offset, u64::from(len)))
    }

    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<u32> {
        self.state.lock().write(ino, offset, data)?;
        u32::try_from(data.len()).or_else(|_| fail(Kind::TooBig))
    }

    fn flush(&self, ino: Ino) -> Result<()> {
        self.state.lock().node(ino).map(drop)
    }

    fn fsync(&self, ino: Ino, _data_only: bool) -> Result<()> {
        self.state.lock().node(ino).map(drop)
    }

    fn fallocate(&self, ino: Ino, offset: u64, len: u64, mode: FallocMode) -> Result<()> {
        self.state.lock().fallocate(ino, offset, len, mode)
    }

    fn seek(&self, ino: Ino, offset: u64, whence: SeekWhence) -> Result<u64> {
        let state = self.state.lock();
        let content = state.node(ino)?.content()?;
        let found = match whence {
            SeekWhence::Data => content.next_data(offset),
            SeekWhence::Hole => content.next_hole(offset),
        };
        found.map_or_else(|| fail(Kind::NotFound), Ok)
    }

    fn copy_range(&self, from: Ino, from_offset: u64, to: Ino, to_offset: u64, len: u64) -> Result<u64> {
        let mut state = self.state.lock();
        let data = state.node(from)?.content()?.read(from_offset, len);
        // Nothing to copy changes nothing: the target does not grow up to where it would have been.
        if !data.is_empty() {
            state.write(to, to_offset, &data)?;
        }
        Ok(data.len() as u64)
    }

    fn opendir(&self, ino: Ino) -> Result<Fh> {
        self.state.lock().opendir(ino)
    }

    fn readdir(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()> {
        self.state.lock().readdir(fh, cookie, false, fill)
    }

    fn readdir_plus(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()> {
        self.state.lock().readdir(fh, cookie, true, fill)
    }

    fn releasedir(&self, fh: Fh) -> Result<()> {
        self.state.lock().close(fh)
    }

    fn fsyncdir(&self, ino: Ino) -> Result<()> {
        self.state.lock().node(ino).map(drop)
    }

    fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let state = self.state.lock();
        state.node(ino)?.xattrs.get(name).cloned().map_or_else(|| fail(Kind::NoAttribute), Ok)
    }

    fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.state.lock().set_xattr(ino, name, value, mode)
    }

    fn listxattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        Ok(self.state.lock().node(ino)?.xattrs.keys().cloned().collect())
    }

    fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        let mut state = self.state.lock();
        let now = state.now();
        let node = state.node_mut(ino)?;
        if node.xattrs.remove(name).is_none() {
            return fail(Kind::NoAttribute);
        }
        node.ctime = now;
        Ok(())
    }

    fn statfs(&self) -> Result<StatFs> {
        let files = self.state.lock().nodes.len() as u64;
        let (blocks, ffree) = (1 << 28, 1 << 32);
        Ok(StatFs { blocks, bfree: blocks, bavail: blocks, files: files + ffree, ffree, bsize: 4096, namelen: 255 })
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }
}
