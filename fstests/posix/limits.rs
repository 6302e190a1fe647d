//! F9: long names, wide directories, huge sparse files, many links, many open-unlinked files, big attributes.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};

use fstests::harness::bytes::count;
use fstests::harness::mount::is_lovage;
use fstests::harness::place::Place;
use rustix::io::Errno;

use super::errno;

#[test]
fn a_name_may_have_255_bytes_and_not_256() {
    let place = Place::new("name");
    let longest = place.path(&"n".repeat(255));
    fs::write(&longest, b"x").unwrap();
    assert_eq!(fs::read(&longest).unwrap(), b"x");
    let over = place.path(&"n".repeat(256));
    assert_eq!(errno(File::create(&over)), Errno::NAMETOOLONG);
    assert_eq!(errno(fs::create_dir(&over)), Errno::NAMETOOLONG);
    assert_eq!(errno(fs::rename(&longest, &over)), Errno::NAMETOOLONG);
    assert_eq!(errno(fs::metadata(&over)), Errno::NAMETOOLONG);
}

#[test]
fn names_are_bytes_not_text() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new("bytes");
    let names: Vec<Vec<u8>> =
        vec![vec![0xff, 0xfe], b" ".to_vec(), b"a\nb".to_vec(), "é".into(), "e\u{301}".into(), b"...".to_vec()];
    for name in &names {
        fs::write(place.dir().join(std::ffi::OsStr::from_bytes(name)), name).unwrap();
    }
    let mut seen: Vec<Vec<u8>> =
        fs::read_dir(place.dir()).unwrap().map(|e| e.unwrap().file_name().as_bytes().to_vec()).collect();
    seen.sort();
    let mut expected = names;
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn a_wide_directory_lists_every_steady_entry_exactly_once_while_others_change() {
    let entries = count("FSTESTS_WIDE", 100_000);
    let place = Place::new("wide");
    for n in 0..entries {
        File::create(place.path(&format!("steady-{n:06}"))).unwrap();
    }
    let mut seen: HashMap<String, u32> = HashMap::new();
    for (n, entry) in fs::read_dir(place.dir()).unwrap().enumerate() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        *seen.entry(name).or_default() += 1;
        if n % 50 == 0 {
            File::create(place.path(&format!("passing-{n}"))).unwrap();
        }
        if n % 50 == 25 {
            let _ = fs::remove_file(place.path(&format!("passing-{}", n - 25)));
        }
    }
    let twice: Vec<&String> = seen.iter().filter(|(_, times)| **times > 1).map(|(name, _)| name).take(5).collect();
    assert!(twice.is_empty(), "listed twice: {twice:?}");
    let missing = (0..entries).filter(|n| !seen.contains_key(&format!("steady-{n:06}"))).count();
    assert_eq!(missing, 0, "{missing} steady entries never listed");
}

#[test]
fn a_directory_empties_while_it_is_being_listed() {
    let place = Place::new("empty");
    let dir = place.path("d");
    fs::create_dir(&dir).unwrap();
    for n in 0..5_000 {
        File::create(dir.join(format!("{n}"))).unwrap();
    }
    for entry in fs::read_dir(&dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    fs::remove_dir(&dir).unwrap();
}

#[test]
fn a_file_of_8_tib_holds_what_is_written_at_its_ends() {
    const END: u64 = 8 << 40;
    let place = Place::new("huge");
    let path = place.path("huge");
    let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
    file.write_all_at(b"begin", 0).unwrap();
    file.write_all_at(b"end", END - 3).unwrap();
    file.sync_all().unwrap();
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.len(), END);
    assert!(meta.blocks() < 1 << 16, "{} blocks for eight bytes", meta.blocks());
    let mut end = [1; 5];
    file.read_exact_at(&mut end, END - 5).unwrap();
    assert_eq!(&end, b"\0\0end");
    let mut middle = vec![1; 1 << 20];
    file.read_exact_at(&mut middle, END / 2).unwrap();
    assert!(middle.iter().all(|b| *b == 0));
    drop(file);
    fs::remove_file(&path).unwrap();
}

#[test]
fn a_thousand_open_files_live_on_without_a_name() {
    let place = Place::new("unlinked");
    let files: Vec<File> = (0..1_000_u64)
        .map(|n| {
            let path = place.path(&format!("{n}"));
            let file = OpenOptions::new().create_new(true).read(true).write(true).open(&path).unwrap();
            file.write_all_at(&n.to_le_bytes(), 0).unwrap();
            fs::remove_file(&path).unwrap();
            file
        })
        .collect();
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0);
    for (n, file) in (0_u64..).zip(&files) {
        let mut found = [0; 8];
        file.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(u64::from_le_bytes(found), n);
        assert_eq!(file.metadata().unwrap().nlink(), 0);
        file.write_all_at(b"more", 4096).unwrap();
        assert_eq!(file.metadata().unwrap().len(), 4100);
    }
}

#[test]
fn sixty_four_hard_links_are_one_file() {
    let mut place = Place::new("links");
    let first = place.path("0");
    fs::write(&first, b"one").unwrap();
    for n in 1..64 {
        fs::hard_link(&first, place.path(&format!("{n}"))).unwrap();
    }
    place.remount();
    fs::OpenOptions::new().write(true).open(place.path("63")).unwrap().write_all_at(b"two", 0).unwrap();
    let inode = fs::metadata(&first).unwrap().ino();
    for n in 0..64 {
        let path = place.path(&format!("{n}"));
        let meta = fs::metadata(&path).unwrap();
        assert_eq!((meta.nlink(), meta.ino()), (64, inode));
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
    for n in 0..63 {
        fs::remove_file(place.path(&format!("{n}"))).unwrap();
    }
    assert_eq!(fs::metadata(place.path("63")).unwrap().nlink(), 1);
    assert_eq!(fs::read(place.path("63")).unwrap(), b"two");
}

#[test]
fn an_attribute_may_have_64_kib() {
    let mut place = Place::new("xattr");
    let path = place.path("f");
    fs::write(&path, b"").unwrap();
    let value = fstests::harness::bytes::random(7, 65_536);
    match xattr::set(&path, "user.big", &value) {
        Err(e) if !is_lovage() => return eprintln!("not asked of this filesystem: {e}"),
        other => other.unwrap(),
    }
    place.remount();
    assert_eq!(xattr::get(&path, "user.big").unwrap().unwrap(), value);
    let over = vec![1; 65_537];
    assert_eq!(errno(xattr::set(&path, "user.more", &over)), Errno::TOOBIG);
}

#[test]
fn paths_go_200_directories_deep() {
    let mut place = Place::new("deep");
    let mut path = place.dir().to_owned();
    for _ in 0..200 {
        path.push("d");
    }
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("f"), b"bottom").unwrap();
    place.remount();
    assert_eq!(fs::read(path.join("f")).unwrap(), b"bottom");
    fs::remove_dir_all(place.path("d")).unwrap();
    assert_eq!(fs::read_dir(place.dir()).unwrap().count(), 0);
}
