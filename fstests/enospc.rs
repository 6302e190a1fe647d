//! F10: the volume's home on a small disk that is filled and emptied, again and again. A full disk says so and nothing
//! else; what was there stays; deleting always works; and the space comes back.
//!
//! Needs root and a loop device. `FSTESTS_CYCLES=50` is the nightly bar.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use fstests::harness::binary;
use fstests::harness::bytes::{Random, count, random, seed};
use fstests::harness::ext4::Ext4;
use fstests::harness::mount::Mount;
use fstests::harness::program::finish;
use fstests::harness::scratch::Scratch;

const DISK: u64 = 256 << 20;
/// What every cycle must be able to store: what the disk has, less reserves and what files take beside their bytes.
const LEAST: u64 = 130 << 20;
const ENOSPC: i32 = 28;

/// Writes files until the disk is full; how many bytes of them were synced.
fn fill(dir: &Path, random_numbers: &mut Random) -> (u64, io::Error) {
    let mut synced = 0;
    for number in 0.. {
        let len = 4096 + random_numbers.index(6 << 20);
        match write(&dir.join(format!("fill{number}")), &random(random_numbers.word(), len)) {
            Ok(()) => synced += len as u64,
            Err(e) => return (synced, e),
        }
    }
    unreachable!("a disk of {DISK} bytes is never full")
}

fn write(path: &Path, data: &[u8]) -> io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(data)?;
    file.sync_all()
}

fn empty(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap() {
        fs::remove_file(entry.unwrap().path()).expect("deleting always works");
    }
}

#[test]
fn a_full_disk_says_so_keeps_what_it_has_and_takes_new_things_once_old_ones_went() {
    let cycles = count("FSTESTS_CYCLES", 6);
    let mut numbers = Random::new(seed("enospc"));
    let scratch = Scratch::new("enospc");
    let disk = Ext4::make(&scratch.path().join("image"), DISK, &scratch.dir("disk"));
    let mut mount = Mount::start(&disk.dir().join("home"), &scratch.dir("mnt"), &[]);
    let kept: Vec<Vec<u8>> = (0..8).map(|n| random(n, 300_000)).collect();
    for (number, data) in kept.iter().enumerate() {
        write(&mount.dir().join(format!("kept{number}")), data).unwrap();
    }
    let dir = mount.dir().join("fill");
    fs::create_dir(&dir).unwrap();
    for cycle in 0..cycles {
        let (synced, error) = fill(&dir, &mut numbers);
        assert_eq!(error.raw_os_error(), Some(ENOSPC), "cycle {cycle}: {error}\n{}", mount.said());
        assert!(synced >= LEAST, "cycle {cycle}: only {} MiB fit: space does not come back", synced >> 20);
        for (number, data) in kept.iter().enumerate() {
            let path = mount.dir().join(format!("kept{number}"));
            assert!(fs::read(path).unwrap() == *data, "cycle {cycle}: kept{number} changed");
        }
        empty(&dir);
        if cycle % 5 == 3 {
            mount.restart();
        }
    }
    println!("{cycles} cycles of filling and emptying");
    mount.stop();
    drop(mount);
    drop(disk);
}

#[test]
fn a_disk_that_something_else_filled_is_told_by_status() {
    let scratch = Scratch::new("enospc-status");
    let disk = Ext4::make(&scratch.path().join("image"), DISK, &scratch.dir("disk"));
    let mut mount = Mount::start(&disk.dir().join("home"), &scratch.dir("mnt"), &[]);
    write(&mount.dir().join("kept"), b"kept").unwrap();
    let mut other = File::create(disk.dir().join("other")).unwrap();
    let full = (0..DISK >> 12).map(|_| other.write_all(&[1; 4096])).find_map(Result::err).expect("the disk is full");
    assert_eq!(full.raw_os_error(), Some(ENOSPC), "{full}");
    // What changed cannot be counted without sealing it, for which there is no room.
    let refused = (0..).map(|n| write(&mount.dir().join(format!("f{n}")), &random(n, 1 << 20))).find_map(Result::err);
    assert_eq!(refused.unwrap().raw_os_error(), Some(ENOSPC));
    let said = finish(Command::new(binary::lovage()).arg("--home").arg(mount.home()).args(["status", "--json"])).done();
    assert_eq!(said.json()["volumes"][0]["full"], true, "{said:?}");
    drop(other);
    fs::remove_file(disk.dir().join("other")).unwrap();
    write(&mount.dir().join("later"), b"later").unwrap();
    assert_eq!(fs::read(mount.dir().join("kept")).unwrap(), b"kept");
    mount.stop();
    drop(mount);
    drop(disk);
}
