//! The home directory: where each thing of this device lives.
//!
//! Must never create anything outside the home, and nothing in it that other users can read.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::Access;
use rustix::io::Errno;

use crate::base::{Context, Error, Kind, Result, VolumeId};
use crate::wire::Advice;

/// The state directory of one device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    root: PathBuf,
}

impl Home {
    /// The home at `root`, made absolute. Touches nothing.
    pub fn at(root: &Path) -> Result<Self> {
        let root = std::path::absolute(root).io("find the home", || root.display().to_string())?;
        Ok(Self { root })
    }

    /// `--home`, else `LOVAGE_HOME` (the caller resolves both), else `$XDG_DATA_HOME/lovage`, else
    /// `~/.local/share/lovage`.
    pub fn locate(given: Option<&Path>) -> Result<Self> {
        let absolute = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let found = match given {
            Some(path) => Some(path.to_owned()),
            None => absolute("XDG_DATA_HOME")
                .map(|data| data.join("lovage"))
                .or_else(|| absolute("HOME").map(|home| home.join(".local/share/lovage"))),
        };
        let advice = || Advice::new("neither XDG_DATA_HOME nor HOME is set", "Pass --home DIR or set LOVAGE_HOME.");
        let root = found.ok_or_else(|| Error::new(Kind::NotFound, "find the home", "").with_source(advice()))?;
        Self::at(&root)
    }

    /// Make the directory (mode 0700) if it is not there; refuse one that another user owns or that takes nothing.
    pub fn create(&self) -> Result<()> {
        if !self.root.exists() {
            let mut builder = DirBuilder::new();
            builder.recursive(true).mode(0o700).create(&self.root).io("create the home", || self.to_string())?;
        }
        self.check_owner()?;
        self.check_writable()
    }

    fn check_owner(&self) -> Result<()> {
        let owner = fs::metadata(&self.root).io("open the home", || self.to_string())?.uid();
        let me = rustix::process::geteuid().as_raw();
        if owner == me {
            return Ok(());
        }
        let advice = Advice::new(
            format!("it belongs to user {owner}, you are user {me}"),
            "Use a home of your own: pass --home DIR or set LOVAGE_HOME.",
        );
        Err(Error::new(Kind::Denied, "open the home", self.to_string()).with_source(advice))
    }

    /// Everything works by writing there: say so before the first file that cannot be made says it less clearly.
    pub fn check_writable(&self) -> Result<()> {
        let access = rustix::fs::access(&self.root, Access::WRITE_OK | Access::EXEC_OK);
        let (why, next) = match access {
            _ if self.root.exists() && !self.root.is_dir() => {
                ("it is not a directory", "Pass --home DIR or set LOVAGE_HOME.")
            }
            Err(Errno::ROFS) => ("it is on a read-only file system", "Mount that for writing, or pass another --home."),
            Err(Errno::ACCESS) => ("it may not be written", "Allow it with `chmod u+rwx`, or pass another --home."),
            _ => return Ok(()),
        };
        Err(Error::new(Kind::Denied, "open the home", self.to_string()).with_source(Advice::new(why, next)))
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Settings.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// Keys.
    pub fn keystore(&self) -> PathBuf {
        self.root.join("keystore")
    }

    /// Held by whoever works on the home.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    /// Where the daemon listens for commands.
    pub fn socket(&self) -> PathBuf {
        self.root.join("control.sock")
    }

    /// The log of a daemon in the background.
    pub fn log(&self) -> PathBuf {
        self.root.join("lovage.log")
    }

    /// Where this home was mounted last, for cleaning up after a kill.
    pub fn mounts(&self) -> PathBuf {
        self.root.join("mounts")
    }

    /// The directory that holds one directory a volume.
    pub fn volumes(&self) -> PathBuf {
        self.root.join("volumes")
    }

    /// The directory that holds one directory a volume that is kept for others.
    pub fn keeps(&self) -> PathBuf {
        self.root.join("keeps")
    }

    /// The directory of one volume that is kept for others.
    pub fn keep(&self, id: VolumeId) -> PathBuf {
        self.keeps().join(id.to_string())
    }

    /// The directory of one volume.
    pub fn volume(&self, id: VolumeId) -> PathBuf {
        self.volumes().join(id.to_string())
    }
}

impl std::fmt::Display for Home {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.root.display())
    }
}

/// Replace a small file: new content whole and synced, or the old one. Mode 0600.
pub fn replace_file(path: &Path, content: &[u8]) -> Result<()> {
    let name = || path.display().to_string();
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh).io("write a file", name)?;
    file.write_all(content).and_then(|()| file.sync_all()).io("write a file", name)?;
    fs::rename(&fresh, path).io("write a file", name)?;
    let parent = path.parent().unwrap_or_else(|| Path::new("/"));
    File::open(parent).and_then(|dir| dir.sync_all()).io("write a file", name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_new_home_is_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(&dir.path().join("deep/home")).unwrap();
        home.create().unwrap();
        home.create().unwrap();
        assert_eq!(fs::metadata(home.root()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_home_that_cannot_be_made_names_itself() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let home = Home::at(&dir.path().join("file/home")).unwrap();
        assert!(home.create().unwrap_err().chain().contains("file/home"));
    }

    #[test]
    fn a_home_that_is_a_file_is_said_to_be_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "").unwrap();
        let error = Home::at(&path).unwrap().check_writable().unwrap_err();
        assert!(error.chain().contains("it is not a directory"), "{}", error.chain());
        Home::at(dir.path()).unwrap().check_writable().unwrap();
    }

    #[test]
    fn replacing_a_file_leaves_no_second_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
