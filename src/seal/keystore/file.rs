//! The keystore's file: mode 0600, replaced atomically and durably.
//!
//! Must never write in place, nor return success before file and directory are on disk.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::base::{Context, Error, Kind, Result};

/// Largest keystore in bytes: tens of thousands of volumes.
pub const MAX: usize = 16 << 20;

/// Read the whole file, at most [`MAX`]; [`Kind::Corrupt`] beyond.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let file = File::open(path).io("open keystore", || shown(path))?;
    let mut bytes = Vec::new();
    file.take(MAX as u64 + 1).read_to_end(&mut bytes).io("read keystore", || shown(path))?;
    if bytes.len() > MAX {
        return Err(Error::new(Kind::Corrupt, "read keystore", shown(path)));
    }
    Ok(bytes)
}

/// [`Kind::NotPermitted`] if the group or others may touch the file.
pub fn refuse_if_shared(path: &Path) -> Result<()> {
    let mode = fs::metadata(path).io("read keystore", || shown(path))?.mode();
    if mode & 0o077 != 0 {
        let subject = format!("{} has no passphrase and mode {:o}; chmod 600", shown(path), mode & 0o777);
        return Err(Error::new(Kind::NotPermitted, "use keystore", subject));
    }
    Ok(())
}

/// Write a file that must not exist yet; [`Kind::Exists`] if it does.
pub fn create(path: &Path, bytes: &[u8]) -> Result<()> {
    let temp = write_temp(path, bytes)?;
    // A link, unlike a rename, refuses to replace.
    let linked = fs::hard_link(&temp, path).io("create keystore", || shown(path));
    let removed = fs::remove_file(&temp).io("create keystore", || shown(&temp));
    linked.and(removed)?;
    sync_directory(path)
}

/// Put `bytes` in place of the file: old or new after a crash, new and durable when it returns.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let temp = write_temp(path, bytes)?;
    if let Err(e) = fs::rename(&temp, path).io("save keystore", || shown(path)) {
        // The rename's error is the one to report; the next save removes what may be left.
        let _ = fs::remove_file(&temp);
        return Err(e);
    }
    sync_directory(path)
}

fn write_temp(path: &Path, bytes: &[u8]) -> Result<PathBuf> {
    let temp = temp_of(path);
    match fs::remove_file(&temp) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("save keystore", shown(&temp), e));
        }
        _ => {}
    }
    // create_new: neither a symlink nor a file someone else made is ever written to.
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temp).io("save keystore", || shown(&temp))?;
    if let Err(e) = file.write_all(bytes).and_then(|()| file.sync_all()) {
        let _ = fs::remove_file(&temp);
        return Err(Error::io("save keystore", shown(&temp), e));
    }
    Ok(temp)
}

fn temp_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn sync_directory(path: &Path) -> Result<()> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).io("sync directory", || shown(parent))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
