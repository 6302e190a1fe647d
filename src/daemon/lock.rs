//! The lock on a home: one process at a time, released by the kernel however that process ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::home::Home;
use crate::base::{Context, Error, Kind, Result};
use crate::wire::Advice;

/// How long a holder may take to go: one that was just killed, or a short command.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(10);

/// Held for as long as it lives.
#[derive(Debug)]
pub struct HomeLock {
    _file: File,
}

impl HomeLock {
    /// Take the lock; [`Kind::Busy`] naming the holder if it is not free within a short patience. `purpose` is
    /// shown to others.
    pub fn take(home: &Home, purpose: &str) -> Result<Self> {
        Self::take_within(home, purpose, PATIENCE)
    }

    fn take_within(home: &Home, purpose: &str, patience: Duration) -> Result<Self> {
        let name = || home.to_string();
        home.check_writable()?;
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(home.lock()).io("lock the home", name)?;
        let begin = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(rustix::io::Errno::WOULDBLOCK) if begin.elapsed() < patience => std::thread::sleep(PAUSE),
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(home)),
                Err(e) => return Err(Error::io("lock the home", name(), e.into())),
            }
        }
        let line = format!("{} {purpose}\n", std::process::id());
        let write = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(line.as_bytes()));
        write.io("lock the home", name)?;
        Ok(Self { _file: file })
    }
}

/// The process that holds the home, and what for, as it wrote down itself. Who held it last, when nobody does.
pub fn holder(home: &Home) -> (String, String) {
    let mut text = String::new();
    // An unreadable holder is no reason for another message: the lock is held either way.
    let _ = File::open(home.lock()).and_then(|file| file.take(256).read_to_string(&mut text));
    let (pid, purpose) = text.trim().split_once(' ').unwrap_or((text.trim(), "lovage"));
    (pid.to_owned(), purpose.to_owned())
}

fn held(home: &Home) -> Error {
    let (pid, purpose) = holder(home);
    let advice = Advice::new(
        format!("process {pid} ({purpose}) holds it"),
        "Use that one (`lovage status`), stop it, or pass another --home.",
    );
    Error::new(Kind::Busy, "open the home", home.to_string()).with_source(advice)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_the_home() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path()).unwrap();
        let first = HomeLock::take(&home, "mount").unwrap();
        let error = HomeLock::take_within(&home, "gc", Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), Kind::Busy);
        let text = error.chain();
        assert!(text.contains(&format!("process {} (mount) holds it", std::process::id())), "{text}");
        drop(first);
        HomeLock::take(&home, "gc").unwrap();
    }
}
