//! One mount's side of the conversation with the kernel: what it holds, and what several answers have in common.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use fuser::{INodeNo, Request, WriteFlags};

use super::convert;
use super::dirty::Dirty;
use super::linger::Linger;
use super::mount::Ended;
use super::waiting::Waiting;
use super::workers::Workers;
use crate::base::{Error, Kind, Result};
use crate::volume::FileSystem;
use crate::volume::api::{Attr, Fh, FileKind, Ino, NewNode, SetAttr, SetTime};

/// A directory's list for what is made in it.
const DEFAULT_LIST: &[u8] = b"system.posix_acl_default";

/// The set-user-id and set-group-id bits.
const SET_ID: u16 = 0o6000;

/// One mount's side of the conversation with the kernel.
pub(super) struct Adapter {
    pub(super) fs: Arc<dyn FileSystem>,
    pub(super) workers: Workers,
    /// For what waits for other machines: it must not take the workers from reads. Started when first needed.
    pub(super) patient: OnceLock<Workers>,
    pub(super) lifetime: Duration,
    /// With it reads go to the workers, watched.
    pub(super) waiting: Option<Waiting>,
    pub(super) tell_closes: bool,
    pub(super) acl: bool,
    pub(super) dirty: Arc<Dirty>,
    pub(super) ended: Arc<Ended>,
    pub(super) linger: Linger,
}

/// Threads for what waits for other machines.
const PATIENT: usize = 16;

impl Adapter {
    /// Do an `fsync` where it holds up nobody.
    pub(super) fn run_sync(&self, job: impl FnOnce() + Send + 'static) {
        if !self.fs.is_fsync_slow() {
            return self.workers.run(job);
        }
        if self.patient.get().is_none()
            && let Ok(started) = Workers::start(PATIENT)
        {
            let _ = self.patient.set(started); // or somebody was quicker
        }
        self.patient.get().unwrap_or(&self.workers).run(job);
    }

    /// Take set-id privileges away from a file that `request` is about to change, unless root asks.
    /// fuser does not pass on the kernel's own verdict for opens, which is "may not set ids" = not root.
    pub(super) fn drop_privileges(&self, request: &Request, ino: Ino) -> Result<()> {
        if request.uid() == 0 || self.fs.getattr(ino)?.perm & SET_ID == 0 {
            return Ok(());
        }
        self.kill_set_id(ino)
    }

    pub(super) fn kill_set_id(&self, ino: Ino) -> Result<()> {
        let change = SetAttr { kill_suidgid: true, ..SetAttr::default() };
        self.fs.setattr(ino, &change).map(drop)
    }

    /// What a write past the page cache does to attributes; for cached writes the kernel keeps the times
    /// itself and sends them in its own `setattr`.
    pub(super) fn touch(&self, ino: Ino, flags: WriteFlags) -> Result<()> {
        if flags.contains(WriteFlags::FUSE_WRITE_CACHE) {
            return Ok(());
        }
        let kill_suidgid = flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        let change = SetAttr { mtime: Some(SetTime::Now), kill_suidgid, ..SetAttr::default() };
        self.fs.setattr(ino, &change).map(drop)
    }

    pub(super) fn open_file(&self, request: &Request, ino: Ino, flags: i32) -> Result<Fh> {
        let (write, truncate) = (convert::writes(flags), convert::truncates(flags));
        if truncate {
            self.drop_privileges(request, ino)?;
        }
        self.fs.open(ino, write, truncate).inspect(|_| self.dirty.opened(ino, write))
    }

    /// What is to be made. With access lists the kernel leaves the umask to us: a default list replaces it.
    pub(super) fn new_node(
        &self,
        request: &Request,
        parent: INodeNo,
        kind: FileKind,
        mode: u32,
        umask: u32,
    ) -> NewNode {
        let listed = self.acl && self.fs.getxattr(parent.0, DEFAULT_LIST).is_ok();
        convert::new_node(request, kind, if listed { mode } else { mode & !umask })
    }

    /// Access lists that nobody would enforce must not look as if they were set.
    pub(super) fn supports(&self, name: &OsStr) -> Result<()> {
        if !self.acl && name.as_bytes().starts_with(b"system.") {
            return Err(Error::new(Kind::Unsupported, "use attribute", name.to_string_lossy()));
        }
        Ok(())
    }

    pub(super) fn create_file(&self, parent: Ino, name: &OsStr, node: &NewNode, flags: i32) -> Result<(Attr, Fh)> {
        let created = self.fs.create(parent, name.as_bytes(), node);
        created.inspect(|(attr, _)| self.dirty.opened(attr.ino, convert::writes(flags)))
    }
}
