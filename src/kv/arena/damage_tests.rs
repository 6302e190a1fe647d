//! Flipped bits and cut files: what is told, and that no wrong byte is believed.
#![allow(clippy::unwrap_used, clippy::panic, clippy::cast_possible_truncation)]

use super::disk::Disk;
use super::fault_tests::{block, id, open, put};
use super::sim::{Dice, SimDisk};
use super::*;
use crate::base::Bid;

#[test]
fn a_damaged_header_in_the_middle_hides_one_record_only() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    let ends: Vec<Lsn> = (0..10).map(|n| log.append_journal(&[n; 100]).unwrap()).collect();
    log.close().unwrap();
    drop(log);
    disk.flip("00000001.arena", ends[4].offset() as usize + 2, 1);
    let (_, recovery) = open(&disk);
    assert_eq!(recovery.journal.len(), 9);
    assert!(matches!(recovery.quarantined[..], [Finding { damage: Damage::Unknown, .. }]));
}

#[test]
fn behind_a_damaged_checkpoint_the_one_before_and_the_journal_since_say_the_same() {
    for broken_header in [false, true] {
        let disk = SimDisk::default();
        let (log, _) = open(&disk);
        log.append_journal(b"covered").unwrap();
        log.checkpoint(b"first").unwrap();
        log.append_journal(b"between").unwrap();
        log.checkpoint(b"second").unwrap();
        let end = log.end();
        log.close().unwrap();
        drop(log);
        let at = end.offset() as usize - if broken_header { 66 } else { 4 };
        disk.flip("00000001.arena", at, 1);
        // Given up without a close: nothing is taken for a torn tail the next time.
        for _ in 0..3 {
            let (log, recovery) = open(&disk);
            assert_eq!(recovery.checkpoint.as_deref(), Some(&b"first"[..]));
            assert_eq!(recovery.journal, [b"between".to_vec()]);
            assert!(matches!(recovery.quarantined[..], [Finding { damage: Damage::Unknown, .. }]), "{recovery:?}");
            assert_eq!(log.end(), end);
        }
    }
}

#[test]
fn a_log_that_was_cut_says_so_once() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    log.append_journal(b"one").unwrap();
    log.checkpoint(b"state").unwrap();
    let kept = log.append_journal(b"two").unwrap();
    log.append_journal(b"three").unwrap();
    log.close().unwrap();
    drop(log);
    disk.open("00000001.arena").unwrap().truncate(kept.offset()).unwrap();
    let (_, recovery) = open(&disk);
    assert_eq!(recovery.journal, [b"two".to_vec()]);
    assert!(matches!(recovery.quarantined[..], [Finding { damage: Damage::End, .. }]), "{recovery:?}");
    assert!(open(&disk).1.quarantined.is_empty());
}

#[test]
fn flipped_bits_anywhere_are_found_by_scrub_and_no_wrong_byte_is_believed() {
    let disk = SimDisk::default();
    let (log, _) = open(&disk);
    let payloads: Vec<Vec<u8>> = (0..200).map(|n| block(n, 1500)).collect();
    let ends: Vec<Lsn> = payloads.iter().map(|p| put(&log, p).unwrap()).collect();
    log.checkpoint(b"").unwrap();
    let mut dice = Dice(5);
    let mut hit = std::collections::BTreeSet::new();
    for _ in 0..12 {
        let n = dice.below(200) as usize;
        let at = ends[n].offset() - 1 - dice.below(1500);
        disk.flip(&format!("{:08x}.arena", ends[n].arena()), at as usize, dice.below(8) as u8);
        // Two flips of one bit cancel out; take a place once.
        if !hit.insert(n) {
            disk.flip(&format!("{:08x}.arena", ends[n].arena()), at as usize, 0);
        }
    }
    let verify = |id: &Bid, bytes: &[u8]| *id == self::id(bytes);
    let (mut from, mut bad, mut checked) = (Lsn::ZERO, Vec::new(), 0);
    loop {
        let slice = log.scrub(from, 20_000, &verify).unwrap();
        checked += slice.checked;
        bad.extend(slice.bad);
        match slice.next {
            Some(next) => from = next,
            None => break,
        }
    }
    let found: Vec<Bid> = bad
        .iter()
        .map(|f| match f.damage {
            Damage::Block(id) => id,
            other => panic!("{other:?}"),
        })
        .collect();
    let mut expected: Vec<Bid> = hit.iter().map(|n| id(&payloads[*n])).collect();
    assert_eq!(checked, 200);
    expected.sort_unstable();
    let mut found_sorted = found.clone();
    found_sorted.sort_unstable();
    assert_eq!(found_sorted, expected);
    for n in hit {
        log.repair(&id(&payloads[n]), &payloads[n]).unwrap();
    }
    assert!(log.scrub(Lsn::ZERO, u64::MAX, &verify).unwrap().bad.is_empty());
    log.mark_verified().unwrap();
}
