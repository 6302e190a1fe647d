//! D3: the power fails at any moment. ext4 on a loop device over a disk that logs its writes; lovage works in it;
//! every image the disk could have been left with opens, and holds what was acknowledged by then.
//!
//! Needs root, a loop device and /dev/fuse. `FSTESTS_MOUNT` puts another filesystem in lovage's place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use fstests::harness::bytes::{Random, count, seed};
use fstests::harness::disk::{Disk, Fate, Recording};
use fstests::harness::ext4::{Ext4, run};
use fstests::harness::load::{Context, History, Load};
use fstests::harness::mount::{Mount, detach};
use fstests::harness::scratch::Scratch;

const DISK: u64 = 1 << 30;

/// What one run left behind.
struct Played {
    recording: Recording,
    histories: Vec<Box<dyn History>>,
    /// Entries of the log when the mount was ready.
    ready: usize,
    root: PathBuf,
}

/// Formats, mounts, works until enough was acknowledged, and pulls the plug on the recorder.
fn play(scratch: &Scratch, seed: u64, acknowledgements: usize) -> Played {
    let image = scratch.path().join("fresh");
    std::fs::File::create(&image).unwrap().set_len(DISK).unwrap();
    let name = image.to_string_lossy().into_owned();
    run("mkfs.ext4", &["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-J", "size=16", &name]);
    let disk = Disk::serve(&image, &scratch.dir("disk")).unwrap();
    let ext4 = Ext4::mount(&disk.file(), &scratch.dir("ext4"));
    let now = disk.position();
    let mut mount = Mount::start(&ext4.dir().join("home"), &scratch.dir("mnt"), &[]);
    let ready = usize::try_from(now()).unwrap();
    let (sender, receiver) = mpsc::channel();
    let context = Context { stop: Arc::new(AtomicBool::new(false)), acknowledged: sender, now };
    let load = Load::start(&mount.dir().join("load"), seed, &context);
    for _ in 0..acknowledgements {
        receiver.recv_timeout(Duration::from_secs(60)).expect("the load stands still");
    }
    let histories = load.finish();
    let root = mount.dir().to_owned();
    mount.kill();
    detach(&root);
    drop(mount);
    drop(ext4);
    Played { recording: disk.finish(), histories, ready, root }
}

/// Mounts an image, opens the home in it, and lets every history judge.
fn check(scratch: &Scratch, image: &Path, played: &mut Played, cut: usize) -> Result<(), String> {
    let ext4 = Ext4::mount(image, &scratch.dir("after"));
    let dir = scratch.dir("mnt");
    let mut mount =
        Mount::try_start(&ext4.dir().join("home"), &dir, &[]).map_err(|why| format!("does not open: {why}"))?;
    for history in &mut played.histories {
        history.moved(&played.root, &dir);
    }
    played.root.clone_from(&dir);
    let result = played.histories.iter().try_for_each(|history| history.judge(cut as u64));
    mount.kill();
    detach(&dir);
    drop(mount);
    drop(ext4);
    result
}

/// A cut and what became of the writes after the last flush before it.
fn draw(random: &mut Random, recording: &Recording, ready: usize) -> (usize, Fate) {
    let flushes: Vec<usize> = recording.flushes().into_iter().filter(|at| *at >= ready).collect();
    let anywhere = ready + random.index(recording.log.len() + 1 - ready);
    match random.below(8) {
        0 | 1 => (flushes[random.index(flushes.len())], Fate::Lost),
        2 => (anywhere, Fate::Arrived),
        3 => (anywhere, Fate::Lost),
        _ => (anywhere, Fate::Shuffled(random.word())),
    }
}

#[test]
fn every_image_a_power_cut_can_leave_opens_and_holds_what_was_acknowledged() {
    let images = count("FSTESTS_IMAGES", 100);
    let seed = seed("powercut");
    let mut random = Random::new(seed);
    let scratch = Scratch::new("powercut");
    let mut played = play(&scratch, seed, count("FSTESTS_ACKS", 400));
    let image = scratch.path().join("image");
    let mut promised = 0;
    for number in 0..images {
        let (cut, fate) = draw(&mut random, &played.recording, played.ready);
        played.recording.image(cut, fate).store(&image, played.recording.size()).unwrap();
        check(&scratch, &image, &mut played, cut).unwrap_or_else(|why| {
            panic!("image {number}: cut {cut} of {}, {fate:?}: {why}", played.recording.log.len())
        });
        promised += played.histories.iter().map(|h| h.promised(cut as u64)).sum::<usize>();
    }
    let flushes = played.recording.flushes().len();
    println!(
        "{images} images of a log of {} entries, {flushes} flushes; {promised} promises kept",
        played.recording.log.len()
    );
    assert!(promised > 0);
}

#[test]
fn a_disk_that_lies_about_flushes_is_caught() {
    let scratch = Scratch::new("liar");
    let mut played = play(&scratch, 1, 150);
    let image = scratch.path().join("image");
    let cut = played.recording.log.len();
    let durable = played.ready;
    played.recording.image_from(durable, cut, Fate::Lost).store(&image, played.recording.size()).unwrap();
    let verdict = check(&scratch, &image, &mut played, cut);
    assert!(verdict.is_err(), "everything after the start was dropped and nobody noticed");
}
