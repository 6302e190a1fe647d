//! The operating system's disk: a directory, held by an exclusive lock while in use.
//!
//! Must never share its directory with a second process: the lock file refuses it with `Busy`.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustix::fs::{FallocateFlags, FlockOperation};

use super::couriers::Couriers;
use super::disk::{Disk, DiskFile, Mapping};
use crate::base::{Context, Error, Kind, Result};

const LOCK: &str = "lock";
const PAGE: u64 = 4096;
/// Reads of this many bytes go past the page cache: the plain content is cached above, and the kernel's
/// readahead would fetch as much again that nobody asked for.
const LARGE: usize = 48 << 10;
/// Longer reads than this, in bytes, take the ordinary way.
const MOST: usize = 640 << 10;

thread_local! {
    /// Page-aligned memory of this thread for reads past the page cache.
    static PAGES: RefCell<Option<memmap2::MmapMut>> = const { RefCell::new(None) };
}

/// A directory of the machine. Dropping it releases the lock.
pub struct RealDisk {
    dir: PathBuf,
    handle: File,
    couriers: Arc<Couriers>,
    _lock: File,
}

impl Drop for RealDisk {
    /// Nothing is written any more once the lock is gone.
    fn drop(&mut self) {
        self.couriers.finish();
    }
}

impl RealDisk {
    /// Open `dir`, creating it (mode 0700) if absent, and lock it.
    ///
    /// [`Kind::Busy`] when another process, or another value in this one, holds it.
    pub fn open(dir: &Path) -> Result<Self> {
        let subject = || dir.display().to_string();
        create_dir(dir).io("create directory", subject)?;
        let handle = File::open(dir).io("open directory", subject)?;
        let lock = private()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(dir.join(LOCK))
            .io("open lock", subject)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|e| Error::new(Kind::Busy, "lock directory", subject()).with_source(io::Error::from(e)))?;
        Ok(Self { dir: dir.to_owned(), handle, couriers: Arc::default(), _lock: lock })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

fn create_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    dir.parent().filter(|p| !p.as_os_str().is_empty()).map_or(Ok(()), |p| File::open(p)?.sync_all())
}

impl Disk for RealDisk {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        RealFile::open(private().read(true).write(true), self.dir.join(name))
    }

    /// Not in a directory that took the place of a removed one: it would hold a log without its beginning.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.handle.metadata()?.nlink() == 0 {
            return Err(io::Error::other(format!("{} was removed", self.dir.display())));
        }
        RealFile::open(private().read(true).write(true).create_new(true), self.dir.join(name))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.dir.join(from), self.dir.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.dir.join(name))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn map(&self, name: &str) -> io::Result<Mapping> {
        let file = File::open(self.dir.join(name))?;
        // SAFETY: the directory is locked and private to us; index files are written once under
        // another name, renamed into place and never changed or truncated afterwards.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Box::new(map))
    }

    fn couriers(&self) -> Option<Arc<Couriers>> {
        Some(self.couriers.clone())
    }
}

struct RealFile {
    file: File,
    path: PathBuf,
    /// The same file past the page cache, opened when first needed; `None` where that is not possible.
    direct: OnceLock<Option<File>>,
}

impl RealFile {
    fn open(options: &OpenOptions, path: PathBuf) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Self { file: options.open(&path)?, path, direct: OnceLock::new() }))
    }

    /// Both parts from the disk itself; `None` where that is not possible. Anything unexpected is left to the
    /// ordinary way.
    fn read_past_cache(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> Option<usize> {
        let direct = self.direct()?;
        let skip = usize::try_from(offset % PAGE).ok()?;
        let want = skip + head.len() + body.len();
        let len = want.next_multiple_of(usize::try_from(PAGE).ok()?);
        PAGES.with_borrow_mut(|pages| {
            if pages.as_ref().is_none_or(|p| p.len() < len) {
                *pages = (len <= MOST).then(|| memmap2::MmapMut::map_anon(MOST)).and_then(io::Result::ok);
            }
            let pages = pages.as_mut().and_then(|p| p.get_mut(..len))?;
            let n = direct.read_at(pages, offset - offset % PAGE).ok()?;
            let (first, rest) = pages.get(skip..want.min(n)).filter(|_| n >= want)?.split_at_checked(head.len())?;
            head.copy_from_slice(first);
            body.copy_from_slice(rest);
            Some(head.len() + body.len())
        })
    }

    fn direct(&self) -> Option<&File> {
        let open = || OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(&self.path).ok();
        self.direct.get_or_init(open).as_ref()
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = out.get_mut(done..).filter(|r| !r.is_empty()) {
            match self.file.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(done)
    }

    fn read_two(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<usize> {
        let whole = head.len() + body.len();
        if whole >= LARGE
            && let Some(n) = self.read_past_cache(head, body, offset)
        {
            return Ok(n);
        }
        match rustix::io::preadv(&self.file, &mut [IoSliceMut::new(head), IoSliceMut::new(body)], offset) {
            Ok(n) if n == whole => Ok(n),
            // Short or interrupted: once more, piece by piece.
            _ => Ok(self.read_at(head, offset)? + self.read_at(body, offset + head.len() as u64)?),
        }
    }

    fn read_once(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        match self.read_past_cache(&mut [], out, offset) {
            Some(n) => Ok(n),
            None => self.read_at(out, offset),
        }
    }

    fn write_at(&self, parts: &[&[u8]], mut offset: u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|p| IoSlice::new(p)).collect();
        let mut rest = &mut slices[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            match rustix::io::pwritev(&self.file, rest, offset) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    offset += n as u64;
                    IoSlice::advance_slices(&mut rest, n);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn write_pages(&self, pages: &[u8], offset: u64) -> io::Result<()> {
        match self.direct().map(|direct| direct.write_all_at(pages, offset)) {
            Some(Err(e)) if e.raw_os_error() == Some(libc::EINVAL) => self.write_at(&[pages], offset),
            Some(result) => result,
            None => self.write_at(&[pages], offset),
        }
    }

    /// A file without a name is gone when it is closed, however well it was synced.
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        if self.file.metadata()?.nlink() == 0 {
            return Err(io::Error::other(format!("{} was removed", self.path.display())));
        }
        Ok(())
    }

    fn start_writeback(&self, offset: u64, len: u64) {
        let (Ok(offset), Ok(len)) = (i64::try_from(offset), i64::try_from(len)) else { return };
        // SAFETY: a plain system call on a descriptor we own; it touches no memory of ours.
        unsafe { libc::sync_file_range(self.file.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, len) {
            // A filesystem that cannot reserve gets the length only; running out then shows at the write.
            Err(rustix::io::Errno::OPNOTSUPP) => self.truncate(offset + len),
            other => Ok(other?),
        }
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        Ok(rustix::fs::fallocate(&self.file, flags, offset, len)?)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn allocated(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.blocks() * 512)
    }
}
