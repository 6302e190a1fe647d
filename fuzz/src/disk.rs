//! A disk in memory, as plain as can be: what the log's port asks for, without faults.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use lovage::kv::arena::{Disk, DiskFile, Mapping};

/// No file grows beyond this: a target that asks for more is refused as on a full disk.
const LARGEST: u64 = 8 << 20;

type Shared = Arc<Mutex<Vec<u8>>>;

/// Files by name.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<String, Shared>>>);

/// One file.
struct File(Shared);

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn full() -> io::Error {
    io::Error::from(io::ErrorKind::StorageFull)
}

impl Memory {
    /// Put a file there.
    pub fn insert(&self, name: &str, bytes: Vec<u8>) {
        locked(&self.0).insert(name.to_owned(), Arc::new(Mutex::new(bytes)));
    }

    fn get(&self, name: &str) -> io::Result<Shared> {
        locked(&self.0).get(name).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Disk for Memory {
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(File(self.get(name)?)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut files = locked(&self.0);
        if files.contains_key(name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let file = Shared::default();
        files.insert(name.to_owned(), file.clone());
        Ok(Arc::new(File(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let file = self.get(from)?;
        let mut files = locked(&self.0);
        files.remove(from);
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        locked(&self.0).remove(name).map(drop).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(locked(&self.0).keys().cloned().collect())
    }

    fn map(&self, name: &str) -> io::Result<Mapping> {
        Ok(Box::new(locked(&*self.get(name)?).clone()))
    }
}

impl DiskFile for File {
    fn len(&self) -> io::Result<u64> {
        Ok(locked(&self.0).len() as u64)
    }

    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        let bytes = locked(&self.0);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let n = out.len().min(bytes.len() - from);
        out[..n].copy_from_slice(&bytes[from..from + n]);
        Ok(n)
    }

    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()> {
        let mut bytes = locked(&self.0);
        let mut at = usize::try_from(offset).map_err(|_| full())?;
        for part in parts {
            let end = at.checked_add(part.len()).filter(|end| *end as u64 <= LARGEST).ok_or_else(full)?;
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[at..end].copy_from_slice(part);
            at = end;
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn start_writeback(&self, _: u64, _: u64) {}

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        let end = offset.checked_add(len).filter(|end| *end <= LARGEST).ok_or_else(full)?;
        let mut bytes = locked(&self.0);
        let wanted = usize::try_from(end).unwrap_or(0).max(bytes.len());
        bytes.resize(wanted, 0);
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<()> {
        let mut bytes = locked(&self.0);
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let to = usize::try_from(offset.saturating_add(len)).unwrap_or(usize::MAX).min(bytes.len());
        bytes[from..to].fill(0);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        if len > LARGEST {
            return Err(full());
        }
        locked(&self.0).resize(usize::try_from(len).unwrap_or(0), 0);
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }
}
