//! A small ordered map on disk for local state that can be rebuilt or learnt again.
//!
//! A thin door to sled 0.34, the only one: small cache, explicit flush followed by a sync of the
//! database file (sled's own flush does not survive a power cut), and a damaged folder is moved
//! aside and started empty. Must never hold the only copy of anything a user cares about.

use std::fs::File;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::base::{Context, Error, Kind, Result};

const CACHE: u64 = 8 << 20;

/// An ordered map from byte strings to byte strings. Cheap to share by reference; all methods may be
/// called from many threads. Changes are durable after [`Map::flush`].
#[derive(Debug)]
pub struct Map {
    db: sled::Db,
    /// sled's data file, to be synced by ourselves.
    file: Option<File>,
    path: PathBuf,
    fresh: bool,
}

impl Map {
    /// Open the map in folder `path`, creating it if absent. A folder that does not open is renamed
    /// to `<path>.damaged` (replacing an earlier one) and an empty map takes its place.
    ///
    /// [`Kind::Busy`] when another process has it open.
    pub fn open(path: &Path) -> Result<Self> {
        match Self::attempt(path) {
            Err(e) if !matches!(e.kind(), Kind::Busy | Kind::Full | Kind::Denied) => {
                move_aside(path)?;
                let mut map = Self::attempt(path)?;
                map.fresh = true;
                Ok(map)
            }
            other => other,
        }
    }

    /// Open without moving anything aside: for a store that may be the only home of its data.
    pub(super) fn open_as_is(path: &Path) -> Result<Self> {
        Self::attempt(path)
    }

    fn attempt(path: &Path) -> Result<Self> {
        let config = sled::Config::new().path(path).cache_capacity(CACHE).flush_every_ms(None);
        // sled panics on some damage: that too means "does not open".
        let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| config.open()))
            .map_err(|_| Error::new(Kind::Corrupt, "open map", path.display().to_string()))?;
        let db = opened.map_err(|e| foreign("open map", path, e))?;
        let file = match File::open(path.join("db")) {
            Ok(file) => Some(file),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(Error::io("open map file", path.display().to_string(), e)),
        };
        let fresh = !db.was_recovered();
        Ok(Self { db, file, path: path.to_owned(), fresh })
    }

    /// Whether the map started empty: new, lost, or moved aside because it was damaged.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The value under `key`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let value = self.db.get(key).map_err(|e| self.error("read map", e))?;
        Ok(value.map(|v| Bytes::copy_from_slice(&v)))
    }

    /// Set `key` to `value`.
    pub fn insert(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.db.insert(key, value).map(drop).map_err(|e| self.error("write map", e))
    }

    /// Remove `key`.
    pub fn remove(&self, key: &[u8]) -> Result<()> {
        self.db.remove(key).map(drop).map_err(|e| self.error("write map", e))
    }

    /// Apply many changes as one: `None` removes.
    pub fn batch<'a>(&self, changes: impl IntoIterator<Item = (&'a [u8], Option<&'a [u8]>)>) -> Result<()> {
        let mut batch = sled::Batch::default();
        for (key, value) in changes {
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        }
        self.db.apply_batch(batch).map_err(|e| self.error("write map", e))
    }

    /// All pairs whose key starts with `prefix`, in key order.
    pub fn scan_prefix(&self, prefix: &[u8]) -> impl Iterator<Item = Result<(Bytes, Bytes)>> + '_ {
        self.db.scan_prefix(prefix).map(|pair| self.pair(pair))
    }

    /// All pairs with keys from `start` (inclusive) on, in key order.
    pub fn scan_from(&self, start: &[u8]) -> impl Iterator<Item = Result<(Bytes, Bytes)>> + '_ {
        self.db.range(start.to_vec()..).map(|pair| self.pair(pair))
    }

    fn pair(&self, pair: sled::Result<(sled::IVec, sled::IVec)>) -> Result<(Bytes, Bytes)> {
        let (key, value) = pair.map_err(|e| self.error("scan map", e))?;
        Ok((Bytes::copy_from_slice(&key), Bytes::copy_from_slice(&value)))
    }

    /// Remove everything.
    pub fn clear(&self) -> Result<()> {
        self.db.clear().map_err(|e| self.error("clear map", e))
    }

    /// Make all changes durable.
    pub fn flush(&self) -> Result<()> {
        self.db.flush().map_err(|e| self.error("flush map", e))?;
        self.file.as_ref().map_or(Ok(()), File::sync_data).io("sync map", || self.path.display().to_string())
    }

    fn error(&self, operation: &'static str, e: sled::Error) -> Error {
        foreign(operation, &self.path, e)
    }
}

fn move_aside(path: &Path) -> Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    let subject = || path.display().to_string();
    if aside.exists() {
        std::fs::remove_dir_all(&aside).io("remove damaged map", subject)?;
    }
    std::fs::rename(path, &aside).io("move damaged map aside", subject)
}

fn foreign(operation: &'static str, path: &Path, e: sled::Error) -> Error {
    let subject = path.display().to_string();
    match e {
        // sled wraps the refused lock in a plain error of this text.
        sled::Error::Io(e) if e.to_string().contains("could not acquire lock") => {
            Error::new(Kind::Busy, operation, subject).with_source(e)
        }
        sled::Error::Io(e) => Error::io(operation, subject, e),
        sled::Error::Corruption { .. } => Error::new(Kind::Corrupt, operation, subject).with_source(e),
        other => Error::new(Kind::Other, operation, subject).with_source(other),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_is_there_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map");
        let map = Map::open(&path).unwrap();
        assert!(map.is_fresh());
        map.insert(b"a1", b"x").unwrap();
        map.batch([(&b"a2"[..], Some(&b"y"[..])), (b"b", Some(b"z")), (b"a1", None)]).unwrap();
        map.flush().unwrap();
        drop(map);
        let map = Map::open(&path).unwrap();
        assert!(!map.is_fresh());
        assert_eq!(map.get(b"a1").unwrap(), None);
        let pairs: Vec<_> = map.scan_prefix(b"a").collect::<Result<_>>().unwrap();
        assert_eq!(pairs, [(Bytes::from_static(b"a2"), Bytes::from_static(b"y"))]);
        assert_eq!(map.scan_from(b"a2").count(), 2);
        map.clear().unwrap();
        assert_eq!(map.scan_from(b"").count(), 0);
    }

    #[test]
    fn a_damaged_folder_is_moved_aside_and_an_empty_map_takes_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map");
        drop(Map::open(&path).unwrap());
        std::fs::remove_file(path.join("db")).unwrap();
        std::fs::create_dir(path.join("db")).unwrap();
        let map = Map::open(&path).unwrap();
        assert!(map.is_fresh());
        map.insert(b"k", b"v").unwrap();
        assert!(dir.path().join("map.damaged").is_dir());
    }

    #[test]
    fn a_second_opener_is_told_busy_and_nothing_is_moved() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("map");
        let _map = Map::open(&path).unwrap();
        assert_eq!(Map::open(&path).unwrap_err().kind(), Kind::Busy);
        assert!(path.is_dir());
    }
}
