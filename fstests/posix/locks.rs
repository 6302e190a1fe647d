//! Advisory locks: whole-file and record locks keep other processes out and end with their holder.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use fstests::harness::place::Place;
use rustix::fs::{FlockOperation, fcntl_lock, flock};
use rustix::io::Errno;

#[test]
fn flock_keeps_a_second_descriptor_out_until_released() {
    let place = Place::new("flock");
    let (first, second) = (File::create(place.path("f")).unwrap(), File::open(place.path("f")).unwrap());
    flock(&first, FlockOperation::LockExclusive).unwrap();
    assert_eq!(flock(&second, FlockOperation::NonBlockingLockShared), Err(Errno::WOULDBLOCK));
    flock(&first, FlockOperation::Unlock).unwrap();
    flock(&second, FlockOperation::NonBlockingLockExclusive).unwrap();
    drop(second);
    flock(&first, FlockOperation::NonBlockingLockExclusive).unwrap();
}

/// Whether another process can take a record lock on the file right now.
fn another_process_may_lock(path: &Path) -> bool {
    let script = "import fcntl,sys\nf=open(sys.argv[1],'r+')\ntry: fcntl.lockf(f,fcntl.LOCK_EX|fcntl.LOCK_NB)\nexcept OSError: sys.exit(7)";
    let status = Command::new("python3").args(["-c", script]).arg(path).stderr(Stdio::null()).status().unwrap();
    assert!(matches!(status.code(), Some(0 | 7)), "{status}");
    status.success()
}

#[test]
fn record_locks_hold_between_processes() {
    let place = Place::new("fcntl");
    let path = place.path("f");
    std::fs::write(&path, b"x").unwrap();
    let file = File::options().read(true).write(true).open(&path).unwrap();
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
    assert!(!another_process_may_lock(&path));
    fcntl_lock(&file, FlockOperation::Unlock).unwrap();
    assert!(another_process_may_lock(&path));
}
