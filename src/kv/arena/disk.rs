//! The port to the disk under the log: a handful of operations on named files of one directory.
//!
//! Everything the log does to storage goes through here, so that tests can lose, tear, reorder and
//! fail each single call. Must never retry a failed sync; what gathers writes is `staged`, above this port.

use std::io;
use std::ops::Deref;
use std::sync::Arc;

use super::couriers::Couriers;

/// Read-only bytes of a whole file, mapped or copied.
pub type Mapping = Box<dyn Deref<Target = [u8]> + Send + Sync>;

/// One directory of files.
///
/// Directory changes (create, rename, remove) are durable only after [`Disk::sync_dir`].
pub trait Disk: Send + Sync {
    /// Open an existing file for reading and writing.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Create a new empty file; `AlreadyExists` when there is one.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Atomically replace `to` by `from`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Remove a file.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Make directory changes durable.
    fn sync_dir(&self) -> io::Result<()>;
    /// Names of all files, in no order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// The whole content of a file, read-only. The file must not be changed while mapped.
    fn map(&self, name: &str) -> io::Result<Mapping>;
    /// Who writes large pieces of its files while others go on; nobody: whoever has them to write.
    fn couriers(&self) -> Option<Arc<Couriers>> {
        None
    }
}

/// One open file. All methods may be called from many threads at once.
pub trait DiskFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fill `out` from `offset`; returns less than asked only at the end of the file.
    fn read_at(&self, out: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Fill `head` and then `body` from `offset`, if possible in one go.
    fn read_two(&self, head: &mut [u8], body: &mut [u8], offset: u64) -> io::Result<usize> {
        let n = self.read_at(head, offset)?;
        Ok(n + self.read_at(body, offset + n as u64)?)
    }
    /// As [`DiskFile::read_at`], for bytes that will hardly be read again: may go past the page cache.
    fn read_once(&self, out: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(out, offset)
    }
    /// Write all `parts` one after another at `offset`, extending the file where needed.
    fn write_at(&self, parts: &[&[u8]], offset: u64) -> io::Result<()>;
    /// Write whole pages from page-aligned memory at a page boundary; may go past the page cache.
    fn write_pages(&self, pages: &[u8], offset: u64) -> io::Result<()> {
        self.write_at(&[pages], offset)
    }
    /// Make the content, and the metadata needed to read it, durable.
    fn sync_data(&self) -> io::Result<()>;
    /// Start writing a range back without waiting. A hint: promises nothing, reports nothing.
    fn start_writeback(&self, offset: u64, len: u64);
    /// Reserve space so that writing the range cannot run out of it; extends the length.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Give the space of a range back; it reads as zeros afterwards. The length stays.
    fn punch(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Cut or extend (with zeros) to `len`.
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// Bytes of storage the file occupies.
    fn allocated(&self) -> io::Result<u64>;
    /// Nothing will be written for a while: give memory back. A hint.
    fn rest(&self) {}
}
