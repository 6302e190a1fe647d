//! Mutable heads as files of one folder, for backends on a filesystem.
//!
//! Replaced by writing a new file, syncing it, renaming it into place and syncing the folder; a lock
//! file makes the condition hold between processes. Must never leave half a head under its name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use rustix::fs::FlockOperation;

use super::{Expect, check_head_name};
use crate::base::{Context, Error, Kind, Result};

/// A folder of heads. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Heads {
    dir: PathBuf,
}

impl Heads {
    /// Use `dir`, creating it if absent.
    pub fn open(dir: PathBuf) -> Result<Self> {
        create_dirs(&dir).io("create folder", || dir.display().to_string())?;
        Ok(Self { dir })
    }

    /// See [`super::Kv::get_head`].
    pub fn get(&self, name: &str) -> Result<Option<Bytes>> {
        check_head_name(name)?;
        read_if_there(&self.dir.join(name), LARGEST).io("read head", || name.to_owned())
    }

    /// See [`super::Kv::put_head`].
    pub fn put(&self, name: &str, value: &[u8], expect: Expect) -> Result<()> {
        let _lock = self.lock()?;
        expect.check(name, self.get(name)?.as_deref())?;
        let draft = write_draft(&self.dir, value).io("write head", || name.to_owned())?;
        fs::rename(&draft, self.dir.join(name)).io("replace head", || name.to_owned())?;
        sync_dir(&self.dir).io("sync folder", || self.dir.display().to_string())
    }

    /// See [`super::Kv::delete_head`].
    pub fn delete(&self, name: &str) -> Result<()> {
        check_head_name(name)?;
        let _lock = self.lock()?;
        remove_if_there(&self.dir.join(name)).io("remove head", || name.to_owned())?;
        sync_dir(&self.dir).io("sync folder", || self.dir.display().to_string())
    }

    /// See [`super::Kv::list_heads`].
    pub fn list(&self) -> Result<Vec<String>> {
        let mut names = list_names(&self.dir).io("list heads", || self.dir.display().to_string())?;
        names.retain(|n| check_head_name(n).is_ok());
        names.sort_unstable();
        Ok(names)
    }

    fn lock(&self) -> Result<File> {
        let subject = || self.dir.display().to_string();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.dir.join(".lock"))
            .io("open lock", subject)?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(|e| Error::new(Kind::Busy, "lock heads", subject()).with_source(io::Error::from(e)))?;
        Ok(file)
    }
}

/// Create `dir` and its missing parents, each made durable in its parent.
pub fn create_dirs(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_dirs(parent)?;
    match fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => sync_dir(parent),
    }
}

/// Make a folder's entries durable.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Write `bytes` durably to a new file with a name nobody else uses.
pub fn write_draft(dir: &Path, bytes: &[u8]) -> io::Result<PathBuf> {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let serial = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = dir.join(format!(".draft-{}-{serial}", std::process::id()));
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()
    });
    match written {
        Ok(()) => Ok(path),
        Err(e) => {
            // The draft is of no use; the write error is what matters.
            let _ = fs::remove_file(&path);
            Err(e)
        }
    }
}

/// Largest file believed to be a head, in bytes.
const LARGEST: usize = 4 << 20;

/// A file's bytes, `None` if there is no such file. No more than one byte beyond `most` is read: whoever asks sees that
/// such a file is none of ours.
pub fn read_if_there(path: &Path, most: usize) -> io::Result<Option<Bytes>> {
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut bytes = Vec::with_capacity(usize::try_from(file.metadata()?.len()).unwrap_or(most).min(most) + 1);
    file.take(most as u64 + 1).read_to_end(&mut bytes)?;
    Ok(Some(bytes.into()))
}

/// Remove a file unless it is absent.
pub fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Names in a folder; none if it does not exist.
pub fn list_names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    entries.filter_map(|entry| entry.map(|e| e.file_name().into_string().ok()).transpose()).collect()
}
