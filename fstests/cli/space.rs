//! gc, fsck, hash, bench.

use std::fs;
use std::os::unix::fs::FileExt;

use fstests::harness::bytes;
use fstests::harness::program::{Home, shown};
use rustix::process::Signal;

/// A closed home whose default volume holds a megabyte in `keep` and held one in `drop`.
fn filled(name: &str) -> Home {
    let home = Home::new(name);
    home.mount().done();
    fs::write(home.mountpoint().join("keep"), bytes::random(1, 1 << 20)).unwrap();
    fs::write(home.mountpoint().join("drop"), bytes::random(2, 1 << 20)).unwrap();
    home.end(Signal::TERM);
    home.mount().done();
    fs::remove_file(home.mountpoint().join("drop")).unwrap();
    home.end(Signal::TERM);
    home
}

#[test]
fn gc_says_what_it_would_free_then_frees_it_and_loses_nothing() {
    let home = filled("gc");
    let plan = home.run(&["gc", "--dry-run", "--json"]).done().json();
    assert_eq!((plan["volume"].as_str(), plan["dry_run"].as_bool()), (Some("default"), Some(true)));
    assert!(plan["freed_bytes"].as_u64() >= Some(1 << 20), "{plan}");
    assert!(plan["kept_bytes"].as_u64() >= Some(1 << 20), "{plan}");
    let done = home.run(&["gc", "--json"]).done().json();
    // Space is given back in whole pages of the disk, so a little less than was stored.
    assert!(done["freed_bytes"].as_u64() >= Some(900 << 10), "{done}");
    let again = home.run(&["gc", "--json"]).done().json();
    assert!(again["freed_bytes"].as_u64() < Some(256 << 10), "{again}");
    let said = home.command(&["cat", "/keep"]).output().unwrap();
    assert!(said.stdout == bytes::random(1, 1 << 20));
    home.run(&["fsck", "--read-data"]).done();
}

#[test]
fn gc_works_beside_a_mount() {
    let home = filled("gc-mounted");
    home.mount().done();
    fs::write(home.mountpoint().join("fresh"), bytes::random(3, 1 << 20)).unwrap();
    let text = home.run(&["gc", "default"]).done().out;
    assert!(text.starts_with("default: freed "), "{text}");
    for (name, seed) in [("keep", 1), ("fresh", 3)] {
        assert!(fs::read(home.mountpoint().join(name)).unwrap() == bytes::random(seed, 1 << 20), "{name}");
    }
}

#[test]
fn fsck_of_a_sound_volume_finds_nothing() {
    let home = filled("fsck");
    for arguments in [&["fsck", "--json"][..], &["fsck", "--read-data", "--json"], &["fsck", "--repair", "--json"]] {
        let report = home.run(arguments).done().json();
        assert!(report["checked"].as_u64() > Some(0), "{report}");
        assert_eq!((report["bad"].as_u64(), report["repaired"].as_u64()), (Some(0), Some(0)), "{report}");
        assert_eq!(report["unrepairable"].as_array().map(Vec::len), Some(0));
    }
}

#[test]
fn fsck_names_the_path_that_a_flipped_bit_hits_and_ends_with_six() {
    let home = filled("flip");
    let volume = fs::read_dir(home.path().join("volumes")).unwrap().next().unwrap().unwrap().path();
    let mut arenas: Vec<_> = fs::read_dir(volume.join("log")).unwrap().map(|f| f.unwrap().path()).collect();
    arenas.sort_by_key(|f| fs::metadata(f).unwrap().len());
    let arena = fs::File::options().read(true).write(true).open(arenas.last().unwrap()).unwrap();
    // Where which file went is the log's affair: one flip in each part of it hits every large file.
    for at in (100_000..arena.metadata().unwrap().len() - 50_000).step_by(100_000) {
        let mut byte = [0];
        arena.read_exact_at(&mut byte, at).unwrap();
        arena.write_all_at(&[byte[0] ^ 4], at).unwrap();
    }
    let said = home.run(&["fsck", "--read-data", "--json"]);
    said.failed(6, &["damaged", "--repair"]);
    let report = said.json();
    assert!(report["bad"].as_u64() > Some(0), "{report}");
    let hit = report["unrepairable"].as_array().unwrap();
    assert!(hit.iter().any(|damage| damage["path"] == "default:/keep"), "{report}");
    let cat = home.run(&["cat", "/keep"]);
    assert_eq!(cat.code, 6, "no damaged byte is handed out");
}

#[test]
fn hash_gives_equal_ids_to_equal_bytes_inside_and_outside() {
    let home = filled("hash");
    let outside = home.beside("copy");
    fs::write(&outside, bytes::random(1, 1 << 20)).unwrap();
    home.mount().done();
    let inside = home.mountpoint().join("keep");
    let empty = home.beside("empty");
    fs::write(&empty, "").unwrap();
    let arguments = ["hash", &shown(&outside), &shown(&inside), &shown(&empty), "--json"];
    let ids = home.run(&arguments).done().json_lines();
    assert_eq!(ids.len(), 3);
    assert_eq!((&ids[0]["id"], &ids[0]["bytes"]), (&ids[1]["id"], &ids[1]["bytes"]));
    assert_ne!(ids[0]["id"], ids[2]["id"]);
    home.run(&["hash", "/nonexistent"]).failed(3, &["/nonexistent"]);
}

#[test]
fn stat_lists_the_blocks_of_a_file() {
    let home = filled("blocks");
    let node = home.run(&["stat", "/keep", "--json"]).done().json();
    let blocks = node["blocks"].as_array().unwrap();
    assert!(blocks.len() > 1, "{node}");
    assert_eq!(blocks.iter().map(|b| b["bytes"].as_u64().unwrap()).sum::<u64>(), 1 << 20);
    assert!(blocks.iter().all(|b| b["local"] == true));
}

#[test]
fn bench_prints_figures_and_leaves_nothing() {
    let home = Home::new("bench");
    let dir = home.beside("bench");
    fs::create_dir(&dir).unwrap();
    let figures = home.run(&["bench", &shown(&dir), "--json"]).done().json();
    let figures = figures.as_array().unwrap();
    assert!(figures.len() >= 8, "{figures:?}");
    assert!(figures.iter().all(|f| f["value"].as_f64() > Some(0.0) && f["unit"].is_string()));
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    home.run(&["bench", "/nonexistent"]).failed(3, &["/nonexistent"]);
}
