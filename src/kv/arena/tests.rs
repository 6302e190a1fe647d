//! The log on a real directory: what a caller relies on.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

use std::sync::Arc;

use super::*;
use crate::base::Bid;
use crate::base::hash;

fn id(payload: &[u8]) -> Bid {
    Bid(hash(&[payload]))
}

fn open(dir: &tempfile::TempDir, arena_size: u64) -> (Log, Recovery) {
    let options = Options { arena_size, reserve: 64 << 10, ..Options::default() };
    Log::open(Arc::new(RealDisk::open(dir.path()).unwrap()), options).unwrap()
}

#[test]
fn blocks_come_back_also_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let payloads: Vec<Vec<u8>> = (0..300u32).map(|i| vec![i as u8; i as usize * 7]).collect();
    let (log, recovery) = open(&dir, 100_000);
    assert_eq!(recovery, Recovery::default());
    for p in &payloads {
        assert!(!log.contains(&id(p)));
        let lsn = log.put(&id(p), p).unwrap();
        assert_eq!(log.get(&id(p)).unwrap().as_ref(), Some(p));
        assert_eq!(log.put(&id(p), p).unwrap(), lsn, "a second put writes nothing");
    }
    assert!(log.stat().arenas > 3);
    log.close().unwrap();
    let before = log.stat();
    drop(log);
    let (log, recovery) = open(&dir, 100_000);
    assert!(!recovery.unclean);
    assert!(recovery.quarantined.is_empty());
    assert_eq!((log.stat().blocks, log.stat().live_bytes), (before.blocks, before.live_bytes));
    for p in &payloads {
        assert_eq!(log.get(&id(p)).unwrap().as_ref(), Some(p));
    }
    assert!(!log.contains(&Bid([7; 32])));
    let mut seen = 0;
    log.for_each(|_, _| seen += 1).unwrap();
    assert_eq!(seen, 300);
}

#[test]
fn the_journal_after_the_last_checkpoint_is_replayed_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(&dir, 1 << 20);
    log.append_journal(b"covered").unwrap();
    log.checkpoint(b"state 1").unwrap();
    assert_eq!(log.journal_bytes_since_checkpoint(), 0);
    let between = log.end();
    log.append_journal(b"one").unwrap();
    log.checkpoint_covering(between, b"state 2").unwrap();
    let lsn = log.append_journal(b"two").unwrap();
    log.sync(lsn).unwrap();
    drop(log);
    for _ in 0..2 {
        let (log, recovery) = open(&dir, 1 << 20);
        assert!(recovery.unclean);
        assert_eq!(recovery.checkpoint.as_deref(), Some(&b"state 2"[..]));
        assert_eq!(recovery.journal, [b"one".to_vec(), b"two".to_vec()]);
        drop(log);
    }
}

#[test]
fn concurrent_writers_and_readers_agree() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(&dir, 1 << 20);
    let log = &log;
    std::thread::scope(|s| {
        for t in 0..4u32 {
            s.spawn(move || {
                for i in 0..200u32 {
                    let p: Vec<u8> = (t % 2 * 1000 + i).to_le_bytes().repeat(300);
                    let lsn = log.put(&id(&p), &p).unwrap();
                    if i % 20 == 0 {
                        log.sync(lsn).unwrap();
                    }
                    assert_eq!(log.get(&id(&p)).unwrap(), Some(p));
                }
            });
        }
    });
    assert_eq!(log.stat().blocks, 400);
}

/// Also where another directory has taken the place: it would hold a log without its beginning.
#[test]
fn a_log_whose_directory_was_removed_reports_nothing_as_synced() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("log");
    let log = Log::open(Arc::new(RealDisk::open(&dir).unwrap()), Options::default()).unwrap().0;
    let lsn = log.put(&id(b"before"), b"before").unwrap();
    log.sync(lsn).unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    std::fs::create_dir(&dir).unwrap();
    for payload in [b"one", b"two"] {
        let synced = log.put(&id(payload), payload).and_then(|lsn| log.sync(lsn));
        assert!(synced.is_err(), "{payload:?}");
    }
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
}
