//! From a location like `file:/mnt/stick` to the store it names: one arm per backend.
//!
//! Must never guess: an unknown scheme is an error, not a path.

use std::path::Path;
use std::sync::Arc;

use super::arena::Options;
use super::{ArenaKv, FileKv, Kv, MemoryKv, SledKv};
use crate::base::{Error, Kind, Result};

/// Open the store at `location`: `memory:`, `arena:DIR`, `file:DIR` or `sled:DIR`.
///
/// [`Kind::Invalid`] for anything else; otherwise whatever opening gives.
pub fn open(location: &str) -> Result<Arc<dyn Kv>> {
    let invalid = || Error::new(Kind::Invalid, "understand location", location);
    let (scheme, rest) = location.split_once(':').ok_or_else(invalid)?;
    let dir = || if rest.is_empty() { Err(invalid()) } else { Ok(Path::new(rest)) };
    Ok(match scheme {
        "memory" if rest.is_empty() => Arc::new(MemoryKv::default()),
        "arena" => Arc::new(ArenaKv::open(dir()?, Options::default())?),
        "file" => Arc::new(FileKv::open(dir()?)?),
        "sled" => Arc::new(SledKv::open(dir()?)?),
        _ => return Err(invalid()),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn unknown_and_incomplete_locations_are_refused() {
        for bad in ["", "x", "/tmp/x", "nfs:/x", "file:", "arena:", "memory:x"] {
            assert_eq!(open(bad).err().map(|e| e.kind()), Some(Kind::Invalid), "{bad}");
        }
        assert_eq!(open("memory:").unwrap().name(), "memory:");
    }
}
