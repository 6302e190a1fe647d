//! One of the two directories: runs a concrete operation and says what a program would have seen.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fstests::harness::bytes::random;
use fstests::harness::snapshot::digest;
use rustix::fs::{CWD, FallocateFlags, FileType, Mode, RenameFlags, Timespec, Timestamps, XattrFlags};
use rustix::io::Errno;

use crate::operation::Operation;

/// An operation with its operands filled in: paths are relative, handles are indexes.
#[derive(Debug, Clone)]
pub struct Concrete {
    pub operation: Operation,
    /// First path.
    pub path: PathBuf,
    /// Second path.
    pub other: PathBuf,
    /// Index of an open handle.
    pub handle: usize,
}

/// What a program sees: a description of the answer, or the errno.
pub type Outcome = Result<String, Errno>;

/// Paths and handles that exist, as far as results have told.
pub struct Live {
    paths: Vec<PathBuf>,
    handles: usize,
}

const NAMES: &[&str] = &["a", "b", "c", "d", "file", "dir", "x.txt", "é"];

impl Live {
    pub fn new() -> Self {
        Live { paths: vec![PathBuf::new()], handles: 0 }
    }

    fn any(&self, index: usize) -> PathBuf {
        self.paths[index % self.paths.len()].clone()
    }

    fn named(&self, dir: usize, name: usize) -> PathBuf {
        let name = if name % 40 == 39 { "n".repeat(255) } else { NAMES[name % NAMES.len()].to_owned() };
        self.any(dir).join(name)
    }

    /// Fills in the operands.
    pub fn resolve(&self, operation: &Operation) -> Concrete {
        use Operation::*;
        let none = PathBuf::new;
        let (path, other, handle) = match *operation {
            Create { dir, name, .. } | Mkdir { dir, name, .. } | Mkfifo { dir, name, .. } => {
                (self.named(dir, name), none(), 0)
            }
            Symlink { dir, name, target } => (self.named(dir, name), self.any(target), 0),
            Link { path, dir, name } | Rename { path, dir, name } => (self.any(path), self.named(dir, name), 0),
            RenameOnto { path, onto } | NoReplace { path, onto } => (self.any(path), self.any(onto), 0),
            Exchange { path, with } => (self.any(path), self.any(with), 0),
            CopyRange { from, to, .. } => (self.any(from), self.any(to), 0),
            List { dir } => (self.any(dir), none(), 0),
            WriteOpen { handle, .. }
            | ReadOpen { handle, .. }
            | TruncateOpen { handle, .. }
            | SyncOpen { handle }
            | StatOpen { handle }
            | Close { handle } => (none(), none(), handle),
            Unlink { path }
            | Rmdir { path }
            | Write { path, .. }
            | Append { path, .. }
            | Read { path, .. }
            | Truncate { path, .. }
            | Punch { path, .. }
            | Zero { path, .. }
            | Allocate { path, .. }
            | Chmod { path, .. }
            | Chown { path, .. }
            | SetTimes { path, .. }
            | SetXattr { path, .. }
            | GetXattr { path, .. }
            | RemoveXattr { path, .. }
            | Stat { path }
            | ReadLink { path }
            | Open { path } => (self.any(path), none(), 0),
        };
        Concrete { operation: operation.clone(), path, other, handle: handle % self.handles.max(1) }
    }

    /// Follows what succeeded.
    pub fn learn(&mut self, done: &Concrete, outcome: &Outcome) {
        use Operation::*;
        if outcome.is_err() {
            return;
        }
        match done.operation {
            Create { .. } | Mkdir { .. } | Mkfifo { .. } | Symlink { .. } => self.add(&done.path),
            Link { .. } => self.add(&done.other),
            Unlink { .. } | Rmdir { .. } => self.paths.retain(|p| *p != done.path),
            Rename { .. } | RenameOnto { .. } | NoReplace { .. } => self.moved(&done.path, &done.other),
            Open { .. } => self.handles += 1,
            Close { .. } => self.handles -= 1,
            _ => {}
        }
    }

    fn add(&mut self, path: &Path) {
        if !self.paths.iter().any(|p| p == path) {
            self.paths.push(path.to_owned());
        }
    }

    fn moved(&mut self, from: &Path, to: &Path) {
        if from == to {
            return;
        }
        self.paths.retain(|p| p != to);
        for path in &mut self.paths {
            if let Ok(rest) = path.strip_prefix(from) {
                *path = if rest.as_os_str().is_empty() { to.to_owned() } else { to.join(rest) };
            }
        }
    }
}

/// A directory and the handles open in it.
pub struct Side {
    root: PathBuf,
    handles: Vec<File>,
}

fn done<T>(_: T) -> String {
    String::new()
}

fn io<T>(result: std::io::Result<T>) -> Result<T, Errno> {
    result.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))
}

fn described(meta: &Metadata) -> String {
    let size = if meta.is_dir() { 0 } else { meta.len() };
    let nlink = if meta.is_dir() { 0 } else { meta.nlink() };
    format!("{:o} nlink={nlink} {}:{} size={size}", meta.permissions().mode(), meta.uid(), meta.gid())
}

fn read_at(file: &File, offset: u64, len: usize) -> Outcome {
    let mut data = vec![0; len];
    let mut got = 0;
    while got < len {
        match io(file.read_at(&mut data[got..], offset + got as u64))? {
            0 => break,
            n => got += n,
        }
    }
    Ok(format!("{got} bytes {:016x}", digest(&data[..got])))
}

impl Side {
    pub fn new(root: &Path) -> Self {
        Side { root: root.to_owned(), handles: Vec::new() }
    }

    fn at(&self, path: &Path) -> PathBuf {
        if path.as_os_str().is_empty() { self.root.clone() } else { self.root.join(path) }
    }

    fn write_handle(&self, path: &Path, append: bool) -> Result<File, Errno> {
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = OpenOptions::new();
        options.write(!append).append(append).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW);
        io(options.open(self.at(path)))
    }

    fn read_handle(&self, path: &Path) -> Result<File, Errno> {
        use std::os::unix::fs::OpenOptionsExt;
        io(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(self.at(path)))
    }

    /// Runs it.
    pub fn run(&mut self, c: &Concrete) -> Outcome {
        use Operation::*;
        match c.operation {
            Create { .. } | Mkdir { .. } | Mkfifo { .. } | Symlink { .. } | Link { .. } => self.make(c),
            Unlink { .. } | Rmdir { .. } | Rename { .. } | RenameOnto { .. } | NoReplace { .. } | Exchange { .. } => {
                self.names(c)
            }
            Write { .. } | Append { .. } | Read { .. } | Truncate { .. } | CopyRange { .. } => self.content(c),
            Punch { .. } | Zero { .. } | Allocate { .. } => self.allocate(c),
            Chmod { .. } | Chown { .. } | SetTimes { .. } | Stat { .. } | List { .. } | ReadLink { .. } => {
                self.attributes(c)
            }
            SetXattr { .. } | GetXattr { .. } | RemoveXattr { .. } => self.xattrs(c),
            Open { .. } => {
                let path = self.at(&c.path);
                self.handles.push(io(open_both(&path))?);
                Ok(String::new())
            }
            _ if self.handles.is_empty() => Err(Errno::BADF),
            Close { .. } => {
                self.handles.remove(c.handle);
                Ok(String::new())
            }
            _ => self.handle(c),
        }
    }

    fn make(&self, c: &Concrete) -> Outcome {
        use Operation::*;
        let path = self.at(&c.path);
        let node = |kind, mode| rustix::fs::mknodat(CWD, &path, kind, Mode::from_raw_mode(mode), 0);
        match c.operation {
            Create { mode, .. } => node(FileType::RegularFile, mode).map(done),
            Mkfifo { mode, .. } => node(FileType::Fifo, mode).map(done),
            Mkdir { mode, .. } => rustix::fs::mkdir(&path, Mode::from_raw_mode(mode)).map(done),
            Symlink { .. } => {
                let target = if c.other.as_os_str().is_empty() { Path::new("nowhere") } else { &c.other };
                rustix::fs::symlink(target, &path).map(done)
            }
            _ => rustix::fs::link(&path, self.at(&c.other)).map(done),
        }
    }

    fn names(&self, c: &Concrete) -> Outcome {
        use Operation::*;
        let (path, other) = (self.at(&c.path), self.at(&c.other));
        // The root of a case stays where it is: it is a name outside what is compared.
        if c.path.as_os_str().is_empty()
            || (c.other.as_os_str().is_empty() && !matches!(c.operation, Unlink { .. } | Rmdir { .. }))
        {
            return Err(Errno::BUSY);
        }
        let rename = |flags| rustix::fs::renameat_with(CWD, &path, CWD, &other, flags).map(done);
        match c.operation {
            Unlink { .. } => rustix::fs::unlink(&path).map(done),
            Rmdir { .. } => rustix::fs::rmdir(&path).map(done),
            NoReplace { .. } => rename(RenameFlags::NOREPLACE),
            Exchange { .. } => rename(RenameFlags::EXCHANGE),
            _ => rename(RenameFlags::empty()),
        }
    }

    fn content(&self, c: &Concrete) -> Outcome {
        use Operation::*;
        match c.operation {
            Write { offset, len, seed, .. } => {
                io(self.write_handle(&c.path, false)?.write_all_at(&random(seed, len), offset)).map(done)
            }
            Append { len, seed, .. } => {
                use std::io::Write;
                io(self.write_handle(&c.path, true)?.write_all(&random(seed, len))).map(done)
            }
            Read { offset, len, .. } => read_at(&self.read_handle(&c.path)?, offset, len),
            Truncate { size, .. } => io(self.write_handle(&c.path, false)?.set_len(size)).map(done),
            CopyRange { from_offset, to_offset, len, .. } => {
                let (from, to) = (self.read_handle(&c.path)?, self.write_handle(&c.other, false)?);
                copy(&from, &to, from_offset, to_offset, len)
            }
            _ => unreachable!("not a content operation"),
        }
    }

    fn allocate(&self, c: &Concrete) -> Outcome {
        use Operation::*;
        let file = self.write_handle(&c.path, false)?;
        let (flags, offset, len) = match c.operation {
            Punch { offset, len, .. } => (FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len),
            Zero { offset, len, .. } => (FallocateFlags::ZERO_RANGE, offset, len),
            Allocate { offset, len, keep: true, .. } => (FallocateFlags::KEEP_SIZE, offset, len),
            Allocate { offset, len, .. } => (FallocateFlags::empty(), offset, len),
            _ => unreachable!("not an allocation"),
        };
        rustix::fs::fallocate(&file, flags, offset, len).map(done)
    }

    fn attributes(&self, c: &Concrete) -> Outcome {
        use Operation::*;
        let path = self.at(&c.path);
        match c.operation {
            Chmod { mode, .. } => rustix::fs::chmod(&path, Mode::from_raw_mode(mode)).map(done),
            Chown { uid, gid, .. } => io(std::os::unix::fs::lchown(&path, Some(uid), Some(gid))).map(done),
            SetTimes { atime, mtime, .. } => set_times(&path, atime, mtime),
            Stat { .. } => io(std::fs::symlink_metadata(&path)).map(|m| described(&m)),
            List { .. } => {
                let mut names: Vec<OsString> = io(std::fs::read_dir(&path))?.map(|e| e.unwrap().file_name()).collect();
                names.sort();
                Ok(format!("{names:?}"))
            }
            _ => rustix::fs::readlink(&path, Vec::new()).map(|t| String::from_utf8_lossy(&t.into_bytes()).into_owned()),
        }
    }

    fn xattrs(&self, c: &Concrete) -> Outcome {
        use Operation::*;
        let path = self.at(&c.path);
        match c.operation {
            SetXattr { name, len, how, .. } => {
                let flags = [XattrFlags::CREATE, XattrFlags::REPLACE]
                    .get(usize::from(how))
                    .copied()
                    .unwrap_or(XattrFlags::empty());
                rustix::fs::lsetxattr(&path, format!("user.{name}"), &random(len as u64, len), flags).map(done)
            }
            GetXattr { name, .. } => {
                let mut space = vec![0; 4096];
                let len = rustix::fs::lgetxattr(&path, format!("user.{name}"), &mut space[..])?;
                Ok(format!("{len} {:016x}", digest(&space[..len])))
            }
            RemoveXattr { name, .. } => rustix::fs::lremovexattr(&path, format!("user.{name}")).map(done),
            _ => unreachable!("not an attribute operation"),
        }
    }

    fn handle(&self, c: &Concrete) -> Outcome {
        use Operation::*;
        let file = &self.handles[c.handle];
        match c.operation {
            WriteOpen { offset, len, seed, .. } => io(file.write_all_at(&random(seed, len), offset)).map(done),
            ReadOpen { offset, len, .. } => read_at(file, offset, len),
            TruncateOpen { size, .. } => io(file.set_len(size)).map(done),
            SyncOpen { .. } => io(file.sync_all()).map(done),
            _ => io(file.metadata()).map(|m| described(&m)),
        }
    }
}

fn open_both(path: &Path) -> std::io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(Errno::NXIO.into()) }
}

fn set_times(path: &Path, atime: (i64, u32), mtime: (i64, u32)) -> Outcome {
    let spec = |(tv_sec, nanos): (i64, u32)| Timespec { tv_sec, tv_nsec: i64::from(nanos) };
    let times = Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
    let meta = io(std::fs::symlink_metadata(path))?;
    Ok(format!("{}.{} {}.{}", meta.atime(), meta.atime_nsec(), meta.mtime(), meta.mtime_nsec()))
}

fn copy(from: &File, to: &File, mut at: u64, mut into: u64, len: usize) -> Outcome {
    let mut left = len;
    while left > 0 {
        match rustix::fs::copy_file_range(from, Some(&mut at), to, Some(&mut into), left)? {
            0 => break,
            n => left -= n,
        }
    }
    Ok(format!("{} copied", len - left))
}
