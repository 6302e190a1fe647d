//! The namespace: rename in its modes, links, kinds of nodes, directories.

use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use fstests::harness::place::Place;
use rustix::fs::{CWD, FileType, Mode, RenameFlags, makedev, mknodat, renameat_with};
use rustix::io::Errno;

use super::errno;

fn rename_with(from: &Path, to: &Path, flags: RenameFlags) -> rustix::io::Result<()> {
    renameat_with(CWD, from, CWD, to, flags)
}

#[test]
fn rename_replaces_a_file_and_the_old_one_lives_while_open() {
    use std::io::Read;
    let place = Place::new("replace");
    fs::write(place.path("a"), b"new").unwrap();
    fs::write(place.path("b"), b"old").unwrap();
    let mut old = File::open(place.path("b")).unwrap();
    fs::rename(place.path("a"), place.path("b")).unwrap();
    assert_eq!(fs::read(place.path("b")).unwrap(), b"new");
    assert_eq!(errno(fs::metadata(place.path("a"))), Errno::NOENT);
    let mut data = Vec::new();
    old.read_to_end(&mut data).unwrap();
    assert_eq!(data, b"old");
    assert_eq!(old.metadata().unwrap().nlink(), 0);
}

#[test]
fn rename_noreplace_refuses_and_exchange_swaps() {
    let mut place = Place::new("modes");
    let (a, b) = (place.path("a"), place.path("b"));
    fs::write(&a, b"A").unwrap();
    fs::create_dir(&b).unwrap();
    fs::write(b.join("inside"), b"B").unwrap();
    assert_eq!(rename_with(&a, &b, RenameFlags::NOREPLACE), Err(Errno::EXIST));
    rename_with(&a, &b, RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read(&b).unwrap(), b"A");
    assert_eq!(fs::read(a.join("inside")).unwrap(), b"B");
    rename_with(&b, &place.path("c"), RenameFlags::NOREPLACE).unwrap();
    assert_eq!(rename_with(&a, &place.path("none"), RenameFlags::EXCHANGE), Err(Errno::NOENT));
    place.remount();
    assert_eq!(fs::read(place.path("c")).unwrap(), b"A");
    assert_eq!(fs::read(place.path("a/inside")).unwrap(), b"B");
}

#[test]
fn rename_keeps_the_rules_about_directories() {
    let place = Place::new("dirs");
    for dir in ["a", "a/b", "empty", "full"] {
        fs::create_dir(place.path(dir)).unwrap();
    }
    fs::write(place.path("full/f"), b"").unwrap();
    fs::write(place.path("file"), b"").unwrap();
    assert_eq!(errno(fs::rename(place.path("a"), place.path("a/b/c"))), Errno::INVAL);
    assert_eq!(errno(fs::rename(place.path("a"), place.path("full"))), Errno::NOTEMPTY);
    assert_eq!(errno(fs::rename(place.path("a"), place.path("file"))), Errno::NOTDIR);
    assert_eq!(errno(fs::rename(place.path("file"), place.path("a"))), Errno::ISDIR);
    fs::rename(place.path("a"), place.path("empty")).unwrap();
    assert!(fs::metadata(place.path("empty/b")).unwrap().is_dir());
    assert_eq!(errno(fs::remove_dir(place.path("full"))), Errno::NOTEMPTY);
    assert_eq!(errno(fs::remove_dir(place.path("file"))), Errno::NOTDIR);
    assert_eq!(errno(fs::remove_file(place.path("full"))), Errno::ISDIR);
}

#[test]
fn renaming_a_link_onto_its_own_file_does_nothing() {
    let place = Place::new("samefile");
    fs::write(place.path("a"), b"x").unwrap();
    fs::hard_link(place.path("a"), place.path("b")).unwrap();
    fs::rename(place.path("a"), place.path("b")).unwrap();
    assert_eq!(fs::metadata(place.path("a")).unwrap().nlink(), 2);
    assert_eq!(fs::read(place.path("b")).unwrap(), b"x");
}

#[test]
fn a_renamed_directory_takes_everything_with_it() {
    let mut place = Place::new("movedir");
    fs::create_dir_all(place.path("x/y/z")).unwrap();
    fs::create_dir(place.path("w")).unwrap();
    for n in 0..200 {
        fs::write(place.path(&format!("x/y/z/{n}")), format!("{n}")).unwrap();
    }
    let inode = fs::metadata(place.path("x/y")).unwrap().ino();
    fs::rename(place.path("x/y"), place.path("w/moved")).unwrap();
    assert_eq!(fs::metadata(place.path("w/moved")).unwrap().ino(), inode);
    assert_eq!(fs::metadata(place.path("w/moved/..")).unwrap().ino(), fs::metadata(place.path("w")).unwrap().ino());
    place.remount();
    for n in 0..200 {
        assert_eq!(fs::read(place.path(&format!("w/moved/z/{n}"))).unwrap(), format!("{n}").as_bytes());
    }
}

#[test]
fn symlinks_keep_their_target_byte_for_byte() {
    let mut place = Place::new("symlink");
    let long = "t/".repeat(2_000);
    for (name, target) in [("rel", "target"), ("abs", "/no/such/place"), ("long", long.as_str()), ("loop", "loop")] {
        symlink(target, place.path(name)).unwrap();
    }
    fs::write(place.path("target"), b"reached").unwrap();
    place.remount();
    assert_eq!(fs::read(place.path("rel")).unwrap(), b"reached");
    assert_eq!(fs::read_link(place.path("long")).unwrap().as_os_str().len(), long.len());
    assert_eq!(fs::symlink_metadata(place.path("rel")).unwrap().len(), 6);
    assert_eq!(errno(File::open(place.path("loop"))), Errno::LOOP);
    assert_eq!(errno(File::open(place.path("abs"))), Errno::NOENT);
}

#[test]
fn fifos_sockets_and_devices_are_kept() {
    let mut place = Place::new("special");
    let mode = Mode::from_raw_mode(0o640);
    mknodat(CWD, place.path("fifo"), FileType::Fifo, mode, 0).unwrap();
    mknodat(CWD, place.path("char"), FileType::CharacterDevice, mode, makedev(1, 3)).unwrap();
    mknodat(CWD, place.path("block"), FileType::BlockDevice, mode, makedev(7, 200)).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(place.path("sock")).unwrap();
    drop(socket);
    place.remount();
    let kind = |name: &str| fs::symlink_metadata(place.path(name)).unwrap();
    assert!(kind("fifo").file_type().is_fifo());
    assert!(kind("sock").file_type().is_socket());
    assert!(kind("char").file_type().is_char_device() && kind("char").rdev() == makedev(1, 3));
    assert!(kind("block").file_type().is_block_device() && kind("block").rdev() == makedev(7, 200));
    assert_eq!(kind("fifo").permissions().mode() & 0o777, 0o640);
}

#[test]
fn a_bound_socket_can_be_connected_to() {
    use std::io::{Read, Write};
    let place = Place::new("socket");
    let listener = std::os::unix::net::UnixListener::bind(place.path("s")).unwrap();
    let mut client = std::os::unix::net::UnixStream::connect(place.path("s")).unwrap();
    client.write_all(b"hello").unwrap();
    let mut heard = [0; 5];
    listener.accept().unwrap().0.read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"hello");
}

#[test]
fn link_counts_of_directories_follow_their_subdirectories() {
    let place = Place::new("nlink");
    fs::create_dir(place.path("d")).unwrap();
    let links = || fs::metadata(place.path("d")).unwrap().nlink();
    let before = links();
    assert!(before == 2 || before == 1, "{before}");
    fs::create_dir(place.path("d/sub")).unwrap();
    assert_eq!(links(), if before == 2 { 3 } else { 1 });
    fs::remove_dir(place.path("d/sub")).unwrap();
    assert_eq!(links(), before);
    assert_eq!(errno(fs::hard_link(place.path("d"), place.path("e"))), Errno::PERM);
}

#[test]
fn a_removed_directory_that_is_open_is_empty_and_takes_nothing() {
    let place = Place::new("rmopen");
    fs::create_dir(place.path("d")).unwrap();
    let dir = File::open(place.path("d")).unwrap();
    fs::remove_dir(place.path("d")).unwrap();
    let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
    let made = rustix::fs::openat(&dir, "f", flags, Mode::from_raw_mode(0o600));
    assert_eq!(made.unwrap_err(), Errno::NOENT);
}
