//! The control socket's address: a Unix socket in the home, also when the home's path is too long for one.
//!
//! Must never be reachable by other users: mode 0600 in a directory of mode 0700.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Longest path a socket address takes, without its terminating NUL.
const LONGEST: usize = 107;
/// What connecting says where nobody listens: also in a home that is a file, which is for others to say.
const NOBODY: [ErrorKind; 3] = [ErrorKind::NotFound, ErrorKind::NotADirectory, ErrorKind::ConnectionRefused];

/// Listen at `path`, replacing a socket left behind. The caller holds the home's lock.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let (short, _open) = shorten(path)?;
    let listener = UnixListener::bind(short)?;
    fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Connect to `path`; `None` when nobody listens there.
pub fn connect(path: &Path) -> io::Result<Option<UnixStream>> {
    let connected = shorten(path).and_then(|(short, _open)| UnixStream::connect(short));
    match connected {
        Ok(stream) => Ok(Some(stream)),
        Err(e) if NOBODY.contains(&e.kind()) => Ok(None),
        Err(e) => Err(e),
    }
}

/// An address for `path` that fits: itself, or through an open descriptor of its directory, which must
/// stay open while the address is used.
fn shorten(path: &Path) -> io::Result<(PathBuf, Option<File>)> {
    if path.as_os_str().as_bytes().len() <= LONGEST {
        return Ok((path.to_owned(), None));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(ErrorKind::InvalidInput.into());
    };
    let directory = File::open(parent)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name), Some(directory)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn round_trip(path: &Path) {
        assert!(connect(path).unwrap().is_none(), "nobody there yet");
        let listener = listen(path).unwrap();
        assert!(connect(path).unwrap().is_some());
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
        drop(listener);
        assert!(connect(path).unwrap().is_none(), "a socket left behind is nobody");
        listen(path).unwrap();
    }

    #[test]
    fn a_short_path_is_an_address() {
        let dir = tempfile::tempdir().unwrap();
        round_trip(&dir.path().join("s"));
    }

    #[test]
    fn a_path_longer_than_an_address_still_works() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("d".repeat(90)).join("e".repeat(90));
        fs::create_dir_all(&deep).unwrap();
        round_trip(&deep.join("control.sock"));
    }
}
