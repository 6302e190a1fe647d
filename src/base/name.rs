//! File names and symlink targets, checked once on the way in.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Error, Kind, Result, limits};

/// A name in a directory: 1 to 255 bytes, no `/` or NUL, neither `.` nor `..`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct Name(Arc<[u8]>);

impl Name {
    /// Check and take a name. [`Kind::NameTooLong`] beyond 255 bytes, [`Kind::Invalid`] otherwise.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > limits::MAX_NAME {
            return Err(Error::new(Kind::NameTooLong, "use name", String::from_utf8_lossy(bytes)));
        }
        if bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.iter().any(|b| matches!(b, 0 | b'/')) {
            return Err(Error::new(Kind::Invalid, "use name", String::from_utf8_lossy(bytes)));
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes as given.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for Name {
    type Error = Error;
    fn try_from(bytes: Vec<u8>) -> Result<Self> {
        Self::new(&bytes)
    }
}

impl From<Name> for Vec<u8> {
    fn from(name: Name) -> Self {
        name.0.to_vec()
    }
}

impl std::borrow::Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}

/// What a symlink points at: 1 to 4095 bytes without NUL. Stored, never followed by the daemon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct SymlinkTarget(Arc<[u8]>);

impl SymlinkTarget {
    /// Check and take a target.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > limits::MAX_SYMLINK {
            return Err(Error::new(Kind::NameTooLong, "use symlink target", ""));
        }
        if bytes.is_empty() || bytes.contains(&0) {
            return Err(Error::new(Kind::Invalid, "use symlink target", ""));
        }
        Ok(Self(bytes.into()))
    }

    /// The bytes as given.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<Vec<u8>> for SymlinkTarget {
    type Error = Error;
    fn try_from(bytes: Vec<u8>) -> Result<Self> {
        Self::new(&bytes)
    }
}

impl From<SymlinkTarget> for Vec<u8> {
    fn from(target: SymlinkTarget) -> Self {
        target.0.to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_valid_by_construction() {
        for bad in [&b""[..], b".", b"..", b"a/b", b"a\0b"] {
            assert_eq!(Name::new(bad).unwrap_err().kind(), Kind::Invalid);
        }
        assert_eq!(Name::new(&[b'a'; 256]).unwrap_err().kind(), Kind::NameTooLong);
        assert!(Name::new(&[b'a'; 255]).is_ok());
        assert!(Name::new(b"\xff\xfe").is_ok(), "names are bytes, not text");
    }
}
