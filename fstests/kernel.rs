//! The adapter over the reference model, mounted for real: what the kernel asks and in what order, and the
//! life of a mount. `docs/fuse.md` says the same in words. Skipped where nothing can be mounted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fstests::model::{ModelFs, PANICS, Recorder};
use lovage::base::Kind;
use lovage::fuse::{KernelClock, MountOptions, Mounted, Unmount, clear_stale, mount, mounts};
use lovage::volume::api::{FileKind, NewNode, ROOT_INO, SetAttr};
use lovage::volume::{FileSystem, Invalidate};
use rustix::process::{Pid, Signal, kill_process};

struct Bench {
    mounted: Option<Mounted>,
    calls: Arc<Recorder>,
    dir: tempfile::TempDir,
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn mounted(&self) -> &Mounted {
        self.mounted.as_ref().unwrap()
    }
}

/// A mounted model, or `None` where this user cannot mount.
fn bench_with(options: &MountOptions) -> Option<Bench> {
    let dir = tempfile::tempdir().unwrap();
    let calls = Arc::new(Recorder::new(Arc::new(ModelFs::new(Arc::new(KernelClock))), false));
    if !Path::new("/dev/fuse").exists() || !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root and /dev/fuse");
        return None;
    }
    let mounted = mount(calls.clone(), dir.path(), options).unwrap();
    calls.take();
    Some(Bench { mounted: Some(mounted), calls, dir })
}

fn bench() -> Option<Bench> {
    bench_with(&MountOptions::default())
}

/// Calls of one kind in what was recorded.
fn count(calls: &[String], verb: &str) -> usize {
    calls.iter().filter(|call| call.split(' ').next() == Some(verb)).count()
}

#[test]
fn closing_writes_back_and_then_tells_of_the_close() {
    let Some(bench) = bench() else { return };
    fs::write(bench.path("f"), vec![1; 3 << 20]).unwrap();
    let calls = bench.calls.take();
    assert_eq!(count(&calls, "create"), 1, "{calls:?}");
    assert_eq!(count(&calls, "write"), 3, "{calls:?}");
    let last_write = calls.iter().rposition(|call| call.starts_with("write")).unwrap();
    let flush = calls.iter().position(|call| call.starts_with("flush")).unwrap();
    assert!(last_write < flush, "{calls:?}");
}

#[test]
fn without_telling_of_closes_no_flush_is_asked_again() {
    let options = MountOptions { tell_closes: false, ..MountOptions::default() };
    let Some(bench) = bench_with(&options) else { return };
    for n in 0..5 {
        fs::write(bench.path(&format!("f{n}")), b"x").unwrap();
    }
    let calls = bench.calls.take();
    assert_eq!((count(&calls, "flush"), count(&calls, "write")), (0, 5), "{calls:?}");
}

#[test]
fn fsync_is_preceded_by_the_data_and_the_times() {
    let Some(bench) = bench() else { return };
    let mut file = File::create(bench.path("f")).unwrap();
    let created = file.metadata().unwrap().mtime_nsec();
    while file.metadata().unwrap().mtime_nsec() == created {
        file.write_all(b"x").unwrap(); // until the kernel's clock ticks
    }
    bench.calls.take();
    file.write_all(b"x").unwrap();
    file.sync_all().unwrap();
    let calls = bench.calls.take();
    let at = |verb: &str| calls.iter().position(|call| call.starts_with(verb)).unwrap_or_else(|| panic!("{calls:?}"));
    assert!(at("write") < at("fsync") && at("setattr") < at("fsync"), "{calls:?}");
    assert!(calls[at("setattr")].ends_with("mtime ctime"), "{calls:?}");
}

#[test]
fn times_are_the_same_after_the_kernel_has_forgotten_the_file() {
    let Some(bench) = bench() else { return };
    let path = bench.path("f");
    fs::write(&path, b"one").unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"two").unwrap();
    let times = |m: fs::Metadata| (m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    let before = times(fs::metadata(&path).unwrap());
    bench.mounted().kernel_cache().entry(ROOT_INO, b"f");
    bench.mounted().kernel_cache().settle();
    bench.calls.take();
    assert_eq!(times(fs::metadata(&path).unwrap()), before);
    assert_eq!(count(&bench.calls.take(), "lookup"), 1);
}

#[test]
fn names_attributes_pages_and_listings_are_asked_for_once() {
    let Some(bench) = bench() else { return };
    fs::write(bench.path("f"), b"content").unwrap();
    let visit = || {
        assert!(fs::metadata(bench.path("missing")).is_err());
        assert_eq!(fs::read_dir(bench.dir.path()).unwrap().count(), 1);
        fs::metadata(bench.path("f")).unwrap();
    };
    visit();
    visit(); // the second opening of a directory may find the cache being filled
    bench.calls.take();
    visit();
    let calls = bench.calls.take();
    assert_eq!(count(&calls, "lookup") + count(&calls, "readdir") + count(&calls, "readdir_plus"), 0, "{calls:?}");
}

#[test]
fn a_seek_for_data_sees_what_was_only_just_written() {
    let Some(bench) = bench_with(&MountOptions { threads: 1, ..MountOptions::default() }) else { return };
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(bench.path("f")).unwrap();
    file.write_all_at(b"data", 1 << 20).unwrap();
    let at = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap();
    assert_eq!(at, 1 << 20);
    let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(1 << 20)).unwrap();
    assert_eq!(hole, (1 << 20) + 4);
    assert!(rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(2 << 20)).is_err());
}

#[test]
fn a_copy_is_one_call_whatever_its_length() {
    let Some(bench) = bench() else { return };
    fs::write(bench.path("a"), vec![7; 5 << 20]).unwrap();
    bench.calls.take();
    fs::copy(bench.path("a"), bench.path("b")).unwrap();
    let calls = bench.calls.take();
    assert_eq!((count(&calls, "copy_range"), count(&calls, "read")), (1, 0), "{calls:?}");
    assert_eq!(fs::read(bench.path("b")).unwrap(), vec![7; 5 << 20]);
}

#[test]
fn what_changed_by_itself_is_seen_once_announced() {
    let Some(bench) = bench() else { return };
    let cache = bench.mounted().kernel_cache();
    assert!(fs::metadata(bench.path("new")).is_err());
    let node = NewNode { kind: FileKind::File, perm: 0o644, uid: 0, gid: 0, rdev: 0, target: None };
    let made = bench.calls.make(ROOT_INO, b"new", &node).unwrap();
    assert!(fs::metadata(bench.path("new")).is_err(), "the kernel remembers that it was not there");
    cache.entry(ROOT_INO, b"new");
    cache.settle();
    assert_eq!(fs::read(bench.path("new")).unwrap(), b"");

    bench.calls.write(made.ino, 0, b"from elsewhere").unwrap();
    cache.inode(made.ino);
    cache.settle();
    assert_eq!(fs::metadata(bench.path("new")).unwrap().len(), 0, "the kernel trusts itself on sizes");
    cache.entry(ROOT_INO, b"new");
    cache.settle();
    assert_eq!(fs::read(bench.path("new")).unwrap(), b"from elsewhere");

    bench.calls.setattr(made.ino, &SetAttr { perm: Some(0o600), ..SetAttr::default() }).unwrap();
    cache.inode(made.ino);
    cache.settle();
    assert_eq!(fs::metadata(bench.path("new")).unwrap().mode() & 0o777, 0o600);
}

#[test]
fn a_mount_ends_once_idle_and_only_then() {
    let Some(mut bench) = bench() else { return };
    let file = File::create(bench.path("f")).unwrap();
    assert_eq!(bench.mounted().unmount(Unmount::IfIdle).unwrap_err().kind(), Kind::Busy);
    assert!(!bench.mounted().has_ended());
    drop(file);
    // The release of the file may still be under way, which keeps the mount busy for a moment.
    while bench.mounted().unmount(Unmount::IfIdle).is_err() {}
    assert!(bench.mounted().has_ended());
    drop(bench.mounted.take());
    assert!(fs::read_dir(bench.dir.path()).unwrap().next().is_none());
}

#[test]
fn a_second_mount_at_the_same_place_is_refused_in_words() {
    let Some(bench) = bench() else { return };
    let refused = mount(bench.calls.clone(), bench.dir.path(), &MountOptions::default()).unwrap_err();
    assert_eq!(refused.kind(), Kind::Busy);
    assert!(refused.chain().ends_with("lovage is already mounted there"), "{}", refused.chain());
    assert_eq!(clear_stale(bench.mounted().point()).unwrap_err().kind(), Kind::Busy);
}

#[test]
fn unmounting_from_outside_ends_the_mount_and_spares_what_is_mounted_there_next() {
    let Some(mut bench) = bench() else { return };
    let point = bench.mounted().point().to_owned();
    lovage::fuse::unmount(&point, Unmount::IfIdle).unwrap();
    bench.mounted().wait();
    let calls = bench.calls.clone();
    let next = mount(calls, &point, &MountOptions::default()).unwrap();
    drop(bench.mounted.take());
    assert!(mounts().unwrap().iter().any(|entry| entry.point == point && entry.is_ours()));
    drop(next);
    assert!(!mounts().unwrap().iter().any(|entry| entry.point == point));
}

#[test]
fn dropping_a_busy_mount_takes_it_out_of_sight() {
    let Some(mut bench) = bench() else { return };
    let point = bench.mounted().point().to_owned();
    let mut file = File::create(bench.path("f")).unwrap();
    drop(bench.mounted.take());
    assert!(!mounts().unwrap().iter().any(|entry| entry.point == point));
    file.write_all(b"still served").unwrap();
    file.sync_all().unwrap();
}

/// A mount whose reads wait, answered by deadline or signal only.
fn waiting_bench(deadline: Duration) -> Option<Bench> {
    let options = MountOptions { pooled_reads: true, read_deadline: deadline, workers: 32, ..MountOptions::default() };
    let bench = bench_with(&options)?;
    let node = NewNode { kind: FileKind::File, perm: 0o644, uid: 0, gid: 0, rdev: 0, target: None };
    let (made, fh) = bench.calls.create(ROOT_INO, b"elsewhere", &node).unwrap();
    bench.calls.write(made.ino, 0, &vec![7; 100_000]).unwrap();
    bench.calls.release(fh).unwrap();
    Some(bench)
}

/// Starts `program` on the file, waits until its read has come to the filesystem, and signals it.
fn signalled(bench: &Bench, program: &mut Command, signal: Signal) -> (ExitStatus, Duration) {
    bench.calls.take();
    let mut child = program.arg(bench.path("elsewhere")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while count(&bench.calls.take(), "read") == 0 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it read");
        std::thread::yield_now();
    }
    let begin = Instant::now();
    kill_process(Pid::from_child(&child), signal).unwrap();
    (child.wait().unwrap(), begin.elapsed())
}

/// A read past the page cache, which the kernel lets no signal end.
const DIRECT: &str = "exec dd iflag=direct bs=4096 if=$0";

#[test]
fn a_signal_ends_a_read_of_content_that_nobody_has() {
    let Some(bench) = waiting_bench(Duration::from_secs(600)) else { return };
    let gate = bench.calls.gate();
    let shut = gate.lock();
    for (name, arguments, signal) in [
        ("cat", &[][..], Signal::TERM),
        ("cat", &[], Signal::KILL),
        ("sh", &["-c", DIRECT], Signal::INT),
        ("sh", &["-c", DIRECT], Signal::KILL),
    ] {
        let mut program = Command::new(name);
        program.args(arguments);
        let (status, took) = signalled(&bench, &mut program, signal);
        assert!(!status.success(), "{name} {signal:?}");
        // The bar is 100 ms on an idle machine; this only tells it from the deadline.
        println!("F12: {name} {signal:?}: ended {} ms after the signal", took.as_millis());
        assert!(took < Duration::from_secs(30), "{name} {signal:?}: {took:?}");
    }
    drop(shut);
    assert_eq!(fs::read(bench.path("elsewhere")).unwrap().len(), 100_000, "content that came is read");
}

#[test]
fn past_the_deadline_a_read_is_an_input_output_error() {
    let Some(bench) = waiting_bench(Duration::from_millis(200)) else { return };
    let gate = bench.calls.gate();
    let shut = gate.lock();
    let error = fs::read(bench.path("elsewhere")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
    drop(shut);
    assert_eq!(fs::read(bench.path("elsewhere")).unwrap().len(), 100_000);
}

#[test]
fn a_thread_that_panics_ends_the_mount_at_once() {
    const ALONE: &str = "FSTESTS_PANIC";
    if std::env::var_os(ALONE).is_none() {
        // It aborts every mount of its process: a process of its own, not to upset the tests beside it.
        let mut test = Command::new(std::env::current_exe().unwrap());
        test.args(["--exact", "a_thread_that_panics_ends_the_mount_at_once"]).env(ALONE, "1");
        assert!(test.status().unwrap().success());
        return;
    }
    let Some(bench) = bench() else { return };
    fs::write(bench.path("f"), b"x").unwrap();
    assert!(fs::metadata(bench.path(PANICS)).is_err());
    assert!(bench.mounted().wait_at_most(Duration::from_secs(30)), "the mount hangs");
}
