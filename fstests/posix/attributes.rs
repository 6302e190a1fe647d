//! Modes, owners, times, extended attributes, access control lists.

use std::fs::{self, File, FileTimes, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fstests::harness::mount::is_lovage;
use fstests::harness::place::Place;
use rustix::fs::{XattrFlags, setxattr};
use rustix::io::Errno;

use super::errno;

#[test]
fn times_keep_their_nanoseconds_before_and_after_1970_and_2038() {
    let mut place = Place::new("times");
    let times = [(0_u64, 0_u32), (1_700_000_000, 123_456_789), (4_300_000_000, 999_999_999), (1, 1)];
    for (n, (seconds, nanos)) in times.iter().enumerate() {
        let time = UNIX_EPOCH + Duration::new(*seconds, *nanos);
        let file = File::create(place.path(&format!("{n}"))).unwrap();
        file.set_times(FileTimes::new().set_modified(time).set_accessed(time)).unwrap();
    }
    let early = UNIX_EPOCH - Duration::new(1_000_000, 500);
    File::create(place.path("early")).unwrap().set_times(FileTimes::new().set_modified(early)).unwrap();
    place.remount();
    for (n, (seconds, nanos)) in times.iter().enumerate() {
        let meta = fs::metadata(place.path(&format!("{n}"))).unwrap();
        assert_eq!(meta.modified().unwrap(), UNIX_EPOCH + Duration::new(*seconds, *nanos));
        assert_eq!(meta.accessed().unwrap(), UNIX_EPOCH + Duration::new(*seconds, *nanos));
    }
    assert_eq!(fs::metadata(place.path("early")).unwrap().modified().unwrap(), early);
}

#[test]
fn no_time_that_a_program_can_set_ends_the_mount() {
    let place = Place::new("faraway");
    File::create(place.path("f")).unwrap();
    let last = 999_999_999;
    for (seconds, nanos) in [(i64::MIN, 0), (i64::MIN, last), (i64::MIN + 1, last), (i64::MAX, last), (-1, last)] {
        let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(rustix::fs::CWD, place.path("f"), &times, rustix::fs::AtFlags::empty()).unwrap();
        fs::metadata(place.path("f")).unwrap();
        File::create(place.path("g")).unwrap();
    }
}

#[test]
fn operations_move_the_times_posix_says_they_move() {
    let place = Place::new("moves");
    let old = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let path = place.path("f");
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
    let age = || file.set_times(FileTimes::new().set_modified(old).set_accessed(old)).unwrap();
    let moved = |what: SystemTime| what > old + Duration::from_secs(1);
    let mtime = || fs::metadata(&path).unwrap().modified().unwrap();
    let ctime = || (fs::metadata(&path).unwrap().ctime(), fs::metadata(&path).unwrap().ctime_nsec());
    age();
    file.write_all_at(b"x", 0).unwrap();
    assert!(moved(mtime()), "write");
    age();
    file.set_len(100).unwrap();
    assert!(moved(mtime()), "truncate");
    age();
    let before = ctime();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(!moved(mtime()) && ctime() >= before, "chmod");
    let dir_time = || fs::metadata(place.dir()).unwrap().modified().unwrap();
    let before = dir_time();
    fs::rename(&path, place.path("g")).unwrap();
    fs::remove_file(place.path("g")).unwrap();
    assert!(dir_time() >= before);
    assert_eq!(file.metadata().unwrap().nlink(), 0);
}

#[test]
fn a_time_set_by_hand_survives_data_still_in_the_cache() {
    let mut place = Place::new("settime");
    let old = UNIX_EPOCH + Duration::new(1_234_567_890, 42);
    let file = File::create(place.path("f")).unwrap();
    file.write_all_at(&vec![1; 100_000], 0).unwrap();
    file.set_times(FileTimes::new().set_modified(old)).unwrap();
    file.sync_all().unwrap();
    drop(file);
    assert_eq!(fs::metadata(place.path("f")).unwrap().modified().unwrap(), old);
    place.remount();
    assert_eq!(fs::metadata(place.path("f")).unwrap().modified().unwrap(), old);
}

#[test]
fn modes_and_owners_are_kept_in_full() {
    let mut place = Place::new("modes");
    for mode in [0o000, 0o777, 0o4755, 0o2755, 0o1777, 0o7777] {
        let path = place.path(&format!("{mode:o}"));
        File::create(&path).unwrap();
        chown(&path, Some(4_000_000_000), Some(65_534)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }
    place.remount();
    for mode in [0o000, 0o777, 0o4755, 0o2755, 0o1777, 0o7777] {
        let meta = fs::metadata(place.path(&format!("{mode:o}"))).unwrap();
        assert_eq!((meta.permissions().mode() & 0o7777, meta.uid(), meta.gid()), (mode, 4_000_000_000, 65_534));
    }
}

#[test]
fn a_setgid_directory_hands_down_its_group() {
    let place = Place::new("setgid");
    let dir = place.path("d");
    fs::create_dir(&dir).unwrap();
    chown(&dir, Some(0), Some(1234)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o2775)).unwrap();
    File::create(dir.join("f")).unwrap();
    fs::create_dir(dir.join("sub")).unwrap();
    assert_eq!(fs::metadata(dir.join("f")).unwrap().gid(), 1234);
    let sub = fs::metadata(dir.join("sub")).unwrap();
    assert_eq!((sub.gid(), sub.permissions().mode() & 0o2000), (1234, 0o2000));
}

#[test]
fn writing_as_another_user_takes_the_setuid_bit_away() {
    let place = Place::new("killpriv");
    let path = place.path("f");
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    File::create(&path).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o6777)).unwrap();
    let script = format!("echo x >> {}", path.display());
    let status = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", &script])
        .status();
    match status {
        Ok(status) if status.success() => {}
        // A mount without allow_other, or without setpriv, cannot be asked.
        other => return eprintln!("another user cannot write here: {other:?}"),
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o777);
}

#[test]
fn attributes_are_set_listed_replaced_and_removed() {
    let mut place = Place::new("xattrs");
    let path = place.path("f");
    File::create(&path).unwrap();
    let values: Vec<(String, Vec<u8>)> =
        (0..20_u8).map(|n| (format!("user.n{n}"), vec![n; usize::from(n) * 10])).collect();
    for (name, value) in &values {
        xattr::set(&path, name, value).unwrap();
    }
    assert_eq!(setxattr(&path, "user.n1", b"", XattrFlags::CREATE), Err(Errno::EXIST));
    assert_eq!(setxattr(&path, "user.none", b"", XattrFlags::REPLACE), Err(Errno::NODATA));
    xattr::remove(&path, "user.n0").unwrap();
    assert_eq!(errno(xattr::remove(&path, "user.n0")), Errno::NODATA);
    place.remount();
    let mut names: Vec<String> =
        xattr::list(&path).unwrap().map(|n| n.into_string().unwrap()).filter(|n| n.starts_with("user.")).collect();
    names.sort();
    let mut expected: Vec<String> = values[1..].iter().map(|(n, _)| n.clone()).collect();
    expected.sort();
    assert_eq!(names, expected);
    for (name, value) in &values[1..] {
        assert_eq!(xattr::get(&path, name).unwrap().as_ref(), Some(value));
    }
    assert_eq!(xattr::get(&path, "user.absent").unwrap(), None);
}

#[test]
fn directories_and_trusted_names_take_attributes_too() {
    let mut place = Place::new("xattrdir");
    fs::create_dir(place.path("d")).unwrap();
    xattr::set(place.path("d"), "user.a", b"1").unwrap();
    match xattr::set(place.path("d"), "trusted.b", b"2") {
        Ok(()) => {}
        Err(e) => return eprintln!("no trusted attributes here: {e}"),
    }
    place.remount();
    assert_eq!(xattr::get(place.path("d"), "user.a").unwrap().unwrap(), b"1");
    assert_eq!(xattr::get(place.path("d"), "trusted.b").unwrap().unwrap(), b"2");
}

/// Runs a program of the `acl` package; `None` when it is not installed.
fn tool(program: &str, arguments: &[&str]) -> Option<(bool, String)> {
    let out = Command::new(program).args(arguments).output().ok()?;
    Some((
        out.status.success(),
        String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr),
    ))
}

#[test]
fn access_lists_are_kept_inherited_and_shown_in_the_mode() {
    let mut place = Place::new("acl");
    let dir = place.path("d");
    fs::create_dir(&dir).unwrap();
    let path = dir.to_string_lossy().into_owned();
    let Some((set, said)) = tool("setfacl", &["-m", "u:65534:rwx,d:u:65534:rx,d:g:1234:rw", &path]) else {
        return eprintln!("no setfacl: not run");
    };
    if !set && said.contains("not supported") && !is_lovage() {
        return eprintln!("no access lists here: {said}");
    }
    assert!(set, "{said}");
    File::create(dir.join("f")).unwrap();
    fs::create_dir(dir.join("sub")).unwrap();
    place.remount();
    let acl = tool("getfacl", &["-n", "-p", &path]).unwrap().1;
    assert!(
        acl.contains("user:65534:rwx")
            && acl.contains("default:user:65534:r-x")
            && acl.contains("default:group:1234:rw-"),
        "{acl}"
    );
    let inherited = tool("getfacl", &["-n", "-p", &dir.join("f").to_string_lossy()]).unwrap().1;
    assert!(inherited.contains("user:65534:r-x") && inherited.contains("group:1234:rw-"), "{inherited}");
    let below = tool("getfacl", &["-n", "-p", &dir.join("sub").to_string_lossy()]).unwrap().1;
    assert!(below.contains("default:user:65534:r-x"), "{below}");
}

#[test]
fn birth_time_is_there_and_does_not_move() {
    let mut place = Place::new("birth");
    fs::write(place.path("f"), b"x").unwrap();
    let Ok(born) = fs::metadata(place.path("f")).unwrap().created() else {
        return eprintln!("no birth time through this filesystem");
    };
    fs::write(place.path("f"), b"yy").unwrap();
    place.remount();
    assert_eq!(fs::metadata(place.path("f")).unwrap().created().unwrap(), born);
}
