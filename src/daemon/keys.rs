//! Opening the keystore, and where the passphrase comes from.
//!
//! Must never take a passphrase from the command line or the environment, and never make a new keystore
//! beside volumes whose keys are missing.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};

use super::home::Home;
use crate::base::port::System;
use crate::base::{Context, Error, Kind, Result};
use crate::seal::{Keystore, Passphrase};
use crate::wire::Advice;

/// Where the passphrase comes from, if one is needed.
#[derive(Clone, Default)]
pub enum PassphraseSource {
    /// A person at the terminal.
    #[default]
    Terminal,
    /// The first line of a file; `-` is standard input.
    File(PathBuf),
    /// Somebody asked already: this, or none.
    Given(Option<Arc<Passphrase>>),
}

impl std::fmt::Debug for PassphraseSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Terminal => "Terminal",
            Self::File(_) => "File",
            Self::Given(_) => "Given(secret)",
        })
    }
}

/// Longest passphrase read, in bytes.
const LONGEST: usize = 4096;

/// What opening (or making) the keystore of `home` needs: a passphrase, or nothing.
pub fn passphrase(home: &Home, source: &PassphraseSource) -> Result<Option<Arc<Passphrase>>> {
    let path = home.keystore();
    let exists = path.exists();
    if exists && !Keystore::needs_passphrase(&path).map_err(|e| explain(home, e))? {
        return Ok(None);
    }
    match source {
        PassphraseSource::Given(secret) => Ok(secret.clone()),
        PassphraseSource::File(file) if file == Path::new("-") && io::stdin().is_terminal() => {
            if exists { ask(&format!("Passphrase of {home}: ")) } else { ask_twice(home) }.map(|p| Some(Arc::new(p)))
        }
        PassphraseSource::File(file) => read_file(file).map(|p| Some(Arc::new(p))),
        PassphraseSource::Terminal if exists => ask(&format!("Passphrase of {home}: ")).map(|p| Some(Arc::new(p))),
        PassphraseSource::Terminal => Ok(None),
    }
}

/// Open the keystore of `home`. [`Kind::NotFound`] when there is none, [`Kind::Denied`] for a wrong or
/// missing passphrase.
pub fn open(home: &Home, source: &PassphraseSource) -> Result<Keystore> {
    let path = home.keystore();
    if !path.exists() {
        return Err(missing(home));
    }
    let secret = passphrase(home, source)?;
    Keystore::open(&path, secret.as_deref()).map_err(|e| explain(home, e))
}

/// Open the keystore of `home`, or make one.
pub fn open_or_create(home: &Home, source: &PassphraseSource) -> Result<Keystore> {
    let path = home.keystore();
    if path.exists() || has_volumes(home) {
        return open(home, source);
    }
    let secret = passphrase(home, source)?;
    if secret.is_none() {
        tracing::debug!("the new keys in {} have no passphrase", path.display());
    }
    Keystore::create(&path, secret.as_deref(), Arc::new(System))
}

fn has_volumes(home: &Home) -> bool {
    fs::read_dir(home.volumes()).is_ok_and(|mut entries| entries.next().is_some())
}

fn missing(home: &Home) -> Error {
    let error =
        |kind, advice| Error::new(kind, "open the keys", home.keystore().display().to_string()).with_source(advice);
    if has_volumes(home) {
        let next = "Put the file `keystore` of this home back from a backup; without it nobody can read the volumes.";
        return error(Kind::Corrupt, Advice::new("the keystore is gone, but volumes are there", next));
    }
    let next = "Make it with `lovage mount DIR`, or select another home with --home.";
    error(Kind::NotFound, Advice::new("there is no lovage home here", next))
}

/// The keystore's errors with what to do about them.
fn explain(home: &Home, error: Error) -> Error {
    let path = home.keystore().display().to_string();
    let (why, next) = match error.kind() {
        Kind::Denied if error.subject().contains("needed") => {
            ("a passphrase is needed".to_owned(), "Pass --passphrase-file FILE or set LOVAGE_PASSPHRASE_FILE.")
        }
        Kind::Denied => {
            ("the passphrase is wrong".to_owned(), "Try again with the passphrase this home was made with.")
        }
        Kind::Corrupt => ("the keystore is damaged".to_owned(), "Put the file back from a backup."),
        Kind::NotPermitted => {
            ("others may read it, and it has no passphrase".to_owned(), "Close it: chmod 600 on that file.")
        }
        _ => return error,
    };
    Error::new(error.kind(), "open the keys", path).with_source(Advice::new(why, next))
}

fn read_file(path: &Path) -> Result<Passphrase> {
    let name = || path.display().to_string();
    if path == Path::new("-") {
        return read_line(io::stdin().lock()).io("read the passphrase", name);
    }
    let file = File::open(path).io("read the passphrase", name)?;
    let secret = read_line(file).io("read the passphrase", name)?;
    if secret.expose().is_empty() {
        let advice = Advice::new("its first line is empty", "Write the passphrase on the first line of that file.");
        return Err(Error::new(Kind::Invalid, "read the passphrase", name()).with_source(advice));
    }
    Ok(secret)
}

/// The first line, without its end. The buffer is reserved whole, so that no copy is left behind by growing.
fn read_line(mut from: impl Read) -> io::Result<Passphrase> {
    let mut line = Vec::with_capacity(LONGEST);
    let mut byte = [0];
    while line.len() < LONGEST && from.read(&mut byte)? == 1 && byte != *b"\n" {
        line.extend_from_slice(&byte);
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(Passphrase::new(line))
}

/// Ask for a new passphrase.
fn ask_twice(home: &Home) -> Result<Passphrase> {
    let first = ask(&format!("New passphrase for {home}: "))?;
    let second = ask("Once more: ")?;
    if first.expose() == second.expose() {
        return Ok(first);
    }
    Err(Error::new(Kind::Denied, "set the passphrase", home.to_string()).with_source("the two are not the same"))
}

/// Ask at the terminal, without echo.
fn ask(prompt: &str) -> Result<Passphrase> {
    let advice = || {
        let next = "Pass --passphrase-file FILE or set LOVAGE_PASSPHRASE_FILE.";
        Advice::new("a passphrase is needed, and there is no terminal to ask at", next)
    };
    let open = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let mut tty = open.map_err(|_| Error::new(Kind::Denied, "open the keys", "").with_source(advice()))?;
    let silence = |e: rustix::io::Errno| Error::io("silence the terminal", "/dev/tty", e.into());
    let old = tcgetattr(&tty).map_err(silence)?;
    let mut quiet = old.clone();
    quiet.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&tty, OptionalActions::Flush, &quiet).map_err(silence)?;
    let asked = tty.write_all(prompt.as_bytes()).and_then(|()| read_line(&tty));
    let restored = tcsetattr(&tty, OptionalActions::Flush, &old).map_err(silence);
    // The newline the person typed was not echoed.
    let _ = tty.write_all(b"\n");
    restored.and(asked.io("ask for the passphrase", || "/dev/tty".into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path()).unwrap();
        (dir, home)
    }

    fn given(text: &str) -> PassphraseSource {
        PassphraseSource::Given(Some(Arc::new(Passphrase::new(text))))
    }

    #[test]
    fn a_new_home_without_passphrase_opens_without_one() {
        let (_dir, home) = home();
        let made = open_or_create(&home, &PassphraseSource::Given(None)).unwrap();
        let again = open(&home, &given("ignored")).unwrap();
        assert_eq!(made.device.device_id(), again.device.device_id());
    }

    #[test]
    fn a_passphrase_file_locks_and_unlocks() {
        let (dir, home) = home();
        let file = dir.path().join("secret");
        fs::write(&file, "correct horse\r\nsecond line\n").unwrap();
        open_or_create(&home, &PassphraseSource::File(file.clone())).unwrap();
        open(&home, &given("correct horse")).unwrap();
        open(&home, &PassphraseSource::File(file)).unwrap();
        let wrong = open(&home, &given("battery staple")).unwrap_err();
        assert_eq!(wrong.kind(), Kind::Denied);
        assert!(wrong.chain().contains("the passphrase is wrong"), "{}", wrong.chain());
        let none = open(&home, &PassphraseSource::Given(None)).unwrap_err();
        assert!(none.chain().contains("--passphrase-file"), "{}", none.chain());
    }

    #[test]
    fn an_empty_passphrase_file_is_refused() {
        let (dir, home) = home();
        let file = dir.path().join("secret");
        fs::write(&file, "\n").unwrap();
        let error = open_or_create(&home, &PassphraseSource::File(file)).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(!home.keystore().exists());
    }

    #[test]
    fn no_new_keys_are_made_beside_volumes() {
        let (_dir, home) = home();
        fs::create_dir_all(home.volumes().join("x")).unwrap();
        let error = open_or_create(&home, &PassphraseSource::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::Corrupt);
        assert!(error.chain().contains("backup"));
    }

    #[test]
    fn an_empty_home_says_how_to_make_one() {
        let (_dir, home) = home();
        let error = open(&home, &PassphraseSource::default()).unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(error.chain().contains("lovage mount"));
    }

    #[test]
    fn damage_and_openness_of_the_keystore_are_told_apart() {
        let (_dir, home) = home();
        open_or_create(&home, &PassphraseSource::Given(None)).unwrap();
        fs::set_permissions(home.keystore(), fs::Permissions::from_mode(0o644)).unwrap();
        let open_to_all = open(&home, &PassphraseSource::Given(None)).unwrap_err();
        assert!(open_to_all.chain().contains("chmod 600"), "{}", open_to_all.chain());
        let bytes = fs::read(home.keystore()).unwrap();
        fs::write(home.keystore(), &bytes[..bytes.len() / 2]).unwrap();
        let damaged = open(&home, &PassphraseSource::Given(None)).unwrap_err();
        assert_eq!(damaged.kind(), Kind::Corrupt);
    }

    #[test]
    fn debug_shows_no_passphrase() {
        assert_eq!(format!("{:?}", given("hunter2")), "Given(secret)");
    }
}
