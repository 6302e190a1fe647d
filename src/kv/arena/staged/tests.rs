//! What has gathered is never missed by a reader nor lost by a sync, whoever writes it.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
use super::super::disk::Disk;
use super::super::sim::{Call, Dice, SimDisk};
use super::*;

fn staged() -> (SimDisk, Staged) {
    let disk = SimDisk::default();
    let file = disk.create("f").unwrap();
    (disk, Staged::new(file, None))
}

/// With threads that write what has gathered.
fn behind() -> (SimDisk, Staged, Arc<Couriers>) {
    let disk = SimDisk::default();
    let file = disk.create("f").unwrap();
    let couriers = Arc::new(Couriers::default());
    (disk, Staged::new(file, Some(couriers.clone())), couriers)
}

fn noise(dice: &mut Dice, len: usize) -> Vec<u8> {
    (0..len).map(|_| dice.next() as u8).collect()
}

#[test]
fn it_reads_like_a_plain_buffer_whatever_is_written_where() {
    for seed in 0..60 {
        resembles_a_buffer(seed, &staged().1);
    }
}

#[test]
fn it_does_so_too_while_others_write_what_has_gathered() {
    for seed in 0..60 {
        resembles_a_buffer(seed, &behind().1);
    }
}

fn resembles_a_buffer(seed: u64, file: &Staged) {
    {
        let mut dice = Dice(seed);
        let mut model: Vec<u8> = Vec::new();
        for _ in 0..60 {
            let len = if dice.one_in(4) { dice.below(700_000) } else { dice.below(9_000) } as usize;
            match dice.below(8) {
                0..=4 => {
                    let data = noise(&mut dice, len);
                    let (a, b) = data.split_at(len / 3);
                    file.write_at(&[a, b], model.len() as u64).unwrap();
                    model.extend(&data);
                }
                5 => {
                    let at = dice.below(model.len() as u64 + 1) as usize;
                    let data = noise(&mut dice, len);
                    file.write_at(&[&data], at as u64).unwrap();
                    model.resize(model.len().max(at + len), 0);
                    model[at..at + len].copy_from_slice(&data);
                }
                6 => file.sync_data().unwrap(),
                _ => {
                    let at = dice.below(model.len() as u64 + 1) as usize;
                    file.truncate(at as u64).unwrap();
                    model.truncate(at);
                }
            }
            let at = dice.below(model.len() as u64 + 1) as usize;
            let mut out = vec![0; (len + 60).min(model.len() - at)];
            assert_eq!(file.read_at(&mut out, at as u64).unwrap(), out.len(), "seed {seed}");
            assert!(out == model[at..at + out.len()], "seed {seed}");
            assert_eq!(file.len().unwrap(), model.len() as u64, "seed {seed}");
        }
    }
}

#[test]
fn what_was_written_before_a_sync_survives_a_power_cut() {
    let mut dice = Dice(7);
    let (disk, file) = staged();
    disk.sync_dir().unwrap();
    let data = noise(&mut dice, 3_000_001);
    data.chunks(100_000).fold(0, |at, part| {
        file.write_at(&[part], at).unwrap();
        at + part.len() as u64
    });
    file.sync_data().unwrap();
    disk.crash(&mut dice);
    let mut out = vec![0; data.len()];
    disk.open("f").unwrap().read_at(&mut out, 0).unwrap();
    assert!(out == data);
}

#[test]
fn bytes_whose_write_failed_can_still_be_read() {
    let mut dice = Dice(8);
    let (disk, file) = staged();
    let data = noise(&mut dice, 300_000);
    file.write_at(&[&data], 0).unwrap();
    disk.fail_next(Call::Write, 0, libc::EIO);
    assert!(file.sync_data().is_err());
    let mut out = vec![0; data.len()];
    assert_eq!(file.read_at(&mut out, 0).unwrap(), out.len());
    assert!(out == data);
}

#[test]
fn a_refused_append_leaves_what_was_there() {
    let mut dice = Dice(9);
    let (disk, file) = staged();
    let data = noise(&mut dice, 900_000);
    file.write_at(&[&data], 0).unwrap();
    disk.fail_next(Call::Write, 0, libc::ENOSPC);
    assert!(file.write_at(&[&noise(&mut dice, 400_000)], 900_000).is_err());
    assert_eq!(file.len().unwrap(), 900_000);
    let mut out = vec![0; data.len()];
    file.read_at(&mut out, 0).unwrap();
    assert!(out == data);
}

#[test]
fn what_others_write_survives_a_power_cut_after_a_sync() {
    let mut dice = Dice(17);
    let (disk, file, _) = behind();
    disk.sync_dir().unwrap();
    let data = noise(&mut dice, 9_000_001);
    data.chunks(100_000).fold(0, |at, part| {
        file.write_at(&[part], at).unwrap();
        at + part.len() as u64
    });
    file.sync_data().unwrap();
    disk.crash(&mut dice);
    let mut out = vec![0; data.len()];
    disk.open("f").unwrap().read_at(&mut out, 0).unwrap();
    assert!(out == data);
}

#[test]
fn a_write_that_fails_behind_the_scenes_is_told_and_its_bytes_stay_readable() {
    let mut dice = Dice(18);
    let (disk, file, couriers) = behind();
    let data = noise(&mut dice, 1_200_000);
    disk.fail_next(Call::Write, 0, libc::EIO);
    file.write_at(&[&data], 0).unwrap();
    couriers.finish();
    assert_eq!(file.write_at(&[b"more"], data.len() as u64).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO), "and again");
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(libc::EIO), "and for ever");
    let mut out = vec![0; data.len()];
    assert_eq!(file.read_at(&mut out, 0).unwrap(), out.len());
    assert!(out == data);
    file.truncate(1000).unwrap();
    assert_eq!(file.read_at(&mut out, 0).unwrap().min(1000), 1000);
}

#[test]
fn whoever_comes_when_the_threads_are_gone_writes_himself() {
    let mut dice = Dice(19);
    let (_, file, couriers) = behind();
    couriers.finish();
    let data = noise(&mut dice, 5_000_000);
    file.write_at(&[&data], 0).unwrap();
    file.sync_data().unwrap();
    let mut out = vec![0; data.len()];
    file.read_at(&mut out, 0).unwrap();
    assert!(out == data);
}
