//! Figures of the log on a real disk, beside the raw file system. Run by hand:
//! `cargo test --release --lib kv::arena::bench -- --ignored --nocapture`. Asserts nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_precision_loss)]

use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::base::{Bid, hash};

fn id(n: u64) -> Bid {
    Bid(hash(&[&n.to_le_bytes()]))
}

fn open(dir: &std::path::Path) -> Log {
    Log::open(Arc::new(RealDisk::open(dir).unwrap()), Options::default()).unwrap().0
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1e6
}

/// Where to measure: a folder on the disk in question.
fn folder() -> tempfile::TempDir {
    let base = std::env::var_os("BENCH_DIR").unwrap_or_else(|| ".".into());
    tempfile::tempdir_in(base).unwrap()
}

#[test]
#[ignore = "a measurement"]
fn sequential_put() {
    let dir = folder();
    let log = open(dir.path());
    let (count, len) = (6_000u64, 128usize << 10);
    let payload = vec![7u8; len];
    let start = Instant::now();
    for n in 0..count {
        log.put(&id(n), &payload).unwrap();
    }
    let put = start.elapsed();
    log.sync(log.end()).unwrap();
    let all = start.elapsed();
    let rate = |t: Duration| count as f64 * len as f64 / 1e6 / t.as_secs_f64();
    println!("put 128 KiB: {:.0} MB/s into the cache, {:.0} MB/s with sync", rate(put), rate(all));
    let raw = dir.path().join("raw");
    let mut file = OpenOptions::new().create(true).append(true).open(&raw).unwrap();
    let start = Instant::now();
    (0..count).for_each(|_| file.write_all(&payload).unwrap());
    let written = start.elapsed();
    file.sync_data().unwrap();
    println!("raw 128 KiB: {:.0} MB/s into the cache, {:.0} MB/s with sync", rate(written), rate(start.elapsed()));
    let start = Instant::now();
    (0..count).for_each(|n| assert!(log.get(&id(n)).unwrap().is_some()));
    println!("get 128 KiB: {:.0} MB/s", rate(start.elapsed()));
}

#[test]
#[ignore = "a measurement"]
fn small_puts_lookups_and_open() {
    let dir = folder();
    let log = open(dir.path());
    let count = 1_000_000u64;
    let payload = vec![3u8; 300];
    let start = Instant::now();
    for n in 0..count {
        log.put(&id(n), &payload).unwrap();
    }
    let micros = |t: Duration| t.as_secs_f64() * 1e6 / count as f64;
    println!("put 300 B: {:.2} us, arenas {}", micros(start.elapsed()), log.stat().arenas);
    log.checkpoint(b"").unwrap();
    let start = Instant::now();
    (count..2 * count).for_each(|n| assert!(!log.contains(&id(n))));
    println!("absent: {:.3} us (with hashing the id)", micros(start.elapsed()));
    let start = Instant::now();
    (0..count).for_each(|n| assert!(log.contains(&id(n))));
    println!("present: {:.3} us", micros(start.elapsed()));
    let start = Instant::now();
    (0..count).for_each(|n| assert!(log.get(&id(n)).unwrap().is_some()));
    println!("get 300 B: {:.3} us", micros(start.elapsed()));
    drop(log);
    let start = Instant::now();
    let log = open(dir.path());
    println!("open after a kill, 1 M blocks: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
    log.close().unwrap();
    drop(log);
    let start = Instant::now();
    drop(open(dir.path()));
    println!("open after a close: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
}

/// Raw appends and log appends in turn, so both meet the same disk.
#[test]
#[ignore = "a measurement"]
fn small_syncs() {
    let dir = folder();
    let log = open(dir.path());
    let payload = vec![9u8; 4096];
    let mut file = OpenOptions::new().create(true).append(true).open(dir.path().join("raw")).unwrap();
    let (mut raw, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..2000 {
        let start = Instant::now();
        file.write_all(&payload).unwrap();
        file.sync_data().unwrap();
        raw.push(start.elapsed());
        let start = Instant::now();
        log.sync(log.append_journal(&payload).unwrap()).unwrap();
        ours.push(start.elapsed());
    }
    let (raw, ours) = (median(raw), median(ours));
    println!("append 4 KiB + fdatasync: raw {raw:.0} us, log {ours:.0} us, ratio {:.2}", ours / raw);
}
