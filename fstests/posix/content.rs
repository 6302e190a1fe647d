//! Bytes in and out: append, truncate, mappings, sharing between descriptors, copies inside the mount.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Barrier};

use fstests::harness::bytes::{random, text};
use fstests::harness::place::Place;
use fstests::harness::sys::Mapping;
use rustix::io::Errno;

use super::errno;

fn open(path: &std::path::Path) -> File {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).unwrap()
}

#[test]
fn what_was_written_is_read_back_before_and_after_a_remount() {
    let mut place = Place::new("roundtrip");
    let sizes = [0, 1, 255, 256, 257, 4095, 4096, 4097, 65_535, 131_072, 1_000_003, 9_000_001];
    for (seed, size) in (1_u64..).zip(sizes) {
        fs::write(place.path(&format!("r{size}")), random(seed, size)).unwrap();
        fs::write(place.path(&format!("t{size}")), text(seed, size)).unwrap();
    }
    for round in 0..2 {
        for (seed, size) in (1_u64..).zip(sizes) {
            assert!(
                fs::read(place.path(&format!("r{size}"))).unwrap() == random(seed, size),
                "{size} in round {round}"
            );
            assert!(fs::read(place.path(&format!("t{size}"))).unwrap() == text(seed, size), "{size} in round {round}");
        }
        place.remount();
    }
}

#[test]
fn random_overwrites_agree_with_a_buffer_in_memory() {
    let mut place = Place::new("overwrite");
    let file = open(&place.path("f"));
    let mut expected = random(1, 3_000_000);
    file.write_all_at(&expected, 0).unwrap();
    let mut dice = fstests::harness::bytes::Random::new(2);
    for n in 0..400_u64 {
        let (at, len) = (dice.index(2_900_000), 1 + dice.index(if n % 10 == 0 { 100_000 } else { 5_000 }));
        let data = random(n, len);
        file.write_all_at(&data, at as u64).unwrap();
        let end = at + len;
        expected.resize(expected.len().max(end), 0);
        expected[at..end].copy_from_slice(&data);
        if n % 97 == 0 {
            file.sync_data().unwrap();
        }
    }
    assert!(fs::read(place.path("f")).unwrap() == expected);
    drop(file);
    place.remount();
    assert!(fs::read(place.path("f")).unwrap() == expected);
}

#[test]
fn appenders_from_many_threads_lose_nothing() {
    const RECORD: usize = 100;
    let place = Place::new("append");
    let path = place.path("log");
    File::create(&path).unwrap();
    let gate = Arc::new(Barrier::new(4));
    let writers: Vec<_> = (0..4_u8)
        .map(|id| {
            let (path, gate) = (path.clone(), Arc::clone(&gate));
            std::thread::spawn(move || {
                let mut file = OpenOptions::new().append(true).open(path).unwrap();
                gate.wait();
                for _ in 0..500 {
                    file.write_all(&[id; RECORD]).unwrap();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.join().unwrap();
    }
    let data = fs::read(&path).unwrap();
    assert_eq!(data.len(), 4 * 500 * RECORD);
    for record in data.chunks(RECORD) {
        assert!(record.iter().all(|b| *b == record[0]), "a torn record");
    }
}

#[test]
fn an_appender_writes_at_the_end_wherever_it_stood() {
    let place = Place::new("o_append");
    fs::write(place.path("f"), b"base").unwrap();
    let mut file = OpenOptions::new().append(true).read(true).open(place.path("f")).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"-one").unwrap();
    open(&place.path("f")).write_all_at(b"-two", 8).unwrap();
    file.write_all(b"-three").unwrap();
    assert_eq!(fs::read(place.path("f")).unwrap(), b"base-one-two-three");
}

#[test]
fn truncating_and_growing_leaves_zeros_not_old_bytes() {
    let mut place = Place::new("truncate");
    let file = open(&place.path("f"));
    file.write_all_at(&vec![7; 300_000], 0).unwrap();
    for (cut, grow) in [(100_001, 200_000), (5_000, 5_001), (4_096, 300_000), (0, 10)] {
        file.set_len(cut).unwrap();
        file.set_len(grow).unwrap();
        let mut data = Vec::new();
        File::open(place.path("f")).unwrap().read_to_end(&mut data).unwrap();
        assert_eq!(data.len() as u64, grow);
        let kept = usize::try_from(cut).unwrap();
        assert!(data[kept..].iter().all(|b| *b == 0), "old bytes after {cut} -> {grow}");
    }
    drop(file);
    place.remount();
    assert_eq!(fs::read(place.path("f")).unwrap(), [0; 10]);
    // Some filesystems end before 8 EiB, none may pretend.
    match open(&place.path("f")).set_len(i64::MAX as u64) {
        Ok(()) => assert_eq!(fs::metadata(place.path("f")).unwrap().len(), i64::MAX as u64),
        Err(why) => assert_eq!(Errno::from_io_error(&why), Some(Errno::FBIG)),
    }
}

#[test]
fn a_shared_mapping_and_the_file_show_the_same_bytes() {
    let mut place = Place::new("mmap");
    let file = open(&place.path("f"));
    file.set_len(1 << 20).unwrap();
    let mut map = Mapping::shared(&file, 1 << 20).unwrap();
    map.put(5_000, b"through the map");
    let mut seen = [0; 15];
    file.read_exact_at(&mut seen, 5_000).unwrap();
    assert_eq!(&seen, b"through the map");
    file.write_all_at(b"through the file", 500_000).unwrap();
    assert_eq!(map.get(500_000, 16), b"through the file");
    map.sync().unwrap();
    drop(map);
    drop(file);
    place.remount();
    let data = fs::read(place.path("f")).unwrap();
    assert_eq!(&data[5_000..5_015], b"through the map");
    assert_eq!(&data[500_000..500_016], b"through the file");
}

#[test]
fn a_mapping_written_after_its_file_was_closed_and_unlinked_stays_readable() {
    let place = Place::new("mmap2");
    let file = open(&place.path("f"));
    file.set_len(65_536).unwrap();
    let mut map = Mapping::shared(&file, 65_536).unwrap();
    drop(file);
    fs::remove_file(place.path("f")).unwrap();
    map.put(10, b"still here");
    map.sync().unwrap();
    assert_eq!(map.get(10, 10), b"still here");
}

#[test]
fn an_unlinked_file_keeps_its_content_while_it_is_open() {
    let place = Place::new("orphan");
    let path = place.path("f");
    let file = open(&path);
    file.write_all_at(&random(3, 500_000), 0).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"another file").unwrap();
    file.write_all_at(b"tail", 500_000).unwrap();
    file.sync_all().unwrap();
    let mut data = vec![0; 500_004];
    file.read_exact_at(&mut data, 0).unwrap();
    assert!(data[..500_000] == random(3, 500_000));
    assert_eq!(&data[500_000..], b"tail");
    assert_eq!(fs::read(&path).unwrap(), b"another file");
}

#[test]
fn copy_file_range_copies_whole_and_partial_ranges() {
    let mut place = Place::new("copyrange");
    let data = random(9, 5_000_000);
    fs::write(place.path("a"), &data).unwrap();
    let (from, to) = (File::open(place.path("a")).unwrap(), open(&place.path("b")));
    let mut done = 0;
    while done < data.len() {
        let n = rustix::fs::copy_file_range(&from, None, &to, None, data.len() - done).unwrap();
        assert!(n > 0, "copy stopped at {done}");
        done += n;
    }
    assert!(fs::read(place.path("b")).unwrap() == data);
    let (mut at, mut into) = (1_234_567, 10);
    let mut left = 777_777;
    while left > 0 {
        left -= rustix::fs::copy_file_range(&from, Some(&mut at), &to, Some(&mut into), left).unwrap();
    }
    let mut expected = data.clone();
    expected[10..777_787].copy_from_slice(&data[1_234_567..2_012_344]);
    drop(to);
    place.remount();
    assert!(fs::read(place.path("b")).unwrap() == expected);
    assert!(fs::read(place.path("a")).unwrap() == data);
}

#[test]
fn a_copy_and_its_source_part_ways_when_either_is_written() {
    let place = Place::new("cow");
    fs::write(place.path("a"), random(1, 2_000_000)).unwrap();
    fs::copy(place.path("a"), place.path("b")).unwrap();
    open(&place.path("a")).write_all_at(b"only a", 1_000_000).unwrap();
    open(&place.path("b")).write_all_at(b"only b", 50).unwrap();
    let (mut a, mut b) = (random(1, 2_000_000), random(1, 2_000_000));
    a[1_000_000..1_000_006].copy_from_slice(b"only a");
    b[50..56].copy_from_slice(b"only b");
    assert!(fs::read(place.path("a")).unwrap() == a);
    assert!(fs::read(place.path("b")).unwrap() == b);
}

#[test]
fn direct_reads_and_writes_work_beside_buffered_ones() {
    use std::os::unix::fs::OpenOptionsExt;
    let place = Place::new("direct");
    let buffered = open(&place.path("f"));
    buffered.write_all_at(&[1; 8192], 0).unwrap();
    let direct = OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT).open(place.path("f"));
    let Ok(direct) = direct else { return eprintln!("no O_DIRECT here: {direct:?}") };
    let mut space = vec![0_u8; 3 * 4096];
    let start = space.as_ptr().align_offset(4096);
    let page = &mut space[start..start + 4096];
    direct.read_exact_at(page, 4096).unwrap();
    assert!(page.iter().all(|b| *b == 1));
    page.fill(2);
    direct.write_all_at(page, 4096).unwrap();
    let mut seen = [0; 8192];
    buffered.read_exact_at(&mut seen, 0).unwrap();
    assert!(seen[..4096].iter().all(|b| *b == 1) && seen[4096..].iter().all(|b| *b == 2));
}

#[test]
fn opening_for_the_wrong_thing_fails_as_posix_says() {
    let place = Place::new("wrong");
    fs::create_dir(place.path("d")).unwrap();
    fs::write(place.path("f"), b"x").unwrap();
    assert_eq!(errno(OpenOptions::new().write(true).open(place.path("d"))), Errno::ISDIR);
    assert_eq!(errno(fs::read_dir(place.path("f"))), Errno::NOTDIR);
    assert_eq!(errno(File::open(place.path("f/g"))), Errno::NOTDIR);
    assert_eq!(errno(File::open(place.path("none"))), Errno::NOENT);
    assert_eq!(errno(OpenOptions::new().write(true).create_new(true).open(place.path("f"))), Errno::EXIST);
    assert_eq!(errno(File::open(place.path("f")).unwrap().write_all_at(b"y", 0)), Errno::BADF);
}
