//! fuser panics when a program sets the time `i64::MIN`: the mount must end in errors, not hang, and lose nothing.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use fstests::harness::mount::{Mount, is_lovage, is_mounted};
use fstests::harness::scratch::Scratch;

#[test]
fn a_thread_that_panics_ends_the_mount_at_once_and_what_was_synced_is_kept() {
    if !is_lovage() {
        return;
    }
    let scratch = Scratch::new("panic");
    let mut mount = Mount::start(&scratch.path().join("home"), &scratch.dir("mnt"), &[]);
    let path = mount.dir().join("kept");
    fs::write(&path, b"synced").unwrap();
    File::open(&path).unwrap().sync_all().unwrap();
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    let time = libc::timespec { tv_sec: i64::MIN, tv_nsec: 0 };
    // SAFETY: a path that ends in zero, and two times.
    #[allow(unsafe_code)]
    let result = unsafe { libc::utimensat(libc::AT_FDCWD, name.as_ptr(), [time, time].as_ptr(), 0) };
    println!("utimensat of i64::MIN seconds: {result}");
    let begin = Instant::now();
    // Either the kernel or a later fuser copes with the time, or the mount is gone. It never hangs.
    while is_mounted(mount.dir()) && result != 0 {
        assert!(begin.elapsed() < Duration::from_secs(30), "the mount hangs:\n{}", mount.said());
        std::thread::yield_now();
    }
    mount.kill();
    mount.restart();
    assert_eq!(fs::read(&path).unwrap(), b"synced");
    mount.stop();
}
