//! read, write, truncate, flush, fsync.

use std::sync::Arc;

use crate::base::{Error, Kind, Result, limits};
use crate::causal::NodeKind;
use crate::volume::Volume;
use crate::volume::api::Ino;
use crate::volume::content::{BEGIN, File, SCATTERED};
use crate::volume::inode::{Inner, Inode};
use crate::volume::work::Task;

impl Volume {
    pub(super) fn read_file(&self, ino: Ino, offset: u64, len: u32) -> Result<Vec<u8>> {
        let inode = self.file(ino)?;
        self.read_content(&inode, offset, len as usize)
    }

    pub(super) fn write_file(&self, ino: Ino, offset: u64, data: &[u8]) -> Result<u32> {
        self.check_writable()?;
        let inode = self.file(ino)?;
        let end = offset.saturating_add(data.len() as u64);
        if end > limits::MAX_FILE {
            return Err(Error::new(Kind::TooBig, "write", offset.to_string()));
        }
        self.find_room(data.len() as u64)?;
        self.make_room()?;
        let now = self.clock.now();
        self.change(&inode, |file| {
            file.pieces.write(offset, data);
            file.size = file.size.max(end);
            file.changed(offset..end, now);
            Ok(())
        })?;
        u32::try_from(data.len()).map_err(|e| Error::new(Kind::TooBig, "write", "").with_source(e))
    }

    /// Room on the disk for `len` more bytes; where there is none, what is garbage is freed first.
    fn find_room(&self, len: u64) -> Result<()> {
        match self.room.take(len, self.gauge.held(), &self.dir) {
            Err(e) if e.kind() == Kind::Full && self.collect_for_room() => {
                self.room.take(len, self.gauge.held(), &self.dir)
            }
            other => other,
        }
    }

    /// Truncate or extend.
    pub(super) fn resize(&self, inode: &Arc<Inode>, size: u64) -> Result<()> {
        let now = self.clock.now();
        self.change(inode, |file| {
            let old = file.size;
            if size < old {
                file.pieces.truncate(size);
                file.shrunk(size);
                file.frontier = file.frontier.filter(|at| *at <= size);
                file.passed.take();
                file.restate_all();
                if size == 0 {
                    file.base_size = 0;
                    file.base = crate::cas::manifest::Content::Empty;
                }
            }
            file.size = size;
            file.changed(old.min(size)..size, now);
            if size != old {
                file.touched = Some((now, now));
            }
            Ok(())
        })
    }

    /// Change the live content of a file, and see to it that somebody will settle it.
    pub(super) fn change(&self, inode: &Arc<Inode>, act: impl FnOnce(&mut File) -> Result<()>) -> Result<()> {
        self.own(inode)?;
        let mut guard = inode.inner.lock();
        let inner = &mut *guard;
        if inner.file.is_none() {
            inner.file = Some(File::of(&inner.state)?);
        }
        let Some(file) = inner.file.as_mut() else { return Ok(()) };
        let result = act(file);
        self.gauge.add(file.held_change());
        let advance = file.pieces.dirty_bytes() >= BEGIN && !file.queued;
        file.queued |= advance;
        let list = !file.listed;
        file.listed = true;
        drop(guard);
        if advance {
            self.work.push(Task::Advance(inode.clone()));
        }
        if list {
            self.unsettled.lock().insert(inode.ino, inode.clone());
            self.nudge();
        }
        result
    }

    /// Wait while too much is unwritten, pressing every file that holds some.
    fn make_room(&self) -> Result<()> {
        self.gauge.wait(|| {
            let files: Vec<_> = self.unsettled.lock().values().cloned().collect();
            for inode in files {
                let mut inner = inode.inner.lock();
                let Some(file) = inner.file.as_mut() else { continue };
                if file.pieces.dirty_bytes() > 0 && !file.queued {
                    file.queued = true;
                    drop(inner);
                    self.work.push(Task::Spill(inode));
                }
            }
        })
    }

    /// Content and metadata of `ino` become durable.
    pub(super) fn sync_node(&self, ino: Ino) -> Result<()> {
        let inode = self.inode(ino)?;
        self.store_content(&inode)?;
        let lsn = self.commit(Some(&inode))?;
        self.blocks.log().sync(lsn)?;
        self.wait_for_elsewhere()
    }

    /// Bring every byte of a file into the log: settled where that is as cheap, else as it is.
    fn store_content(&self, inode: &Arc<Inode>) -> Result<()> {
        let whole = {
            let mut inner = inode.inner.lock();
            let Some(file) = inner.file.as_mut() else { return Ok(()) };
            if let Some(kind) = file.failed.take() {
                return Err(Error::new(kind, "store content", "an earlier background write failed"));
            }
            !file.journaled && file.size <= SMALL && file.pieces.dirty_bytes() * 2 >= file.size
        };
        if whole && self.settle(inode)? {
            return Ok(());
        }
        self.store_cut(inode)?;
        if self.is_streamed(inode) && self.settle(inode)? {
            return Ok(());
        }
        self.spill(inode)
    }

    /// Whether a file was written front to back and all but its last chunk is cut: if that is many pieces, settling it
    /// costs less than journaling them.
    pub(in crate::volume) fn is_streamed(&self, inode: &Arc<Inode>) -> bool {
        let inner = inode.inner.lock();
        let Some(file) = &inner.file else { return false };
        let cut = |at: u64| file.size.saturating_sub(at) < self.chunker.longest(at) as u64;
        let many = file.pieces.len() > SCATTERED;
        many && !file.journaled && file.base_size == 0 && file.frontier.is_some_and(cut)
    }

    /// Damage was met at a node, or at the name in it: say at which path.
    pub(super) fn tell_damage(&self, ino: Ino, name: Option<&[u8]>, error: &Error) {
        if error.kind() != Kind::Corrupt {
            return;
        }
        let mut path = match self.inode(ino) {
            Ok(inode) => self.path_of(inode.id),
            Err(_) => format!("(number {ino}: where it lies is damaged too)"),
        };
        if let Some(name) = name {
            path = format!("{}/{}", path.trim_end_matches('/'), String::from_utf8_lossy(name));
        }
        tracing::error!(path, "damaged: {}", error.chain());
    }

    /// A regular file's node.
    pub(in crate::volume) fn file(&self, ino: Ino) -> Result<Arc<Inode>> {
        let inode = self.inode(ino)?;
        match inode.kind {
            NodeKind::File => Ok(inode),
            NodeKind::Directory => Err(Error::new(Kind::IsDirectory, "use as file", "")),
            _ => Err(Error::new(Kind::Invalid, "use as file", "")),
        }
    }

    /// Forget the content of a node nobody can reach any more.
    pub(in crate::volume) fn discard_content(&self, inner: &mut Inner) {
        if let Some(mut file) = inner.file.take() {
            file.pieces.truncate(0);
            self.gauge.add(file.held_change());
        }
    }
}

/// Files up to this size are settled whole at fsync.
const SMALL: u64 = 512 << 10;
