//! SIGKILL while busy, again and again: acknowledged bytes are there, mounting again works, nothing is left over.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fstests::harness::bytes::{Random, count, seed};
use fstests::harness::load::{Context, History, Load};
use fstests::harness::mount::{Mount, is_lovage};
use fstests::harness::scratch::Scratch;
use fstests::harness::snapshot;

use crate::program::fsck;

/// Works on the mount until that many acknowledgements were given, then kills the daemon.
fn kill_when_acknowledged(mount: &mut Mount, name: &str, seed: u64, acknowledgements: u64) -> Vec<Box<dyn History>> {
    let (sender, receiver) = mpsc::channel();
    let context = Context { stop: Arc::new(AtomicBool::new(false)), acknowledged: sender, now: Arc::new(|| 0) };
    let load = Load::start(&mount.dir().join(name), seed, &context);
    for _ in 0..acknowledgements {
        receiver.recv_timeout(Duration::from_secs(60)).expect("the load stands still");
    }
    mount.kill();
    load.finish()
}

fn judge(histories: &[Box<dyn History>], round: usize) {
    for history in histories {
        history.judge(0).unwrap_or_else(|why| panic!("round {round}: {why}"));
    }
}

#[test]
fn what_fsync_acknowledged_survives_kill_9_under_mixed_load() {
    let rounds = count("FSTESTS_ROUNDS", 50);
    let mut random = Random::new(seed("kill9"));
    let scratch = Scratch::new("kill9");
    let mut mount = Mount::start(&scratch.path().join("home"), &scratch.dir("mnt"), &[]);
    let mut promised = 0;
    for round in 0..rounds {
        let histories =
            kill_when_acknowledged(&mut mount, &format!("r{round}"), random.word() >> 8, 1 + random.below(60));
        mount.restart();
        judge(&histories, round);
        promised += histories.iter().map(|h| h.promised(0)).sum::<usize>();
    }
    println!("{rounds} kills, {promised} acknowledgements kept");
    let before = snapshot::take(mount.dir());
    mount.restart();
    snapshot::assert_same(&snapshot::take(mount.dir()), &before, "after a clean stop and start");
    if is_lovage() {
        mount.stop();
        let report = fsck(mount.home(), &["--read-data"]);
        assert_eq!(report["bad"], 0, "{report}");
    }
}

#[test]
fn a_hundred_lives_leave_one_mount_and_never_hang() {
    let rounds = count("FSTESTS_LIVES", 100);
    let scratch = Scratch::new("lives");
    let mut mount = Mount::start(&scratch.path().join("home"), &scratch.dir("mnt"), &[]);
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let histories = kill_when_acknowledged(&mut mount, &format!("r{round}"), round as u64, 3);
        let took = mount.restart();
        slowest = slowest.max(took);
        assert!(took < Duration::from_secs(5), "round {round}: mounted after {took:?}");
        judge(&histories, round);
        assert_eq!(mounts_below(scratch.path()), 1, "round {round}");
    }
    println!("{rounds} lives, slowest start {slowest:?}");
    mount.stop();
    assert_eq!(mounts_below(scratch.path()), 0);
}

fn mounts_below(dir: &std::path::Path) -> usize {
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    table.lines().filter(|l| l.split(' ').nth(1).is_some_and(|at| at.starts_with(&*dir.to_string_lossy()))).count()
}
