//! D6: the disk below fails a write or a sync. The caller is told; no later fsync succeeds without a rewrite;
//! nothing that was acknowledged is lost; and the daemon says what happened.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use fstests::harness::bytes::seed;
use fstests::harness::mount::Mount;
use fstests::harness::scratch::Scratch;

use crate::script::Script;
use crate::strace::{Injector, injected, is_there};

/// Every call with which the log makes bytes durable, each failing at its n-th time in a thread.
const CALLS: [&str; 4] = ["fdatasync", "pwritev", "pwrite64", "fallocate"];
const EIO: i32 = 5;

/// Runs the script with a fault in it; says how often the disk failed and how often a caller was told.
fn with_fault(mount: &mut Mount, dir: &Path, inject: &str, log: &Path, seed: u64) -> (usize, usize) {
    fs::create_dir(dir).unwrap();
    let mut script = Script::new(seed);
    for _ in 0..6 {
        script.step(dir).unwrap();
    }
    let injector = Injector::attach(mount.pid(), inject, log);
    let mut told = 0;
    for step in 0..12 {
        match script.step(dir) {
            Ok(()) => {}
            Err(e) => {
                assert_eq!(e.raw_os_error(), Some(EIO), "{inject}, step {step}: {e}");
                told += 1;
                // What is there now is done again and confirmed, or refused again; never confirmed for nothing.
                script.judge(dir).unwrap_or_else(|why| panic!("{inject}, step {step}: {why}"));
                script.adopt(dir);
            }
        }
    }
    injector.detach();
    script.step(dir).unwrap_or_else(|e| panic!("{inject}: the disk is well again, yet: {e}"));
    mount.kill();
    mount.restart();
    script.judge(dir).unwrap_or_else(|why| panic!("{inject}, after the daemon's death: {why}"));
    (injected(log), told)
}

#[test]
fn a_disk_that_fails_is_told_to_the_caller_and_loses_nothing_that_was_confirmed() {
    if !is_there() {
        return;
    }
    let scratch = Scratch::new("fsync-eio");
    let mut mount = Mount::start(&scratch.path().join("home"), &scratch.dir("mnt"), &[]);
    let seed = seed("fsync-eio");
    let (mut faults, mut told) = (0, 0);
    for (number, call) in CALLS.into_iter().enumerate() {
        for when in ["1", "2", "3", "5", "1+2"] {
            let dir = mount.dir().join(format!("{call}-{when}"));
            let log = scratch.path().join("strace");
            let inject = format!("{call}:error=EIO:when={when}");
            let (hit, heard) = with_fault(&mut mount, &dir, &inject, &log, seed + number as u64);
            faults += hit;
            told += heard;
        }
    }
    println!("{faults} faults, {told} times a caller was told");
    assert!(faults > 20 && told > 10, "{faults} faults, {told} told");
    mount.stop();
}

#[test]
fn while_every_sync_fails_none_is_confirmed_and_the_log_says_why() {
    if !is_there() {
        return;
    }
    let scratch = Scratch::new("fsync-eio-all");
    let mut mount = Mount::start(&scratch.path().join("home"), &scratch.dir("mnt"), &[]);
    let kept = mount.dir().join("kept");
    fs::write(&kept, b"before").unwrap();
    File::open(&kept).unwrap().sync_all().unwrap();
    let injector = Injector::attach(mount.pid(), "fdatasync:error=EIO", &scratch.path().join("strace"));
    let mut file = File::create(mount.dir().join("lost")).unwrap();
    file.write_all(b"never durable").unwrap();
    for attempt in 0..5 {
        let error = file.sync_all().expect_err("nothing can be durable");
        assert_eq!(error.raw_os_error(), Some(EIO), "attempt {attempt}");
    }
    assert_eq!(fs::read(&kept).unwrap(), b"before", "reading goes on");
    assert!(mount.said().contains("Input/output error"), "the log says nothing:\n{}", mount.said());
    injector.detach();
    // An error of a write in the background may still have to be told, once.
    file.sync_all().or_else(|_| file.sync_all()).expect("the log wrote it again, elsewhere");
    mount.kill();
    mount.restart();
    assert_eq!(fs::read(&kept).unwrap(), b"before");
    assert_eq!(fs::read(mount.dir().join("lost")).unwrap(), b"never durable", "the last fsync confirmed it");
    mount.stop();
}

#[test]
fn a_removal_that_could_not_be_journaled_at_first_stays_a_removal() {
    if !is_there() {
        return;
    }
    let scratch = Scratch::new("fsync-eio-removal");
    let mut mount = Mount::start(&scratch.path().join("home"), &scratch.dir("mnt"), &[]);
    let dir = File::open(mount.dir()).unwrap();
    let gone = mount.dir().join("gone");
    fs::write(&gone, b"journaled, not sealed").unwrap();
    File::open(&gone).unwrap().sync_all().unwrap();
    dir.sync_all().unwrap();
    let injector = Injector::attach(mount.pid(), "fdatasync:error=EIO", &scratch.path().join("strace"));
    fs::write(mount.dir().join("other"), b"breaks the arena").unwrap();
    File::open(mount.dir().join("other")).unwrap().sync_all().expect_err("the disk is broken");
    fs::remove_file(&gone).unwrap();
    dir.sync_all().expect_err("the disk is broken");
    injector.detach();
    dir.sync_all().or_else(|_| dir.sync_all()).expect("the disk is well again");
    drop(dir);
    mount.kill();
    mount.restart();
    assert!(!gone.exists(), "a removal that fsync confirmed came back");
    mount.stop();
}
