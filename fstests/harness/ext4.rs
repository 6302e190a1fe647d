//! ext4 on a loop device over a file. Needs root. Must never leave a device behind.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::mount::detach;

/// A mounted ext4; unmounted and detached when dropped.
pub struct Ext4 {
    device: String,
    dir: PathBuf,
}

/// Runs a program that must succeed; what it printed.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(out.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

impl Ext4 {
    /// Mounts the filesystem in `file` at `dir`.
    pub fn mount(file: &Path, dir: &Path) -> Self {
        let device = run("losetup", &["--find", "--show", &file.to_string_lossy()]);
        let ext4 = Ext4 { device, dir: dir.to_owned() };
        run("mount", &["-t", "ext4", &ext4.device, &dir.to_string_lossy()]);
        ext4
    }

    /// Makes a filesystem of `size` bytes in `file` and mounts it.
    pub fn make(file: &Path, size: u64, dir: &Path) -> Self {
        std::fs::File::create(file).unwrap().set_len(size).unwrap();
        run("mkfs.ext4", &["-q", "-F", &file.to_string_lossy()]);
        Self::mount(file, dir)
    }

    /// Where it is mounted.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.dir).status();
        detach(&self.dir);
        let _ = Command::new("losetup").args(["--detach", &self.device]).status();
    }
}
