//! Commands of the program that these tests run beside the mount.

use std::path::Path;
use std::process::{Command, Output};

use fstests::harness::binary::lovage;
use serde_json::Value;

/// Runs `lovage --home HOME ARGUMENTS`.
pub fn run(home: &Path, arguments: &[&str]) -> Output {
    Command::new(lovage()).arg("--home").arg(home).args(arguments).env_remove("LOVAGE_HOME").output().unwrap()
}

/// `fsck --json`, parsed; exit 0 and 6 are the two answers it may give.
pub fn fsck(home: &Path, arguments: &[&str]) -> Value {
    let mut words = vec!["fsck", "--json"];
    words.extend(arguments);
    let out = run(home, &words);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(matches!(out.status.code(), Some(0 | 6)), "fsck: {}\n{said}", out.status);
    serde_json::from_slice(&out.stdout)
        .unwrap_or_else(|e| panic!("fsck --json: {e}\n{}\n{said}", String::from_utf8_lossy(&out.stdout)))
}
