//! A fresh directory on the filesystem under test, whichever that is.

use std::path::{Path, PathBuf};

use super::mount::Mount;
use super::scratch::Scratch;

/// A directory to work in: a new mount of its own, or a new directory below `FSTESTS_DIR`.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    mount: Option<Mount>,
    _scratch: Option<Scratch>,
}

impl Place {
    /// Makes one. `name` only shows in paths.
    pub fn new(name: &str) -> Self {
        if let Some(base) = std::env::var_os("FSTESTS_DIR") {
            let dir = tempfile::Builder::new().prefix(name).tempdir_in(base).unwrap().keep();
            return Place { dir, mount: None, _scratch: None };
        }
        let scratch = Scratch::new(name);
        let mount = Mount::start(&scratch.path().join("home"), &scratch.dir("mnt"), &[]);
        Place { dir: mount.dir().to_owned(), mount: Some(mount), _scratch: Some(scratch) }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Unmounts and mounts again, where there is a mount; nothing may be lost by it. `FSTESTS_VOLATILE` says that
    /// the stand-in keeps nothing, so that it stays up.
    pub fn remount(&mut self) {
        if let Some(mount) = self.mount.as_mut().filter(|_| std::env::var_os("FSTESTS_VOLATILE").is_none()) {
            mount.restart();
        }
    }

    /// The mount behind it, if there is one.
    pub fn mount(&self) -> Option<&Mount> {
        self.mount.as_ref()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.mount.is_none() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}
