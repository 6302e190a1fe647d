//! Is this directory fit to be mounted on? And what stands in the way, in words.
//!
//! Must never detach a mount that is alive, and never touch a mount of anything but lovage.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::{UnmountFlags, unmount};

use crate::base::{Context, Error, Kind, Result};
use crate::wire::Advice;

/// The filesystem type the kernel lists for our mounts.
pub const FS_TYPE: &str = "fuse.lovage";

/// One line of the kernel's mount table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Where.
    pub point: PathBuf,
    /// What kind of filesystem.
    pub fs_type: String,
}

/// Check that `dir` can be mounted on, after detaching a dead lovage mount found there. Gives the
/// directory's real path.
pub fn prepare(dir: &Path) -> Result<PathBuf> {
    can_mount()?;
    if detach_stale(dir)? {
        tracing::warn!(dir = %dir.display(), "detached the mount a dead process left behind");
    }
    let refuse = |kind, why: &str, next: String| {
        Err(Error::new(kind, "mount", dir.display().to_string()).with_source(Advice::new(why, next)))
    };
    let shown = dir.display();
    match fs::metadata(dir) {
        Err(e) if e.kind() == ErrorKind::NotFound => {
            return refuse(Kind::NotFound, "the directory does not exist", format!("Create it: mkdir -p {shown}"));
        }
        Err(e) => return Err(Error::io("mount", shown.to_string(), e)),
        Ok(meta) if !meta.is_dir() => {
            return refuse(Kind::NotDirectory, "it is not a directory", "Give an empty directory.".into());
        }
        Ok(_) => {}
    }
    let real = dir.canonicalize().io("mount", || shown.to_string())?;
    if let Some(mount) = mount_at(&real)? {
        let next = format!("Unmount it first (lovage unmount {shown}), or choose another directory.");
        return refuse(Kind::Busy, &format!("a {} filesystem is mounted there already", mount.fs_type), next);
    }
    if fs::read_dir(&real).io("mount", || shown.to_string())?.next().is_some() {
        let next = "Give an empty directory: what is in this one would be hidden.".into();
        return refuse(Kind::NotEmpty, "the directory is not empty", next);
    }
    Ok(real)
}

/// Detach `dir` if it is a lovage mount whose process is gone. `true` if it was.
pub fn detach_stale(dir: &Path) -> Result<bool> {
    let dead = fs::metadata(dir).is_err_and(|e| e.raw_os_error() == Some(libc::ENOTCONN));
    if !dead {
        return Ok(false);
    }
    let absolute = std::path::absolute(dir).io("clean up the mount", || dir.display().to_string())?;
    let resolved = absolute.parent().and_then(|p| p.canonicalize().ok());
    let real = resolved.zip(absolute.file_name()).map_or(absolute.clone(), |(parent, name)| parent.join(name));
    match mount_at(&real)? {
        Some(mount) if mount.fs_type == FS_TYPE || mount.fs_type == "fuse" => detach(&real).map(|()| true),
        _ => Ok(false),
    }
}

/// Detach lazily: at once from the tree, finally when the last user is gone.
pub fn detach(dir: &Path) -> Result<()> {
    let name = || dir.display().to_string();
    match unmount(dir, UnmountFlags::DETACH) {
        Ok(()) => return Ok(()),
        Err(rustix::io::Errno::PERM) => {}
        Err(e) => return Err(Error::io("unmount", name(), e.into())),
    }
    let mut command = Command::new("fusermount3");
    let done = command.arg("-uz").arg("--").arg(dir).stdin(Stdio::null()).output().io("run fusermount3", name)?;
    if done.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    Err(Error::new(Kind::Other, "unmount", name()).with_source(words))
}

/// Whether this process could mount anything at all.
fn can_mount() -> Result<()> {
    let refuse = |kind, what: &str, why: &str, next: &str| {
        Err(Error::new(kind, "mount", what).with_source(Advice::new(why, next)))
    };
    if let Err(e) = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse") {
        return match e.kind() {
            ErrorKind::PermissionDenied => refuse(
                Kind::Denied,
                "/dev/fuse",
                "you may not open it",
                "Ask for read and write access to /dev/fuse (on some systems: membership of the group fuse).",
            ),
            _ => refuse(
                Kind::Unsupported,
                "/dev/fuse",
                "this system offers no FUSE",
                "Load the kernel module (modprobe fuse); in a container pass --device /dev/fuse.",
            ),
        };
    }
    let root = rustix::process::geteuid().is_root();
    if root || in_path("fusermount3") {
        return Ok(());
    }
    let next = "Install the package fuse3 (apt install fuse3), or run as root.";
    refuse(Kind::Unsupported, "fusermount3", "ordinary users need this program to mount, and it is not there", next)
}

fn in_path(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join(program).is_file())
}

/// The topmost mount exactly at `real`.
pub fn mount_at(real: &Path) -> Result<Option<MountEntry>> {
    let table = fs::read("/proc/self/mountinfo").io("read the mount table", String::new)?;
    Ok(parse_table(&table).into_iter().rev().find(|m| m.point == real))
}

/// The kernel's table, in its order; lines it does not understand are left out.
fn parse_table(table: &[u8]) -> Vec<MountEntry> {
    table.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountEntry> {
    let mut fields = line.split(|b| *b == b' ');
    let point = unescape(fields.nth(4)?);
    let fs_type = fields.skip_while(|f| *f != b"-").nth(1)?;
    let point = PathBuf::from(std::ffi::OsString::from_vec(point));
    Some(MountEntry { point, fs_type: String::from_utf8_lossy(fs_type).into_owned() })
}

/// Undo the kernel's octal escapes of space, tab, newline and backslash.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = tail.get(3..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_mount_table_is_read_with_its_escapes() {
        let table = b"36 35 98:0 / /mnt/my\\040dir rw,noatime master:1 - fuse.lovage lovage rw\n\
                      37 35 0:5 / /proc rw - proc proc rw\nnonsense\n";
        let mounts = parse_table(table);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0], MountEntry { point: "/mnt/my dir".into(), fs_type: FS_TYPE.into() });
    }

    proptest! {
        #[test]
        fn no_table_makes_the_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_table(&bytes);
        }
    }

    #[test]
    fn the_root_is_a_mount_and_an_ordinary_directory_is_not() {
        let dir = tempfile::tempdir().unwrap();
        assert!(mount_at(Path::new("/")).unwrap().is_some());
        assert_eq!(mount_at(&dir.path().canonicalize().unwrap()).unwrap(), None);
        assert!(!detach_stale(dir.path()).unwrap());
        assert!(!detach_stale(&dir.path().join("missing")).unwrap());
    }
}
