//! D2: the daemon dies at a system call that changes the disk, at every k-th one of a script.

use std::fs;

use fstests::harness::bytes::{count, seed};
use fstests::harness::mount::Mount;
use fstests::harness::scratch::Scratch;

use crate::program::fsck;
use crate::script::Script;
use crate::strace::{Injector, is_there};

/// The calls with which the daemon changes what is on the disk.
const CALLS: [&str; 6] = ["pwritev", "pwrite64", "fdatasync", "fsync", "rename", "unlink"];

/// Runs up to `steps` operations; whether the daemon died on the way.
fn dies(mount: &mut Mount, script: &mut Script, dir: &std::path::Path, inject: &str, steps: usize) -> bool {
    let injector = Injector::attach(mount.pid(), inject, std::path::Path::new("/dev/null"));
    let died = (0..steps).any(|_| script.step(dir).is_err());
    injector.detach();
    died
}

#[test]
fn death_at_any_system_call_loses_nothing_that_was_confirmed() {
    if !is_there() {
        return;
    }
    let (steps, deaths) = (count("FSTESTS_STEPS", 60), count("FSTESTS_DEATHS", 4));
    let scratch = Scratch::new("kill-syscall");
    let mut mount = Mount::start(&scratch.path().join("home"), &scratch.dir("mnt"), &[]);
    let seed = seed("kill-each-syscall");
    let mut died = 0;
    for (number, call) in CALLS.into_iter().enumerate() {
        for when in 1..=deaths {
            let dir = mount.dir().join(format!("{call}-{when}"));
            fs::create_dir(&dir).unwrap();
            fs::File::open(mount.dir()).unwrap().sync_all().unwrap();
            let mut script = Script::new(seed + (number * 1000 + when) as u64);
            let inject = format!("{call}:signal=SIGKILL:when={when}");
            if dies(&mut mount, &mut script, &dir, &inject, steps) {
                died += 1;
                mount.kill();
                mount.restart();
            } else if when > 1 {
                break;
            }
            script.judge(&dir).unwrap_or_else(|why| panic!("{inject}: {why}"));
        }
    }
    println!("{died} deaths at a system call");
    assert!(died >= deaths, "only {died} deaths");
    mount.stop();
    assert_eq!(fsck(mount.home(), &["--read-data"])["bad"], 0);
}
