//! Holes and space: sparse files, SEEK_DATA and SEEK_HOLE, fallocate in its modes, statfs.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use fstests::harness::bytes::random;
use fstests::harness::place::Place;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek, statvfs};
use rustix::io::Errno;

const MIB: u64 = 1 << 20;

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).unwrap()
}

/// True when the filesystem has no such operation; said aloud.
fn absent(result: rustix::io::Result<()>) -> bool {
    match result {
        Err(Errno::OPNOTSUPP) => {
            eprintln!("fallocate mode not supported here");
            true
        }
        other => {
            other.unwrap();
            false
        }
    }
}

#[test]
fn seek_finds_the_data_between_holes() {
    let mut place = Place::new("seek");
    let file = open(&place.path("f"));
    file.write_all_at(&random(1, 65_536), 4 * MIB).unwrap();
    file.write_all_at(&random(2, 65_536), 12 * MIB).unwrap();
    file.set_len(20 * MIB).unwrap();
    file.sync_all().unwrap();
    drop(file);
    for _ in 0..2 {
        let file = File::open(place.path("f")).unwrap();
        let data = seek(&file, SeekFrom::Data(0)).unwrap();
        assert!(data <= 4 * MIB && data > 3 * MIB, "data at {data}");
        let hole = seek(&file, SeekFrom::Hole(4 * MIB)).unwrap();
        assert!((4 * MIB + 65_536..12 * MIB).contains(&hole), "hole at {hole}");
        let again = seek(&file, SeekFrom::Data(hole)).unwrap();
        assert!((11 * MIB..=12 * MIB).contains(&again), "data again at {again}");
        let end = seek(&file, SeekFrom::Hole(12 * MIB)).unwrap();
        assert!((12 * MIB + 65_536..=20 * MIB).contains(&end), "last hole at {end}");
        assert_eq!(seek(&file, SeekFrom::Data(20 * MIB)), Err(Errno::NXIO));
        assert_eq!(seek(&file, SeekFrom::Hole(21 * MIB)), Err(Errno::NXIO));
        hole_ends_with_the_file(&file);
        drop(file);
        place.remount();
    }
}

/// Asked at its last byte, a trailing hole answers there or with the end.
fn hole_ends_with_the_file(file: &File) {
    let at = seek(file, SeekFrom::Hole(20 * MIB - 1)).unwrap();
    assert!(at == 20 * MIB - 1 || at == 20 * MIB, "{at}");
}

#[test]
fn the_end_of_a_full_file_counts_as_a_hole() {
    let place = Place::new("seekend");
    let file = open(&place.path("f"));
    file.write_all_at(&random(1, 100_000), 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(seek(&file, SeekFrom::Data(0)), Ok(0));
    assert_eq!(seek(&file, SeekFrom::Hole(0)), Ok(100_000));
    assert_eq!(seek(&file, SeekFrom::Data(100_000)), Err(Errno::NXIO));
}

#[test]
fn a_sparse_file_takes_only_the_space_of_its_data() {
    let mut place = Place::new("sparse");
    let file = open(&place.path("f"));
    file.write_all_at(&random(1, 4096), 1 << 30).unwrap();
    file.sync_all().unwrap();
    drop(file);
    place.remount();
    let meta = fs::metadata(place.path("f")).unwrap();
    assert_eq!(meta.len(), (1 << 30) + 4096);
    assert!(meta.blocks() * 512 < MIB, "{} blocks", meta.blocks());
}

#[test]
fn fallocate_grows_the_file_with_zeros_or_keeps_its_size() {
    let place = Place::new("fallocate");
    let file = open(&place.path("f"));
    file.write_all_at(b"head", 0).unwrap();
    if absent(fallocate(&file, FallocateFlags::empty(), 0, MIB)) {
        return;
    }
    assert_eq!(file.metadata().unwrap().len(), MIB);
    let data = fs::read(place.path("f")).unwrap();
    assert_eq!(&data[..4], b"head");
    assert!(data[4..].iter().all(|b| *b == 0));
    fallocate(&file, FallocateFlags::KEEP_SIZE, MIB, MIB).unwrap();
    assert_eq!(file.metadata().unwrap().len(), MIB);
}

#[test]
fn a_punched_hole_reads_as_zeros_and_nothing_else_changes() {
    let mut place = Place::new("punch");
    let file = open(&place.path("f"));
    let mut expected = random(4, 3_000_000);
    file.write_all_at(&expected, 0).unwrap();
    for (at, len) in [(1_000_001, 500_000), (0, 10), (2_999_990, 1_000_000), (4096, 8192)] {
        let mode = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        if absent(fallocate(&file, mode, at, len)) {
            return;
        }
        let (at, len) = (usize::try_from(at).unwrap(), usize::try_from(len).unwrap());
        let end = (at + len).min(expected.len());
        expected[at..end].fill(0);
        assert!(fs::read(place.path("f")).unwrap() == expected);
    }
    drop(file);
    place.remount();
    assert!(fs::read(place.path("f")).unwrap() == expected);
}

#[test]
fn a_zeroed_range_reads_as_zeros_and_may_grow_the_file() {
    let place = Place::new("zero");
    let file = open(&place.path("f"));
    file.write_all_at(&random(4, 100_000), 0).unwrap();
    if absent(fallocate(&file, FallocateFlags::ZERO_RANGE, 50_000, 100_000)) {
        return;
    }
    let mut expected = random(4, 100_000);
    expected.resize(150_000, 0);
    expected[50_000..].fill(0);
    assert!(fs::read(place.path("f")).unwrap() == expected);
}

#[test]
fn a_collapsed_range_is_cut_out() {
    let place = Place::new("collapse");
    let file = open(&place.path("f"));
    let data = random(4, 1 << 20);
    file.write_all_at(&data, 0).unwrap();
    if absent(fallocate(&file, FallocateFlags::COLLAPSE_RANGE, 65_536, 131_072)) {
        return;
    }
    let expected = [&data[..65_536], &data[65_536 + 131_072..]].concat();
    assert!(fs::read(place.path("f")).unwrap() == expected);
}

#[test]
fn statfs_tells_plausible_numbers_and_the_name_limit() {
    let place = Place::new("statfs");
    let stat = statvfs(place.dir()).unwrap();
    assert!(stat.f_bsize >= 512 && stat.f_blocks > 0 && stat.f_bfree <= stat.f_blocks && stat.f_bavail <= stat.f_bfree);
    assert_eq!(stat.f_namemax, 255);
}
