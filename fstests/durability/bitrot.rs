//! D8 and D10: flipped bits anywhere in the home never reach a program, fsck finds them, indexes grow again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fstests::harness::bytes::{Random, count, random, seed, text};
use fstests::harness::mount::{Mount, is_lovage};
use fstests::harness::scratch::Scratch;
use fstests::harness::snapshot;

use crate::program::fsck;

/// A home with files of many sizes, cleanly stopped, and what must be read back.
fn filled(scratch: &Scratch) -> (PathBuf, BTreeMap<String, Vec<u8>>) {
    let home = scratch.path().join("home");
    let mut mount = Mount::start(&home, &scratch.dir("mnt"), &[]);
    let mut files = BTreeMap::new();
    fs::create_dir(mount.dir().join("sub")).unwrap();
    for n in 0..60_u64 {
        let size = [10, 300, 5_000, 70_000, 700_000][usize::try_from(n).unwrap() % 5];
        let name = if n % 2 == 0 { format!("f{n}") } else { format!("sub/f{n}") };
        let data = if n % 3 == 0 { text(n, size) } else { random(n, size) };
        fs::write(mount.dir().join(&name), &data).unwrap();
        files.insert(name, data);
    }
    mount.stop();
    (home, files)
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(dir) = pending.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            if meta.is_dir() {
                pending.push(path);
            } else if meta.is_file() && meta.len() > 0 {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Flips one bit of a non-zero byte: holes and reserved space hold nothing to damage.
fn flip(path: &Path, random: &mut Random) -> Option<u64> {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    for _ in 0..200 {
        let at = random.below(len);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        if byte[0] != 0 {
            byte[0] ^= 1 << random.below(8);
            file.write_all_at(&byte, at).unwrap();
            return Some(at);
        }
    }
    None
}

/// Reads everything; the paths that gave an error. Wrong bytes end the test.
fn unreadable(dir: &Path, files: &BTreeMap<String, Vec<u8>>, what: &str) -> Vec<String> {
    let mut lost = Vec::new();
    for (name, expected) in files {
        match fs::read(dir.join(name)) {
            Ok(data) => assert!(data == *expected, "{what}: wrong bytes in {name}"),
            Err(e) => {
                let code = e.raw_os_error().unwrap_or(0);
                assert!(code == libc::EIO, "{what}: {name} gave {e}, EIO was due");
                lost.push(name.clone());
            }
        }
    }
    lost
}

fn copy_tree(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    let status = Command::new("cp").args(["-a", "--sparse=always"]).arg(from).arg(to).status().unwrap();
    assert!(status.success());
}

#[test]
fn flipped_bits_are_never_served_and_fsck_names_what_they_hit() {
    if !is_lovage() {
        return eprintln!("not asked of this filesystem");
    }
    let rounds = count("FSTESTS_FLIPS", 40);
    let mut dice = Random::new(seed("bitrot"));
    let scratch = Scratch::new("bitrot");
    let (home, files) = filled(&scratch);
    let (mut refused, mut hit, mut harmless) = (0, 0, 0);
    for round in 0..rounds {
        let damaged = scratch.path().join("damaged");
        copy_tree(&home, &damaged);
        let pool = files_below(&damaged);
        let target = &pool[dice.index(pool.len())];
        let Some(at) = flip(target, &mut dice) else { continue };
        let what = format!("round {round}, {} at {at}", target.strip_prefix(&damaged).unwrap().display());
        match Mount::try_start(&damaged, &scratch.dir("mnt"), &[]) {
            Err(why) => {
                assert!(!why.contains("panicked"), "{what}: {why}");
                refused += 1;
            }
            Ok(mut mount) => {
                let lost = unreadable(mount.dir(), &files, &what);
                mount.stop();
                let report = fsck(&damaged, &["--read-data"]);
                if lost.is_empty() {
                    harmless += 1;
                } else {
                    hit += 1;
                    assert!(report["bad"].as_u64().unwrap_or(0) > 0, "{what}: lost {lost:?}, fsck: {report}");
                    assert!(names_one_of(&report, &lost), "{what}: lost {lost:?}, fsck: {report}");
                    let log = mount.said();
                    assert!(lost.iter().all(|name| is_logged(&log, name)), "{what}: lost {lost:?}, log: {log}");
                }
            }
        }
    }
    println!("{rounds} flips: {hit} gave EIO and were named, {refused} refused to open, {harmless} did no harm");
}

fn names_one_of(report: &serde_json::Value, lost: &[String]) -> bool {
    let listed = report["unrepairable"].as_array().cloned().unwrap_or_default();
    let paths: Vec<&str> = listed.iter().filter_map(|entry| entry["path"].as_str()).collect();
    lost.iter().all(|name| {
        paths.iter().any(|path| path.trim_start_matches('/').ends_with(name.as_str()) || path.ends_with("/sub"))
    })
}

/// Whether the daemon's log names the path of a damaged file, or of the directory that keeps it from being found.
fn is_logged(log: &str, name: &str) -> bool {
    let damage = log.lines().filter(|line| line.contains("damaged: "));
    damage.into_iter().any(|line| line.contains(name) || line.contains("/sub") || line.contains("path=\"/\""))
}

#[test]
fn a_home_without_its_rebuildable_indexes_comes_back_whole() {
    if !is_lovage() {
        return eprintln!("not asked of this filesystem");
    }
    let scratch = Scratch::new("index");
    let (home, files) = filled(&scratch);
    let mut mount = Mount::start(&home, &scratch.dir("mnt"), &[]);
    let before = snapshot::take(mount.dir());
    mount.stop();
    let mut dropped = Vec::new();
    for path in files_below(&home) {
        let name = path.strip_prefix(&home).unwrap().to_string_lossy().into_owned();
        if path.extension().is_some_and(|e| e == "index") || name.contains("/dedup/") {
            fs::remove_file(&path).unwrap();
            dropped.push(name);
        }
    }
    println!("dropped {dropped:?}");
    // Both kinds, or the test proves less than its name says.
    assert!(dropped.iter().any(|n| n.contains(".index")), "no arena index: did the layout of the home change?");
    assert!(dropped.iter().any(|n| n.contains("/dedup/")), "no dedup index: did the layout of the home change?");
    let mut mount = Mount::start(&home, &scratch.dir("mnt"), &[]);
    assert!(unreadable(mount.dir(), &files, "without indexes").is_empty());
    snapshot::assert_same(&snapshot::take(mount.dir()), &before, "without indexes");
    mount.stop();
    assert_eq!(fsck(&home, &["--read-data"])["bad"], 0);
}

#[test]
fn a_cut_off_file_in_the_home_is_a_clear_error_or_loses_nothing() {
    if !is_lovage() {
        return eprintln!("not asked of this filesystem");
    }
    let mut dice = Random::new(seed("truncated"));
    let scratch = Scratch::new("truncated");
    let (home, files) = filled(&scratch);
    for path in files_below(&home) {
        let damaged = scratch.path().join("damaged");
        copy_tree(&home, &damaged);
        let target = damaged.join(path.strip_prefix(&home).unwrap());
        let len = fs::metadata(&target).unwrap().len();
        File::options().write(true).open(&target).unwrap().set_len(dice.below(len)).unwrap();
        let what = format!("cut {}", path.strip_prefix(&home).unwrap().display());
        match Mount::try_start(&damaged, &scratch.dir("mnt"), &[]) {
            Err(why) => assert!(!why.contains("panicked"), "{what}: {why}"),
            Ok(mut mount) => {
                for (name, expected) in &files {
                    if let Ok(data) = fs::read(mount.dir().join(name)) {
                        assert!(data == *expected, "{what}: wrong bytes in {name}");
                    }
                }
                mount.stop();
            }
        }
    }
}
