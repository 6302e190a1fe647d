//! What was found damaged in a volume's log when it was opened. Kept beside the volume until `fsck --repair` has told of
//! it: once a later checkpoint is written the log itself has no trace of what was lost.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::home::replace_file;
use crate::base::{Error, Result};

/// Findings kept at most.
const MOST: usize = 256;

/// The findings of one volume, a line each.
#[derive(Debug)]
pub struct Scars(PathBuf);

impl Scars {
    /// Of the volume in `dir`.
    pub fn of(dir: &Path) -> Self {
        Self(dir.join("damage"))
    }

    /// Remember what is not known yet.
    pub fn add(&self, found: &[String]) -> Result<()> {
        let mut all = self.list()?;
        let before = all.len();
        for line in found {
            if !all.contains(line) && all.len() < MOST {
                all.push(line.clone());
            }
        }
        if all.len() == before { Ok(()) } else { replace_file(&self.0, all.join("\n").as_bytes()) }
    }

    /// What is remembered.
    pub fn list(&self) -> Result<Vec<String>> {
        match fs::read(&self.0) {
            Ok(text) => Ok(String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()),
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(e) => Err(Error::io("read what was damaged", self.0.display().to_string(), e)),
        }
    }

    /// It was told: forget it.
    pub fn forget(&self) -> Result<()> {
        match fs::remove_file(&self.0) {
            Err(e) if e.kind() != ErrorKind::NotFound => {
                Err(Error::io("forget what was damaged", self.0.display().to_string(), e))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn damage_is_remembered_once_until_it_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let scars = Scars::of(dir.path());
        scars.forget().unwrap();
        assert!(scars.list().unwrap().is_empty());
        scars.add(&["one".into(), "two".into()]).unwrap();
        scars.add(&["two".into(), "three".into()]).unwrap();
        assert_eq!(scars.list().unwrap(), ["one", "two", "three"]);
        scars.forget().unwrap();
        assert!(scars.list().unwrap().is_empty());
    }
}
