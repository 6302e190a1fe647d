//! From a location like `file:/mnt/stick` to the store it names: one arm per backend.
//!
//! Must never guess: an unknown scheme is an error, not a path.

use std::path::Path;
use std::sync::Arc;

use super::arena::Options;
use super::object::Place;
use super::{ArenaKv, FileKv, Kv, MemoryKv, SledKv, SqliteKv};
use crate::base::{Error, Kind, Result};

/// What a location names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Location<'a> {
    /// `memory:`
    Memory,
    /// `arena:DIR`
    Arena(&'a Path),
    /// `file:DIR`
    File(&'a Path),
    /// `sled:DIR`
    Sled(&'a Path),
    /// `sqlite:FILE`
    Sqlite(&'a Path),
    /// `s3://...`, `sftp://...`, `webdav://...`, `webdavs://...`
    Service(Place<'a>),
}

impl<'a> Location<'a> {
    /// The file or folder that it names on this machine.
    pub fn path(&self) -> Option<&'a Path> {
        match self {
            Self::Arena(path) | Self::File(path) | Self::Sled(path) | Self::Sqlite(path) => Some(path),
            Self::Memory | Self::Service(_) => None,
        }
    }

    /// The location as a link may carry it to another device, if it may: not with this one's secrets or options.
    pub fn for_others(&self, whole: &str) -> Option<String> {
        match self {
            Self::File(_) | Self::Sqlite(_) => Some(whole.to_owned()),
            Self::Service(place) => place.for_others(),
            Self::Memory | Self::Arena(_) | Self::Sled(_) => None,
        }
    }

    /// Read a location; nothing is opened. [`Kind::Invalid`] for anything else.
    pub fn parse(location: &'a str) -> Result<Self> {
        let invalid = || Error::new(Kind::Invalid, "understand location", location);
        let (scheme, rest) = location.split_once(':').ok_or_else(invalid)?;
        let dir = || if rest.is_empty() { Err(invalid()) } else { Ok(Path::new(rest)) };
        match scheme {
            "memory" if rest.is_empty() => Ok(Self::Memory),
            "arena" => dir().map(Self::Arena),
            "file" => dir().map(Self::File),
            "sled" => dir().map(Self::Sled),
            "sqlite" => dir().map(Self::Sqlite),
            "s3" | "sftp" | "webdav" | "webdavs" => Place::parse(location, scheme, rest).map(Self::Service),
            _ => Err(invalid()),
        }
    }
}

/// Open the store at `location`. A service is not contacted yet.
///
/// [`Kind::Invalid`] for anything else; otherwise whatever opening gives.
pub fn open(location: &str) -> Result<Arc<dyn Kv>> {
    open_with(location, None)
}

/// The same; what is known of a service is kept in the file `cache` for the next time.
pub fn open_with(location: &str, cache: Option<&Path>) -> Result<Arc<dyn Kv>> {
    Ok(match Location::parse(location)? {
        Location::Memory => Arc::new(MemoryKv::default()),
        Location::Arena(dir) => Arc::new(ArenaKv::open(dir, Options::default())?),
        Location::File(dir) => Arc::new(FileKv::open(dir)?),
        Location::Sled(dir) => Arc::new(SledKv::open(dir)?),
        Location::Sqlite(file) => Arc::new(SqliteKv::open(file)?),
        Location::Service(place) => Arc::new(place.open(cache)?),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_incomplete_locations_are_refused() {
        for bad in ["", "x", "/tmp/x", "nfs:/x", "file:", "arena:", "memory:x", "sqlite:", "s3:bucket"] {
            assert_eq!(open(bad).err().map(|e| e.kind()), Some(Kind::Invalid), "{bad}");
        }
        assert_eq!(open("memory:").unwrap().name(), "memory:");
    }
}
