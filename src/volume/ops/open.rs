//! open, create, release, flush.

use std::sync::Arc;

use crate::base::{Error, Kind, Result};
use crate::causal::NodeKind;
use crate::volume::Volume;
use crate::volume::api::{Attr, Fh, Ino, NewNode};
use crate::volume::content::SCATTERED;
use crate::volume::inode::Inode;
use crate::volume::work::Task;

impl Volume {
    /// Open a file; the handle is its inode number, for all that an open file is, is kept there.
    pub(super) fn open_file(&self, ino: Ino, write: bool, truncate: bool) -> Result<Fh> {
        if write || truncate {
            self.check_writable()?;
        }
        let inode = self.inode(ino)?;
        if inode.kind == NodeKind::Directory {
            return Err(Error::new(Kind::IsDirectory, "open file", ""));
        }
        inode.inner.lock().opens += 1;
        if truncate
            && inode.kind == NodeKind::File
            && let Err(error) = self.resize(&inode, 0)
        {
            self.close_file(&inode);
            return Err(error);
        }
        Ok(Fh(ino))
    }

    pub(super) fn create_file(&self, parent: Ino, name: &[u8], new: &NewNode) -> Result<(Attr, Fh)> {
        let (attr, inode) = self.make_node(parent, name, new)?;
        inode.inner.lock().opens += 1;
        Ok((attr, Fh(attr.ino)))
    }

    pub(super) fn release_file(&self, fh: Fh) -> Result<()> {
        let inode = self.inode(fh.0)?;
        self.close_file(&inode);
        Ok(())
    }

    fn close_file(&self, inode: &Arc<Inode>) {
        let mut inner = inode.inner.lock();
        inner.opens = inner.opens.saturating_sub(1);
        if inner.opens > 0 {
            return;
        }
        if inner.is_unlinked() {
            self.discard_content(&mut inner);
        } else if inner.file.as_ref().is_some_and(|file| file.pieces.len() <= SCATTERED) {
            drop(inner);
            self.work.push(Task::Settle(inode.clone()));
        }
    }

    /// A descriptor was closed: tell of background writes that failed.
    pub(super) fn flush_file(&self, ino: Ino) -> Result<()> {
        let inode = self.inode(ino)?;
        let failed = inode.inner.lock().file.as_mut().and_then(|file| file.failed.take());
        match failed {
            Some(kind) => Err(Error::new(kind, "store content", "an earlier background write failed")),
            None => Ok(()),
        }
    }
}
