//! A temporary directory on a real disk (never tmpfs), removed when dropped.

use std::path::{Path, PathBuf};

/// `FSTESTS_SCRATCH` or `/var/tmp`.
pub fn base() -> PathBuf {
    std::env::var_os("FSTESTS_SCRATCH").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

/// A directory that goes away with its owner, unless the test is panicking and `FSTESTS_KEEP` is set.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A fresh directory whose name starts with `fstests-NAME`.
    pub fn new(name: &str) -> Self {
        let dir = tempfile::Builder::new().prefix(&format!("fstests-{name}-")).tempdir_in(base()).unwrap();
        Scratch(dir.keep())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A new directory in it.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("FSTESTS_KEEP").is_some() {
            eprintln!("kept {}", self.0.display());
        } else {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}
