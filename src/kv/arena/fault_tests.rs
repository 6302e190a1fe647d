//! Named faults: failed syncs, full disks, damage in the middle, lost indexes, doubtful copies.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::case_sensitive_file_extension_comparisons,
    clippy::format_collect
)]

use std::sync::Arc;

use super::sim::{Call, Dice, SimDisk};
use super::*;
use crate::base::port::Seeded;
use crate::base::{Bid, Kind, Result, hash};

pub(super) fn open_with(disk: &SimDisk, arena_size: u64) -> (Log, Recovery) {
    let options = Options { arena_size, reserve: 32 << 10, entropy: Arc::new(Seeded::new(disk.calls())) };
    Log::open(Arc::new(disk.clone()), options).unwrap()
}

pub(super) fn open(disk: &SimDisk) -> (Log, Recovery) {
    open_with(disk, 128 << 10)
}

pub(super) fn id(payload: &[u8]) -> Bid {
    Bid(hash(&[payload]))
}

pub(super) fn block(n: u32, len: usize) -> Vec<u8> {
    n.to_le_bytes().into_iter().cycle().take(len).collect()
}

pub(super) fn put(log: &Log, payload: &[u8]) -> Result<Lsn> {
    log.put(&id(payload), payload)
}

/// A seed whose first throw makes a crash keep nothing.
const HARD: u64 = 6;

/// A power cut that keeps nothing which was not synced.
pub(super) fn hard_crash(disk: &SimDisk) -> SimDisk {
    disk.crash(&mut Dice(HARD))
}

#[test]
fn a_failed_sync_is_reported_and_later_success_needs_a_real_rewrite() {
    for nth in 0..3 {
        let disk = SimDisk::default();
        let (log, _) = open(&disk);
        let first = log.append_journal(b"before").unwrap();
        log.sync(first).unwrap();
        for n in 0..5 {
            put(&log, &block(n, 700)).unwrap();
        }
        let lsn = log.append_journal(b"entry").unwrap();
        disk.fail_next(Call::Sync, 0, libc::EIO);
        assert_eq!(log.sync(lsn).unwrap_err().kind(), Kind::Io, "the caller sees it");
        if nth == 1 {
            // A crash now may lose the entry, but nothing acknowledged.
            let (_, recovery) = open(&hard_crash(&disk));
            assert_eq!(recovery.journal[0], b"before");
            continue;
        }
        log.sync(lsn).unwrap();
        if nth == 2 {
            disk.fail_next(Call::Write, 0, libc::EIO);
            // The write happens when what was gathered goes to the disk.
            let hit = put(&log, b"hit").unwrap();
            assert_eq!(log.sync(hit).unwrap_err().kind(), Kind::Io);
            log.sync(hit).unwrap();
            assert!(log.contains(&id(b"hit")));
        }
        for n in 0..20 {
            let (log, recovery) = open(&disk.crash(&mut Dice(n)));
            assert_eq!(recovery.journal, [b"before".to_vec(), b"entry".to_vec()], "rewritten for real");
            assert!((0..5).all(|n| log.get(&id(&block(n, 700))).unwrap() == Some(block(n, 700))));
            assert!(recovery.quarantined.is_empty());
        }
    }
}

#[test]
fn every_waiter_of_a_failed_sync_sees_the_error() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    let lsn = put(&log, b"x").unwrap();
    // All syncs fail for a while: nobody may be told otherwise.
    (0..400).for_each(|n| disk.fail_call(n, libc::EIO));
    std::thread::scope(|s| {
        let waiters: Vec<_> = (0..4).map(|_| s.spawn(|| log.sync(lsn))).collect();
        assert!(waiters.into_iter().all(|w| w.join().unwrap().is_err()));
    });
}

#[test]
fn a_checkpoint_that_failed_to_sync_never_brings_covered_entries_back_twice() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    log.append_journal(b"covered").unwrap();
    let covers = log.end();
    log.append_journal(b"after").unwrap();
    disk.fail_next(Call::Sync, 0, libc::EIO);
    assert!(log.checkpoint_covering(covers, b"state").is_err());
    log.sync(log.end()).unwrap();
    let (_, recovery) = open(&hard_crash(&disk));
    assert_eq!(recovery.checkpoint.as_deref(), Some(&b"state"[..]));
    assert_eq!(recovery.journal, [b"after".to_vec()]);
}

#[test]
fn a_torn_tail_is_cut_but_damage_in_what_was_acknowledged_is_not() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    let first = log.append_journal(b"one").unwrap();
    let damaged = put(&log, &block(1, 3000)).unwrap();
    log.append_journal(b"two").unwrap();
    log.sync(log.end()).unwrap();
    let lsn = log.append_journal(b"three").unwrap();
    log.sync(lsn).unwrap();
    drop(log);
    assert!(first < damaged);
    let disk = hard_crash(&disk);
    disk.flip("00000001.arena", damaged.offset() as usize - 100, 3);
    for _ in 0..2 {
        let (log, recovery) = open(&disk);
        assert_eq!(recovery.journal, [b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        assert!(
            matches!(&recovery.quarantined[..], [Finding { damage: Damage::Block(b), .. }] if *b == id(&block(1, 3000)))
        );
        assert!(!log.contains(&id(&block(1, 3000))), "asking elsewhere is better than wrong bytes");
    }
    // What an earlier recovery built on is acknowledged too, though no later record says so.
    disk.flip("00000001.arena", lsn.offset() as usize - 10, 3);
    let (log, recovery) = open(&disk);
    assert_eq!((recovery.journal.len(), recovery.quarantined.len()), (2, 2));
    let again = log.append_journal(b"four").unwrap();
    log.sync(again).unwrap();
    let (_, recovery) = open(&hard_crash(&disk));
    assert_eq!(recovery.journal.last().unwrap(), b"four");
}

#[test]
fn after_an_unclean_stop_a_put_checks_the_stored_copy_and_heals_it() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    let payload = block(9, 2000);
    let lsn = put(&log, &payload).unwrap();
    log.checkpoint(b"").unwrap();
    drop(log);
    let disk = hard_crash(&disk);
    disk.flip("00000001.arena", lsn.offset() as usize - 500, 2);
    let (log, recovery) = open(&disk);
    assert!(recovery.unclean);
    assert_ne!(
        log.get(&id(&payload)).unwrap().as_ref(),
        Some(&payload),
        "damage before the checkpoint is not looked for"
    );
    put(&log, &payload).unwrap();
    assert_eq!(log.get(&id(&payload)).unwrap().as_ref(), Some(&payload));
    assert_eq!(log.stat().blocks, 1, "the bad copy is gone");
    // The doubt outlives a clean close of the next session, and a second look costs nothing written.
    log.close().unwrap();
    drop(log);
    let (log, _) = open(&disk);
    let writes = disk.count(Call::Write);
    put(&log, &payload).unwrap();
    assert_eq!(disk.count(Call::Write), writes);
}

#[test]
fn all_returns_after_the_indexes_and_the_locator_are_lost() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    let payloads: Vec<Vec<u8>> = (0..600).map(|n| block(n, 1000)).collect();
    for p in &payloads {
        put(&log, p).unwrap();
    }
    log.checkpoint(b"early").unwrap();
    let victims: Vec<Bid> = payloads.iter().step_by(3).map(|p| id(p)).collect();
    log.delete(&victims).unwrap();
    log.checkpoint(b"state").unwrap();
    log.append_journal(b"tail").unwrap();
    log.close().unwrap();
    drop(log);
    let indexes: Vec<String> = disk.list().unwrap().into_iter().filter(|n| n.ends_with(".index")).collect();
    assert!(indexes.len() > 3);
    for round in 0..4 {
        match round {
            0 => indexes.iter().for_each(|n| disk.vanish(n)),
            1 => disk.flip(&indexes[1], 70, 1),
            2 => disk.flip(&indexes[2], 3, 1),
            _ => disk.vanish("locator"),
        }
        let (log, recovery) = open(&disk);
        assert_eq!(recovery.checkpoint.as_deref(), Some(&b"state"[..]));
        assert_eq!(recovery.journal, [b"tail".to_vec()]);
        assert!(recovery.quarantined.is_empty(), "{:?}", recovery.quarantined);
        assert_eq!(log.stat().blocks, 400);
        for (n, p) in payloads.iter().enumerate() {
            assert_eq!(log.get(&id(p)).unwrap(), (n % 3 != 0).then(|| p.clone()), "round {round} block {n}");
        }
        log.close().unwrap();
    }
}

#[test]
fn a_full_disk_says_full_keeps_everything_and_deleting_works() {
    let disk = SimDisk::default();
    disk.set_capacity(Some(1 << 20));
    let (log, _) = open(&disk);
    let mut next = 0u32;
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for _ in 0..50 {
        let error = loop {
            let payload = block(next, 9000);
            next += 1;
            match put(&log, &payload) {
                Ok(_) => kept.push(payload),
                Err(e) => break e,
            }
        };
        assert_eq!(error.kind(), Kind::Full);
        log.sync(log.append_journal(b"unlink").unwrap()).unwrap();
        assert!(kept.iter().all(|p| log.get(&id(p)).unwrap().as_ref() == Some(p)));
        let victims: Vec<Bid> = kept.drain(..kept.len() * 3 / 4).map(|p| id(&p)).collect();
        assert!(log.delete(&victims).unwrap() > 0);
        log.checkpoint(b"").unwrap();
        log.compact().unwrap();
    }
    assert!(next > 1000, "space came back: {next}");
    drop(log);
    let (log, _) = open(&hard_crash(&disk));
    assert!(kept.iter().all(|p| log.get(&id(p)).unwrap().as_ref() == Some(p)));
}

#[test]
fn a_block_deleted_right_after_it_was_put_is_not_taken_for_a_torn_tail() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    put(&log, &block(1, 20_000)).unwrap();
    log.append_journal(b"entry").unwrap();
    assert!(log.delete(&[id(&block(1, 20_000))]).unwrap() > 0);
    let (log, recovery) = open(&hard_crash(&disk));
    assert_eq!(recovery.journal, [b"entry".to_vec()]);
    assert!(recovery.quarantined.is_empty() && !log.contains(&id(&block(1, 20_000))));
}

#[test]
fn an_arena_of_which_one_sector_survived_is_an_empty_arena() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    put(&log, b"never synced").unwrap();
    drop(log);
    disk.open("00000001.arena").unwrap().truncate(512).unwrap();
    let (log, recovery) = open(&disk);
    assert!(recovery.quarantined.is_empty());
    log.checkpoint(b"").unwrap();
    log.compact().unwrap();
    log.sync(put(&log, b"next").unwrap()).unwrap();
    let (log, _) = open(&hard_crash(&disk));
    assert_eq!(log.get(&id(b"next")).unwrap().unwrap(), b"next");
}

#[test]
fn sparse_arenas_are_rewritten_and_removed() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    let payloads: Vec<Vec<u8>> = (0..600).map(|n| block(n, 1000)).collect();
    for p in &payloads {
        put(&log, p).unwrap();
    }
    let before = log.stat();
    let (kept, dead): (Vec<_>, Vec<_>) = payloads.iter().enumerate().partition(|(n, _)| n % 10 == 0);
    log.delete(&dead.iter().map(|(_, p)| id(p)).collect::<Vec<_>>()).unwrap();
    log.checkpoint(b"").unwrap();
    let done = log.compact().unwrap();
    assert!(done.arenas >= 3 && done.damaged == 0, "{done:?}");
    assert!(log.stat().disk_bytes < before.disk_bytes / 2);
    for round in 0..2 {
        assert!(kept.iter().all(|(_, p)| log.get(&id(p)).unwrap().as_ref() == Some(*p)), "{round}");
        assert!(dead.iter().all(|(_, p)| !log.contains(&id(p))));
    }
    let (log, recovery) = open(&hard_crash(&disk));
    assert!(recovery.quarantined.is_empty());
    assert!(kept.iter().all(|(_, p)| log.get(&id(p)).unwrap().as_ref() == Some(*p)));
}

#[test]
fn absent_blocks_cost_no_read_and_puts_are_written_together() {
    let disk = SimDisk::default();
    let (log, _) = open_with(&disk, 64 << 20);
    put(&log, b"first").unwrap();
    let before = disk.calls();
    let writes = disk.count(Call::Write);
    let lsn = (0..5).map(|n| put(&log, &block(n, 128 << 10)).unwrap()).max().unwrap();
    assert_eq!(disk.count(Call::Write), writes);
    log.sync(lsn).unwrap();
    // What stands before the first page boundary, the pages, and what stands behind the last one.
    assert!(disk.calls() - before <= 3 + 1 + disk.count(Call::Allocate) as u64);
    let reads = disk.reads();
    (0..1000u32).for_each(|n| assert!(!log.contains(&id(&n.to_le_bytes()))));
    assert_eq!(disk.reads(), reads);
}

#[test]
fn an_entry_too_big_is_refused_and_the_limits_are_met() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    let big = vec![1; (4 << 20) + 1];
    assert_eq!(put(&log, &big).unwrap_err().kind(), Kind::TooBig);
    put(&log, &big[1..]).unwrap();
    put(&log, b"").unwrap();
    let lsn = log.append_journal(&vec![2; 5 << 20]).unwrap();
    log.sync(lsn).unwrap();
    let (log, recovery) = open(&hard_crash(&disk));
    assert_eq!(recovery.journal[0].len(), 5 << 20);
    assert_eq!(log.get(&id(&big[1..])).unwrap().unwrap().len(), 4 << 20);
    assert_eq!(log.get(&id(b"")).unwrap(), Some(Vec::new()));
}

#[test]
fn the_bytes_on_the_disk_are_those_of_the_format_document() {
    let disk = SimDisk::default();
    let options = Options { entropy: Arc::new(Seeded::new(1)), ..Options::default() };
    let (log, _) = Log::open(Arc::new(disk.clone()), options).unwrap();
    log.put(&Bid([0xb1; 32]), b"sealed block").unwrap();
    log.append_journal(b"journal entry").unwrap();
    log.checkpoint(b"state").unwrap();
    log.delete(&[Bid([0xb1; 32])]).unwrap();
    log.close().unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let arena = disk.bytes("00000001.arena");
    let parts = [
        ("header", hex(&arena[..40])),
        ("header copy", hex(&arena[512..552])),
        ("records", hex(&arena[4096..])),
        ("index", hex(&disk.bytes("00000001.index"))),
        ("locator 0", hex(&disk.bytes("locator")[..64])),
        ("locator 1", hex(&disk.bytes("locator")[4096..])),
    ];
    let text: String = parts.iter().map(|(name, hex)| format!("{name}: {hex}\n")).collect();
    let golden = include_str!("golden.txt");
    assert_eq!(text, golden, "the format changed: that needs a new version and a migration");
}
