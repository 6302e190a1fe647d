//! Every FUSE request: decode, call the filesystem, reply. No logic.
//!
//! Methods answer on the thread they are called on, except those that may wait for a disk or a network,
//! which go to the workers.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::SystemTime;

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, INodeNo, IoctlFlags, KernelConfig, LockOwner,
    OpenFlags, PollEvents, PollFlags, PollNotifier, RenameFlags, ReplyAttr, ReplyBmap, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen, ReplyPoll,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::errno::errno;
use super::side::Adapter;
use super::{convert, kernel, reply};
use crate::volume::api::{Fh, FileKind, NewNode, SetAttr};

/// Largest piece copied by one request, in bytes: the reply counts in 32 bits.
const MAX_COPY: u64 = 1 << 30;

#[allow(clippy::too_many_arguments)] // the signatures are fuser's
impl Filesystem for Adapter {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        kernel::configure(config, self.acl);
        Ok(())
    }

    fn destroy(&mut self) {
        self.ended.announce();
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, answer: ReplyEntry) {
        let _next = self.linger.after();
        reply::lookup(answer, self.lifetime, self.fs.lookup(parent.0, name.as_bytes()));
    }

    fn forget(&self, _: &Request, ino: INodeNo, count: u64) {
        self.fs.forget(ino.0, count);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, answer: ReplyAttr) {
        let _next = self.linger.after();
        reply::attr(answer, self.lifetime, self.fs.getattr(ino.0));
    }

    fn setattr(
        &self,
        request: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        answer: ReplyAttr,
    ) {
        let _next = self.linger.after();
        let change = SetAttr {
            perm: mode.map(convert::perm_of_mode),
            uid,
            gid,
            size,
            atime: atime.map(convert::set_time),
            mtime: mtime.map(convert::set_time),
            ctime: ctime.map(convert::time),
            kill_suidgid: size.is_some() && request.uid() != 0,
        };
        // The kernel also asks for no change at all, when all it wanted changed is ours to decide.
        let nothing = change == SetAttr::default();
        let result = if nothing { self.fs.getattr(ino.0) } else { self.fs.setattr(ino.0, &change) };
        reply::attr(answer, self.lifetime, result);
    }

    fn readlink(&self, _: &Request, ino: INodeNo, answer: ReplyData) {
        let _next = self.linger.after();
        reply::data(answer, self.fs.readlink(ino.0));
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        rdev: u32,
        answer: ReplyEntry,
    ) {
        let _next = self.linger.after();
        let made = convert::kind_of_mode(mode).and_then(|kind| {
            let node = NewNode { rdev, ..self.new_node(req, parent, kind, mode, umask) };
            self.fs.make(parent.0, name.as_bytes(), &node)
        });
        reply::entry(answer, self.lifetime, made);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, answer: ReplyEntry) {
        let _next = self.linger.after();
        let node = self.new_node(req, parent, FileKind::Directory, mode, umask);
        reply::entry(answer, self.lifetime, self.fs.make(parent.0, name.as_bytes(), &node));
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, answer: ReplyEntry) {
        let _next = self.linger.after();
        let target = Some(target.as_os_str().as_bytes().to_vec());
        let node = NewNode { target, ..convert::new_node(req, FileKind::Symlink, 0o777) };
        reply::entry(answer, self.lifetime, self.fs.make(parent.0, name.as_bytes(), &node));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        answer: ReplyCreate,
    ) {
        let _next = self.linger.after();
        let node = self.new_node(request, parent, FileKind::File, mode, umask);
        reply::created(answer, self.lifetime, self.create_file(parent.0, name, &node, flags));
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, answer: ReplyEntry) {
        let _next = self.linger.after();
        reply::entry(answer, self.lifetime, self.fs.link(ino.0, parent.0, name.as_bytes()));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, answer: ReplyEmpty) {
        let _next = self.linger.after();
        reply::empty(answer, self.fs.unlink(parent.0, name.as_bytes()));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, answer: ReplyEmpty) {
        let _next = self.linger.after();
        reply::empty(answer, self.fs.rmdir(parent.0, name.as_bytes()));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        answer: ReplyEmpty,
    ) {
        let _next = self.linger.after();
        let renamed = convert::rename_mode(flags)
            .and_then(|mode| self.fs.rename(parent.0, name.as_bytes(), new_parent.0, new_name.as_bytes(), mode));
        reply::empty(answer, renamed);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, answer: ReplyOpen) {
        let _next = self.linger.after();
        reply::opened(answer, reply::file_flags(ino.0), self.open_file(req, ino.0, flags.0));
    }

    fn read(
        &self,
        req: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        answer: ReplyData,
    ) {
        let _next = self.linger.after();
        let Some(waiting) = &self.waiting else {
            return reply::data(answer, self.fs.read(ino.0, offset, size));
        };
        let fs = self.fs.clone();
        let ticket = waiting.enter(req.pid(), Box::new(move |result| reply::data(answer, result)));
        self.workers.run(move || ticket.done(fs.read(ino.0, offset, size)));
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        answer: ReplyWrite,
    ) {
        let _next = self.linger.after();
        let written = self.touch(ino.0, flags).and_then(|()| self.fs.write(ino.0, offset, data));
        reply::written(answer, written);
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, answer: ReplyEmpty) {
        let _next = self.linger.after();
        if self.tell_closes {
            reply::empty(answer, self.fs.flush(ino.0));
        } else {
            answer.error(Errno::ENOSYS); // "never ask again"; dirty pages are written back all the same
        }
    }

    fn release(
        &self,
        _: &Request,
        ino: INodeNo,
        fh: FileHandle,
        flags: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        answer: ReplyEmpty,
    ) {
        let _next = self.linger.after();
        self.dirty.released(ino.0, convert::writes(flags.0));
        reply::empty(answer, self.fs.release(Fh(fh.0)));
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, data_only: bool, answer: ReplyEmpty) {
        let fs = self.fs.clone();
        self.run_sync(move || reply::empty(answer, fs.fsync(ino.0, data_only)));
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, answer: ReplyOpen) {
        let _next = self.linger.after();
        reply::opened(answer, reply::directory_flags(ino.0), self.fs.opendir(ino.0));
    }

    fn readdir(&self, _: &Request, _: INodeNo, fh: FileHandle, cookie: u64, mut answer: ReplyDirectory) {
        let listed = self.fs.readdir(Fh(fh.0), cookie, &mut |entry, _| {
            let name = OsStr::from_bytes(entry.name.as_bytes());
            !answer.add(INodeNo(entry.ino), entry.cookie, convert::file_type(entry.kind), name)
        });
        match listed {
            Ok(()) => answer.ok(),
            Err(e) => answer.error(errno(&e)),
        }
    }

    fn readdirplus(&self, _: &Request, _: INodeNo, fh: FileHandle, cookie: u64, mut answer: ReplyDirectoryPlus) {
        let _next = self.linger.after();
        let lifetime = self.lifetime;
        let listed = self.fs.readdir_plus(Fh(fh.0), cookie, &mut |entry, attr| {
            let name = OsStr::from_bytes(entry.name.as_bytes());
            let attr = attr.map_or_else(|| convert::no_attr(entry.kind), |attr| convert::attr(&attr));
            let lifetime = reply::lasting(lifetime, entry.ino);
            !answer.add(INodeNo(entry.ino), entry.cookie, name, &lifetime, &attr, reply::GENERATION)
        });
        match listed {
            Ok(()) => answer.ok(),
            Err(e) => answer.error(errno(&e)),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, fh: FileHandle, _: OpenFlags, answer: ReplyEmpty) {
        let _next = self.linger.after();
        reply::empty(answer, self.fs.releasedir(Fh(fh.0)));
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, answer: ReplyEmpty) {
        let fs = self.fs.clone();
        self.run_sync(move || reply::empty(answer, fs.fsyncdir(ino.0)));
    }

    fn statfs(&self, _: &Request, _: INodeNo, answer: ReplyStatfs) {
        reply::statfs(answer, self.fs.statfs());
    }

    fn setxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, value: &[u8], flags: i32, _: u32, answer: ReplyEmpty) {
        let _next = self.linger.after();
        let set = self
            .supports(name)
            .and_then(|()| convert::xattr_mode(flags))
            .and_then(|mode| self.fs.setxattr(ino.0, name.as_bytes(), value, mode));
        reply::empty(answer, set);
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, room: u32, answer: ReplyXattr) {
        let _next = self.linger.after();
        let value = self.supports(name).and_then(|()| self.fs.getxattr(ino.0, name.as_bytes()));
        reply::xattr(answer, room, value);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, room: u32, answer: ReplyXattr) {
        let _next = self.linger.after();
        let names = self
            .fs
            .listxattr(ino.0)
            .map(|names| names.into_iter().flat_map(|name| name.into_iter().chain([0])).collect::<Vec<u8>>());
        reply::xattr(answer, room, names);
    }

    fn removexattr(&self, _: &Request, ino: INodeNo, name: &OsStr, answer: ReplyEmpty) {
        let _next = self.linger.after();
        let removed = self.supports(name).and_then(|()| self.fs.removexattr(ino.0, name.as_bytes()));
        reply::empty(answer, removed);
    }

    fn ioctl(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: IoctlFlags,
        _: u32,
        _: &[u8],
        _: u32,
        answer: ReplyIoctl,
    ) {
        answer.error(Errno::ENOTTY);
    }

    fn poll(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        _: PollNotifier,
        _: PollEvents,
        _: PollFlags,
        answer: ReplyPoll,
    ) {
        // "Never ask again": the kernel then treats files as always ready, as it does on disks.
        answer.error(Errno::ENOSYS);
    }

    fn bmap(&self, _: &Request, _: INodeNo, _: u32, _: u64, answer: ReplyBmap) {
        answer.error(Errno::ENOSYS);
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        len: u64,
        mode: i32,
        answer: ReplyEmpty,
    ) {
        let done = convert::falloc_mode(mode).and_then(|mode| self.fs.fallocate(ino.0, offset, len, mode));
        reply::empty(answer, done);
    }

    fn lseek(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, answer: ReplyLseek) {
        let fs = self.fs.clone();
        self.dirty.after_write_back(ino.0, move || {
            let target = convert::seek(offset, whence);
            reply::offset(answer, target.and_then(|(from, whence)| fs.seek(ino.0, from, whence)));
        });
    }

    fn copy_file_range(
        &self,
        _: &Request,
        from: INodeNo,
        _: FileHandle,
        from_offset: u64,
        to: INodeNo,
        _: FileHandle,
        to_offset: u64,
        len: u64,
        _: CopyFileRangeFlags,
        answer: ReplyWrite,
    ) {
        let fs = self.fs.clone();
        self.workers.run(move || {
            let copied = fs.copy_range(from.0, from_offset, to.0, to_offset, len.min(MAX_COPY));
            reply::written(answer, copied.map(|n| u32::try_from(n).unwrap_or(u32::MAX)));
        });
    }
}
