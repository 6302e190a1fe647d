//! Where the bytes of an index are: a file of this device's, or memory for who has no place for one.
//!
//! A cache: nothing is synced. Must never touch a file that has taken the name of this one.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
#[cfg(test)]
use std::sync::atomic::{AtomicU64, Ordering};

use crate::base::{Context, Error, Kind, Result};

/// See the module.
#[derive(Debug)]
pub struct Records {
    place: Place,
    /// Bytes that count; what a file holds behind them does not.
    len: u64,
    /// How often it was read.
    #[cfg(test)]
    pub reads: AtomicU64,
}

#[derive(Debug)]
enum Place {
    Memory(Vec<u8>),
    File(File, PathBuf),
}

fn lost(path: &Path) -> Error {
    Error::new(Kind::Stale, "write the index of a store", path.display().to_string())
        .with_source("another file has its name")
}

impl Records {
    fn new(place: Place, len: u64) -> Self {
        Self {
            place,
            len,
            #[cfg(test)]
            reads: AtomicU64::new(0),
        }
    }

    /// In memory.
    pub fn memory(bytes: Vec<u8>) -> Self {
        let len = bytes.len() as u64;
        Self::new(Place::Memory(bytes), len)
    }

    /// In the file at `path`, which is made if it is not there.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = open.io("open the index of a store", shown)?;
        let len = file.metadata().io("open the index of a store", shown)?.len();
        Ok(Self::new(Place::File(file, path.to_owned()), len))
    }

    /// Bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fill `out` from `at`. [`Kind::Corrupt`] if there is less.
    pub fn read(&self, at: u64, out: &mut [u8]) -> Result<()> {
        #[cfg(test)]
        self.reads.fetch_add(1, Ordering::Relaxed);
        let short = |path: String| Error::new(Kind::Corrupt, "read the index of a store", path);
        match &self.place {
            Place::Memory(bytes) => {
                let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..at.checked_add(out.len())?));
                out.copy_from_slice(from.ok_or_else(|| short(String::new()))?);
                Ok(())
            }
            Place::File(file, path) => match file.read_exact_at(out, at) {
                Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => Err(short(path.display().to_string())),
                other => other.io("read the index of a store", || path.display().to_string()),
            },
        }
    }

    /// Add `bytes` at the end; nothing is added when that fails.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        match &mut self.place {
            Place::Memory(all) => all.extend_from_slice(bytes),
            Place::File(file, path) => {
                let written = file.write_all_at(bytes, self.len);
                if written.is_err() {
                    let _ = file.set_len(self.len); // else what follows is cut off when it is opened again
                }
                written.io("write the index of a store", || path.display().to_string())?;
            }
        }
        self.len += bytes.len() as u64;
        Ok(())
    }

    /// Forget what is behind `len`.
    pub fn cut(&mut self, len: u64) -> Result<()> {
        match &mut self.place {
            Place::Memory(all) => all.truncate(usize::try_from(len).unwrap_or(usize::MAX)),
            Place::File(file, path) => {
                file.set_len(len).io("write the index of a store", || path.display().to_string())?;
            }
        }
        self.len = len;
        Ok(())
    }

    /// An empty one that may take this one's place.
    pub fn draft(&self) -> Result<Self> {
        match &self.place {
            Place::Memory(_) => Ok(Self::memory(Vec::new())),
            Place::File(_, path) => {
                let path = path.with_extension("draft");
                match fs::remove_file(&path) {
                    Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e),
                    _ => Ok(()),
                }
                .io("write the index of a store", || path.display().to_string())?;
                Self::open(&path)
            }
        }
    }

    /// Let a `draft` take this one's place. Without success the draft is gone, and this one as it was.
    pub fn replace(&mut self, draft: Self) -> Result<()> {
        if let (Place::File(file, path), Place::File(_, from)) = (&self.place, &draft.place) {
            let moved = if is_at(file, path) {
                fs::rename(from, path).io("write the index of a store", || path.display().to_string())
            } else {
                Err(lost(path))
            };
            if moved.is_err() {
                let _ = fs::remove_file(from); // the error is what matters
                return moved;
            }
        }
        let place = match (&self.place, draft.place) {
            (Place::File(_, path), Place::File(file, _)) => Place::File(file, path.clone()),
            (_, place) => place,
        };
        (self.place, self.len) = (place, draft.len);
        Ok(())
    }

    /// The draft is not wanted.
    pub fn discard(self) {
        if let Place::File(_, path) = &self.place {
            let _ = fs::remove_file(path); // the next draft takes its place
        }
    }
}

/// Whether `path` still names this file: its store may have been removed, and another one added under its name.
fn is_at(file: &File, path: &Path) -> bool {
    let who = |data: &fs::Metadata| (data.dev(), data.ino());
    matches!((file.metadata(), fs::metadata(path)), (Ok(ours), Ok(there)) if who(&ours) == who(&there))
}
