//! The model against plain sentences about filesystems, and its content against a plain vector.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]

use std::sync::Arc;

use lovage::base::Kind;
use lovage::base::port::{Seeded, Time};
use lovage::volume::FileSystem;
use lovage::volume::api::{
    Attr, FallocMode, Fh, FileKind, Ino, NewNode, ROOT_INO, RenameMode, SeekWhence, SetAttr, SetTime, XattrMode,
};
use proptest::prelude::*;

use super::ModelFs;
use super::content::Content;

fn model() -> ModelFs {
    ModelFs::new(Arc::new(Seeded::new(1)))
}

fn new(kind: FileKind) -> NewNode {
    NewNode { kind, perm: 0o755, uid: 1, gid: 2, rdev: 0, target: None }
}

fn file(fs: &ModelFs, name: &[u8]) -> Ino {
    fs.make(ROOT_INO, name, &new(FileKind::File)).unwrap().ino
}

fn directory(fs: &ModelFs, parent: Ino, name: &[u8]) -> Ino {
    fs.make(parent, name, &new(FileKind::Directory)).unwrap().ino
}

fn names(fs: &ModelFs, ino: Ino) -> Vec<String> {
    let fh = fs.opendir(ino).unwrap();
    let mut names = Vec::new();
    fs.readdir(fh, 0, &mut |entry, _| {
        names.push(String::from_utf8_lossy(entry.name.as_bytes()).into_owned());
        true
    })
    .unwrap();
    fs.releasedir(fh).unwrap();
    names
}

fn nlink(fs: &ModelFs, ino: Ino) -> u32 {
    fs.getattr(ino).unwrap().nlink
}

#[test]
fn a_directory_counts_its_subdirectories() {
    let fs = model();
    let (a, b) = (directory(&fs, ROOT_INO, b"a"), directory(&fs, ROOT_INO, b"b"));
    assert_eq!(nlink(&fs, ROOT_INO), 4);
    fs.rename(ROOT_INO, b"b", a, b"b", RenameMode::Replace).unwrap();
    assert_eq!((nlink(&fs, ROOT_INO), nlink(&fs, a), nlink(&fs, b)), (3, 3, 2));
    fs.rmdir(a, b"b").unwrap();
    assert_eq!(nlink(&fs, a), 2);
}

#[test]
fn a_file_lives_as_long_as_somebody_has_it() {
    let fs = model();
    let (attr, fh) = fs.create(ROOT_INO, b"f", &new(FileKind::File)).unwrap();
    fs.write(attr.ino, 0, b"kept").unwrap();
    fs.unlink(ROOT_INO, b"f").unwrap();
    assert_eq!(fs.read(attr.ino, 0, 10).unwrap(), b"kept");
    fs.forget(attr.ino, 1);
    assert_eq!(nlink(&fs, attr.ino), 0);
    fs.release(fh).unwrap();
    assert_eq!(fs.getattr(attr.ino).unwrap_err().kind(), Kind::Stale);
    assert_eq!(fs.node_count(), 1);
}

#[test]
fn links_share_everything_and_directories_have_none() {
    let fs = model();
    let ino = file(&fs, b"f");
    assert_eq!(fs.link(ino, ROOT_INO, b"g").unwrap().nlink, 2);
    assert_eq!(fs.lookup(ROOT_INO, b"g").unwrap().ino, ino);
    let d = directory(&fs, ROOT_INO, b"d");
    assert_eq!(fs.link(d, ROOT_INO, b"e").unwrap_err().kind(), Kind::NotPermitted);
    assert_eq!(fs.link(ino, ROOT_INO, b"g").unwrap_err().kind(), Kind::Exists);
}

#[test]
fn renames_keep_to_the_rules_of_kinds() {
    let fs = model();
    let (f, d) = (file(&fs, b"f"), directory(&fs, ROOT_INO, b"d"));
    let rename = |from: &[u8], to: &[u8], mode| fs.rename(ROOT_INO, from, ROOT_INO, to, mode);
    let kind = |result: lovage::base::Result<()>| result.unwrap_err().kind();
    assert_eq!(kind(rename(b"f", b"d", RenameMode::Replace)), Kind::IsDirectory);
    assert_eq!(kind(rename(b"d", b"f", RenameMode::Replace)), Kind::NotDirectory);
    assert_eq!(kind(rename(b"f", b"d", RenameMode::NoReplace)), Kind::Exists);
    assert_eq!(kind(rename(b"f", b"none", RenameMode::Exchange)), Kind::NotFound);
    assert_eq!(kind(fs.rename(ROOT_INO, b"d", d, b"in", RenameMode::Replace)), Kind::Invalid);
    rename(b"f", b"d", RenameMode::Exchange).unwrap();
    assert_eq!(fs.lookup(ROOT_INO, b"d").unwrap().ino, f);
    assert_eq!(fs.lookup(ROOT_INO, b"f").unwrap().ino, d);
    assert_eq!(nlink(&fs, ROOT_INO), 3);
}

#[test]
fn only_an_empty_directory_is_replaced_or_removed() {
    let fs = model();
    let (a, _) = (directory(&fs, ROOT_INO, b"a"), directory(&fs, ROOT_INO, b"b"));
    directory(&fs, a, b"x");
    let replaced = fs.rename(ROOT_INO, b"b", ROOT_INO, b"a", RenameMode::Replace);
    assert_eq!(replaced.unwrap_err().kind(), Kind::NotEmpty);
    assert_eq!(fs.rmdir(ROOT_INO, b"a").unwrap_err().kind(), Kind::NotEmpty);
    fs.rmdir(a, b"x").unwrap();
    fs.rename(ROOT_INO, b"b", ROOT_INO, b"a", RenameMode::Replace).unwrap();
    assert_eq!(names(&fs, ROOT_INO), [".", "..", "a"]);
}

#[test]
fn nothing_is_made_in_a_removed_directory() {
    let fs = model();
    let d = directory(&fs, ROOT_INO, b"d");
    fs.rmdir(ROOT_INO, b"d").unwrap();
    assert_eq!(fs.make(d, b"x", &new(FileKind::File)).unwrap_err().kind(), Kind::NotFound);
    assert_eq!(names(&fs, d), [".", ".."]);
}

#[test]
fn a_listing_resumes_after_any_cookie_and_starts_anew_from_zero() {
    let fs = model();
    for n in 0..10 {
        file(&fs, format!("f{n}").as_bytes());
    }
    let fh = fs.opendir(ROOT_INO).unwrap();
    let one = |cookie: u64| {
        let mut found = None;
        fs.readdir(fh, cookie, &mut |entry, _| found.is_none() && found.insert(entry).cookie > 0).unwrap();
        found
    };
    let (mut cookie, mut seen) = (0, 0);
    while let Some(entry) = one(cookie) {
        (cookie, seen) = (entry.cookie, seen + 1);
    }
    assert_eq!(seen, 12);
    file(&fs, b"later");
    assert!(one(cookie).is_none());
    assert!(one(0).is_some() && one(cookie).is_some());
}

#[test]
fn attributes_are_not_given_for_a_name_that_has_moved_on() {
    let fs = model();
    file(&fs, b"f");
    let fh = fs.opendir(ROOT_INO).unwrap();
    let attrs = |fh: Fh, cookie| {
        let mut found: Vec<Option<Attr>> = Vec::new();
        fs.readdir_plus(fh, cookie, &mut |_, attr| {
            found.push(attr);
            true
        })
        .unwrap();
        found
    };
    assert!(attrs(fh, 2)[0].is_some());
    fs.unlink(ROOT_INO, b"f").unwrap();
    file(&fs, b"f");
    assert_eq!(attrs(fh, 2), [None]);
}

#[test]
fn a_change_of_nothing_changes_nothing() {
    let fs = model();
    let ino = file(&fs, b"f");
    let before = fs.getattr(ino).unwrap();
    assert_eq!(fs.setattr(ino, &SetAttr::default()).unwrap(), before);
}

#[test]
fn times_given_win_and_writes_leave_them_alone() {
    let fs = model();
    let ino = file(&fs, b"f");
    let change = SetAttr { mtime: Some(SetTime::At(Time(5))), ctime: Some(Time(6)), ..SetAttr::default() };
    fs.setattr(ino, &change).unwrap();
    fs.write(ino, 0, b"x").unwrap();
    let attr = fs.getattr(ino).unwrap();
    assert_eq!((attr.mtime, attr.ctime), (Time(5), Time(6)));
    let attr = fs.setattr(ino, &SetAttr { size: Some(9), ..SetAttr::default() }).unwrap();
    assert!(attr.mtime > Time(5) && attr.ctime > Time(6));
}

#[test]
fn changing_the_owner_takes_privileges_away_except_on_directories() {
    let fs = model();
    let (f, d) = (file(&fs, b"f"), directory(&fs, ROOT_INO, b"d"));
    for (ino, perm, left) in [(f, 0o6777, 0o777), (f, 0o6767, 0o2767), (d, 0o2770, 0o2770)] {
        fs.setattr(ino, &SetAttr { perm: Some(perm), ..SetAttr::default() }).unwrap();
        assert_eq!(fs.setattr(ino, &SetAttr { uid: Some(9), ..SetAttr::default() }).unwrap().perm, left, "{perm:o}");
    }
}

#[test]
fn a_set_group_id_directory_hands_its_group_down() {
    let fs = model();
    let d = directory(&fs, ROOT_INO, b"d");
    fs.setattr(d, &SetAttr { perm: Some(0o2755), gid: None, ..SetAttr::default() }).unwrap();
    fs.setattr(d, &SetAttr { gid: Some(77), ..SetAttr::default() }).unwrap();
    let child = fs.make(d, b"c", &new(FileKind::Directory)).unwrap();
    assert_eq!((child.gid, child.perm), (77, 0o2755));
    assert_eq!(fs.make(d, b"f", &new(FileKind::File)).unwrap().perm, 0o755);
}

#[test]
fn attributes_follow_their_modes_and_limits() {
    let fs = model();
    let ino = file(&fs, b"f");
    let set = |value: &[u8], mode| fs.setxattr(ino, b"user.a", value, mode);
    assert_eq!(set(b"1", XattrMode::Replace).unwrap_err().kind(), Kind::NoAttribute);
    set(b"1", XattrMode::Create).unwrap();
    assert_eq!(set(b"2", XattrMode::Create).unwrap_err().kind(), Kind::Exists);
    assert_eq!(set(&vec![0; 70_000], XattrMode::Set).unwrap_err().kind(), Kind::Full);
    assert_eq!(fs.getxattr(ino, b"user.a").unwrap(), b"1");
    assert_eq!(fs.listxattr(ino).unwrap(), [b"user.a".to_vec()]);
    fs.removexattr(ino, b"user.a").unwrap();
    assert_eq!(fs.removexattr(ino, b"user.a").unwrap_err().kind(), Kind::NoAttribute);
}

#[test]
fn data_and_holes_are_found_page_by_page() {
    let fs = model();
    let ino = file(&fs, b"f");
    fs.write(ino, 10_000, b"x").unwrap();
    fs.setattr(ino, &SetAttr { size: Some(20_000), ..SetAttr::default() }).unwrap();
    let seek = |offset, whence| fs.seek(ino, offset, whence).map_err(|e| e.kind());
    assert_eq!(seek(0, SeekWhence::Data), Ok(8192));
    assert_eq!(seek(9000, SeekWhence::Data), Ok(9000));
    assert_eq!(seek(9000, SeekWhence::Hole), Ok(12_288));
    assert_eq!(seek(0, SeekWhence::Hole), Ok(0));
    assert_eq!(seek(12_288, SeekWhence::Data), Err(Kind::NotFound));
    assert_eq!(seek(20_000, SeekWhence::Hole), Err(Kind::NotFound));
}

#[derive(Debug, Clone)]
enum Change {
    Write(u64, Vec<u8>),
    Resize(u64),
    Clear(u64, u64),
}

fn changes() -> impl Strategy<Value = Change> {
    let at = 0..40_000_u64;
    prop_oneof![
        (at.clone(), proptest::collection::vec(1..=255_u8, 0..9000)).prop_map(|(at, data)| Change::Write(at, data)),
        at.clone().prop_map(Change::Resize),
        (at, 0..20_000_u64).prop_map(|(at, len)| Change::Clear(at, len)),
    ]
}

proptest! {
    #[test]
    fn content_is_a_vector_of_bytes(script in proptest::collection::vec(changes(), 1..30)) {
        let (mut content, mut plain) = (Content::default(), Vec::new());
        for change in script {
            match change {
                Change::Write(at, data) => {
                    if !data.is_empty() { content.write(at, &data); }
                    if !data.is_empty() {
                        plain.resize(plain.len().max(at as usize + data.len()), 0);
                        plain[at as usize..at as usize + data.len()].copy_from_slice(&data);
                    }
                }
                Change::Resize(size) => {
                    content.resize(size);
                    plain.resize(size as usize, 0);
                }
                Change::Clear(at, len) => {
                    let range = at.min(content.size)..(at + len).min(content.size);
                    content.clear(range.start, range.end);
                    plain[range.start as usize..range.end as usize].fill(0);
                }
            }
            prop_assert_eq!(content.size, plain.len() as u64);
        }
        prop_assert_eq!(content.read(0, 1 << 20), plain.clone());
        // What lies between a hole's start and the next data is all zeros.
        let mut at = 0;
        while let Some(hole) = content.next_hole(at) {
            let data = content.next_data(hole).unwrap_or(content.size);
            prop_assert!(plain[hole as usize..data as usize].iter().all(|b| *b == 0));
            at = data.max(hole + 1);
        }
    }

    #[test]
    fn an_allocation_never_shrinks_a_file(offset in 0..100_000_u64, len in 1..100_000_u64, keep_size: bool) {
        let fs = model();
        let ino = file(&fs, b"f");
        fs.write(ino, 0, &[7; 5000]).unwrap();
        fs.fallocate(ino, offset, len, FallocMode { keep_size, ..FallocMode::default() }).unwrap();
        let size = fs.getattr(ino).unwrap().size;
        prop_assert_eq!(size, if keep_size { 5000 } else { 5000.max(offset + len) });
        prop_assert_eq!(fs.read(ino, 0, 5000).unwrap(), vec![7; 5000]);
    }
}
