//! The volume as a [`FileSystem`].

use crate::base::Result;
use crate::volume::Volume;
use crate::volume::api::{Attr, FallocMode, Fh, Ino, NewNode, RenameMode, SeekWhence, SetAttr, StatFs, XattrMode};
use crate::volume::filesystem::{FileSystem, Filler};

impl FileSystem for Volume {
    fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Attr> {
        self.lookup_name(parent, name).inspect_err(|error| self.tell_damage(parent, Some(name), error))
    }
    fn forget(&self, ino: Ino, count: u64) {
        self.ns.lock().table.forget(ino, count);
    }
    fn getattr(&self, ino: Ino) -> Result<Attr> {
        Ok(self.inode(ino).inspect_err(|error| self.tell_damage(ino, None, error))?.attr())
    }
    fn setattr(&self, ino: Ino, change: &SetAttr) -> Result<Attr> {
        self.set_attr(ino, change)
    }
    fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        self.read_link(ino)
    }
    fn make(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<Attr> {
        Ok(self.make_node(parent, name, node)?.0)
    }
    fn create(&self, parent: Ino, name: &[u8], node: &NewNode) -> Result<(Attr, Fh)> {
        self.create_file(parent, name, node)
    }
    fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Attr> {
        self.link_name(ino, parent, name)
    }
    fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.unlink_name(parent, name)
    }
    fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.rmdir_name(parent, name)
    }
    fn rename(&self, parent: Ino, name: &[u8], new_parent: Ino, new_name: &[u8], mode: RenameMode) -> Result<()> {
        self.rename_name(parent, name, new_parent, new_name, mode)
    }
    fn open(&self, ino: Ino, write: bool, truncate: bool) -> Result<Fh> {
        self.open_file(ino, write, truncate).inspect_err(|error| self.tell_damage(ino, None, error))
    }
    fn release(&self, fh: Fh) -> Result<()> {
        self.release_file(fh)
    }
    fn read(&self, ino: Ino, offset: u64, len: u32) -> Result<Vec<u8>> {
        self.read_file(ino, offset, len).inspect_err(|error| self.tell_damage(ino, None, error))
    }
    fn write(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<u32> {
        self.write_file(ino, offset, data)
    }
    fn flush(&self, ino: Ino) -> Result<()> {
        self.flush_file(ino)
    }
    fn fsync(&self, ino: Ino, _data_only: bool) -> Result<()> {
        self.sync_node(ino)
    }
    fn is_fsync_slow(&self) -> bool {
        self.waits_for_elsewhere()
    }
    fn fallocate(&self, ino: Ino, offset: u64, len: u64, mode: FallocMode) -> Result<()> {
        self.allocate(ino, offset, len, mode)
    }
    fn seek(&self, ino: Ino, offset: u64, whence: SeekWhence) -> Result<u64> {
        self.seek_file(ino, offset, whence)
    }
    fn copy_range(&self, from: Ino, from_offset: u64, to: Ino, to_offset: u64, len: u64) -> Result<u64> {
        self.copy_content(from, from_offset, to, to_offset, len)
    }
    fn opendir(&self, ino: Ino) -> Result<Fh> {
        self.open_dir(ino).inspect_err(|error| self.tell_damage(ino, None, error))
    }
    fn readdir(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()> {
        self.list(fh, cookie, false, fill)
    }
    fn readdir_plus(&self, fh: Fh, cookie: u64, fill: Filler<'_>) -> Result<()> {
        self.list(fh, cookie, true, fill)
    }
    fn releasedir(&self, fh: Fh) -> Result<()> {
        self.close_dir(fh);
        Ok(())
    }
    fn fsyncdir(&self, ino: Ino) -> Result<()> {
        self.sync_node(ino)
    }
    fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        self.get_xattr(ino, name)
    }
    fn setxattr(&self, ino: Ino, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.set_xattr(ino, name, value, mode)
    }
    fn listxattr(&self, ino: Ino) -> Result<Vec<Vec<u8>>> {
        self.list_xattrs(ino)
    }
    fn removexattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        self.remove_xattr(ino, name)
    }
    fn statfs(&self) -> Result<StatFs> {
        self.stat_fs()
    }
    fn sync(&self) -> Result<()> {
        self.sync_all()
    }
}
