//! What must be true of a place before something is mounted there, each with one clear sentence.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::device::{DEVICE, HELPER, is_root};
use super::mountinfo::{self, MountEntry};
use super::options::MountOptions;
use super::unmount::{Unmount, unmount};
use crate::base::{Context, Error, Kind, Result};

/// A live mount answers within this, or is taken for a busy one.
const ANSWER: Duration = Duration::from_secs(5);

/// Check `dir` and the machine, take away a dead mount of ours, and return the absolute path to mount at.
pub(super) fn ready(dir: &Path, options: &MountOptions) -> Result<PathBuf> {
    check_machine(options, Path::new(DEVICE), is_root())?;
    let point = absolute(dir)?;
    clear_stale(&point)?;
    check_directory(&point)?;
    Ok(point)
}

/// If `point` holds a mount of ours whose process is gone, take it away; true if so. A live one is
/// [`Kind::Busy`].
pub fn clear_stale(point: &Path) -> Result<bool> {
    let Some(entry) = mountinfo::at(point)?.filter(MountEntry::is_ours) else { return Ok(false) };
    if is_alive(&entry) {
        return Err(refuse(Kind::Busy, point, "lovage is already mounted there"));
    }
    tracing::info!("taking away the dead mount at {}", point.display());
    unmount(point, Unmount::Detach)?;
    Ok(true)
}

/// statfs(2) always asks the process behind the mount; one that is gone says "not connected". A process
/// that does not answer is alive as far as we can tell.
fn is_alive(entry: &MountEntry) -> bool {
    let (tell, heard) = mpsc::channel();
    let point = entry.point.clone();
    // Left behind if it never gets an answer: a thread in statfs cannot be called back.
    std::thread::spawn(move || tell.send(rustix::fs::statfs(&point).map(drop)));
    !matches!(heard.recv_timeout(ANSWER), Ok(Err(rustix::io::Errno::NOTCONN | rustix::io::Errno::CONNABORTED)))
}

fn check_machine(options: &MountOptions, device: &Path, root: bool) -> Result<()> {
    if !device.exists() {
        return Err(refuse(Kind::NotFound, device, "this kernel has no FUSE: try `modprobe fuse`"));
    }
    if !root && !in_path(HELPER) {
        return Err(refuse(Kind::NotFound, Path::new(HELPER), "users other than root need it: install fuse3"));
    }
    if !root && (options.dev || options.suid) {
        return Err(refuse(Kind::NotPermitted, Path::new("dev, suid"), "only root may ask for these"));
    }
    if options.source.contains([',', '\0']) {
        return Err(refuse(Kind::Invalid, Path::new(&options.source), "the name of a mount has no commas"));
    }
    Ok(())
}

fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// The absolute path without symlinks. Only the parent is looked into: the place itself may be a dead mount.
fn absolute(dir: &Path) -> Result<PathBuf> {
    match dir.canonicalize() {
        Ok(path) => Ok(path),
        Err(e) if e.raw_os_error() == Some(libc::ENOTCONN) => beside_parent(dir),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(refuse(Kind::NotFound, dir, "the directory to mount at does not exist: create it first"))
        }
        Err(e) => Err(Error::io("mount at", dir.to_string_lossy(), e)),
    }
}

fn beside_parent(dir: &Path) -> Result<PathBuf> {
    let full = std::path::absolute(dir).io("mount at", || dir.to_string_lossy().into_owned())?;
    let (Some(parent), Some(name)) = (full.parent(), full.file_name()) else { return Ok(full) };
    let parent = parent.canonicalize().io("mount at", || dir.to_string_lossy().into_owned())?;
    Ok(parent.join(name))
}

fn check_directory(point: &Path) -> Result<()> {
    let subject = || point.to_string_lossy().into_owned();
    if !std::fs::metadata(point).io("mount at", subject)?.is_dir() {
        return Err(refuse(Kind::NotDirectory, point, "the place to mount at is not a directory"));
    }
    if std::fs::read_dir(point).io("mount at", subject)?.next().is_some() {
        return Err(refuse(Kind::NotEmpty, point, "the directory to mount at has files in it, which would be hidden"));
    }
    Ok(())
}

fn refuse(kind: Kind, subject: &Path, sentence: &'static str) -> Error {
    Error::new(kind, "mount at", subject.to_string_lossy()).with_source(sentence)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn refusal(dir: &Path) -> (Kind, String) {
        let error = absolute(dir).and_then(|point| check_directory(&point)).unwrap_err();
        (error.kind(), error.chain())
    }

    #[test]
    fn a_missing_directory_is_named() {
        let (kind, text) = refusal(Path::new("/nonexistent/place"));
        assert_eq!(kind, Kind::NotFound);
        assert_eq!(
            text,
            "cannot mount at (/nonexistent/place): the directory to mount at does not exist: create it first"
        );
    }

    #[test]
    fn a_file_is_no_place_to_mount_at() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(refusal(file.path()).0, Kind::NotDirectory);
    }

    #[test]
    fn files_are_never_hidden_by_a_mount() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"").unwrap();
        assert_eq!(refusal(dir.path()).0, Kind::NotEmpty);
    }

    #[test]
    fn an_empty_directory_is_fine_and_made_absolute() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        let real = dir.path().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let point = absolute(&link).unwrap();
        assert_eq!(point, real.canonicalize().unwrap());
        check_directory(&point).unwrap();
        assert!(!clear_stale(&point).unwrap());
    }

    #[test]
    fn a_machine_without_the_device_is_told_so() {
        let error = check_machine(&MountOptions::default(), Path::new("/nonexistent/fuse"), true).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.chain().contains("modprobe fuse"));
    }

    #[test]
    fn only_root_may_ask_for_devices() {
        let options = MountOptions { dev: true, ..MountOptions::default() };
        let error = check_machine(&options, Path::new("/dev/null"), false).unwrap_err();
        assert!(matches!(error.kind(), Kind::NotPermitted | Kind::NotFound));
        check_machine(&options, Path::new("/dev/null"), true).unwrap();
    }

    #[test]
    fn a_comma_in_the_name_is_refused() {
        let options = MountOptions { source: "a,suid".to_owned(), ..MountOptions::default() };
        assert_eq!(check_machine(&options, Path::new("/dev/null"), true).unwrap_err().kind(), Kind::Invalid);
    }
}
