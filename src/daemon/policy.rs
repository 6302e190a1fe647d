//! What a person asked of one volume on this device: a file of lines, `NAME VALUE`.
//!
//! Must never lose a line it does not understand: such a file is refused, not rewritten.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use super::home::replace_file;
use crate::base::{Error, Kind, Result};

/// Most others that can be asked for.
pub const MOST_REPLICAS: usize = 16;

/// See the module.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// How many others must hold what `evict` drops; else as `replicas.min` says.
    pub replicas: Option<usize>,
    /// Names come when they are looked at, not all at once; else as `metadata` says.
    pub lazy: Option<bool>,
}

impl Policy {
    /// Read the file; the default where there is none. [`Kind::Unsupported`] for one with anything else in it.
    pub fn read(path: &Path) -> Result<Self> {
        let shown = || path.display().to_string();
        let text = match fs::read_to_string(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            text => text.map_err(|e| Error::io("read", shown(), e))?,
        };
        let mut policy = Self::default();
        for line in text.lines() {
            let unclear = || Error::new(Kind::Unsupported, "read", shown()).with_source(format!("unclear: {line}"));
            policy.take(line).ok_or_else(unclear)?;
        }
        Ok(policy)
    }

    fn take(&mut self, line: &str) -> Option<()> {
        match line.split_once(' ')? {
            ("replicas", count) => {
                self.replicas = Some(count.parse().ok().filter(|count| (1..=MOST_REPLICAS).contains(count))?);
            }
            ("metadata", "lazy") => self.lazy = Some(true),
            ("metadata", "full") => self.lazy = Some(false),
            _ => return None,
        }
        Some(())
    }

    /// Replace the file.
    pub fn write(&self, path: &Path) -> Result<()> {
        let replicas = self.replicas.map(|count| format!("replicas {count}\n")).unwrap_or_default();
        let metadata = self.lazy.map(|lazy| format!("metadata {}\n", if lazy { "lazy" } else { "full" }));
        replace_file(path, format!("{replicas}{}", metadata.unwrap_or_default()).as_bytes())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_not_understood_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy");
        assert_eq!(Policy::read(&path).unwrap(), Policy::default());
        for policy in [
            Policy::default(),
            Policy { replicas: Some(2), lazy: Some(true) },
            Policy { replicas: None, lazy: Some(false) },
        ] {
            policy.write(&path).unwrap();
            assert_eq!(Policy::read(&path).unwrap(), policy);
        }
        for bad in ["replicas\n", "replicas x\n", "replicas 0\n", "replicas 17\n", "metadata some\n", "colour blue\n"] {
            fs::write(&path, bad).unwrap();
            assert_eq!(Policy::read(&path).unwrap_err().kind(), Kind::Unsupported, "{bad}");
        }
    }
}
