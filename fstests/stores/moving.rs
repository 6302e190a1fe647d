//! Blocks that leave this disk for a store, come back from it, and are put right from it.

use std::fs;
use std::path::Path;

use fstests::harness::bytes::random;
use fstests::harness::device::Device;
use fstests::harness::lan::Lan;
use fstests::harness::scratch::Scratch;

fn folder(scratch: &Scratch, name: &str) -> String {
    format!("file:{}", scratch.path().join(name).display())
}

/// Flip a byte in the middle of every file below `dir` that is `chosen` by its name.
pub fn spoil(dir: &Path, chosen: fn(&str) -> bool) -> usize {
    let mut spoilt = 0;
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            spoilt += spoil(&entry.path(), chosen);
            continue;
        }
        let mut bytes = fs::read(entry.path()).unwrap();
        if !bytes.is_empty() && chosen(&entry.file_name().to_string_lossy()) {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(entry.path(), bytes).unwrap();
            spoilt += 1;
        }
    }
    spoilt
}

#[test]
fn what_a_store_has_may_leave_the_disk_and_what_it_lost_may_not() {
    let Some(lan) = Lan::new(1) else { return };
    let shared = Scratch::new("evicted-store");
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    fs::create_dir(a.at("d")).unwrap();
    let data = random(1, 3_000_000);
    fs::write(a.at("d/data"), &data).unwrap();
    let path = a.at("d").to_string_lossy().into_owned();
    assert_eq!(a.run(&["evict", &path]).code, 5, "nobody has it");
    a.run(&["store", "add", "box", &folder(&shared, "box")]).done();
    a.run(&["store", "sync"]).done();
    a.run(&["evict", &path]).done();
    let explained = a.run(&["explain", &a.at("d/data").to_string_lossy(), "--json"]).done().json();
    assert_eq!(explained["blocks"][0]["from"], "store box", "{explained}");
    a.stop();
    a.mount("default");
    a.run(&["get", &path]).done();
    assert!(fs::read(a.at("d/data")).unwrap() == data);
    fs::remove_dir_all(shared.path().join("box/blocks")).unwrap();
    fs::create_dir(shared.path().join("box/blocks")).unwrap();
    assert_eq!(a.run(&["evict", &path]).code, 5, "the store lost it");
    assert!(fs::read(a.at("d/data")).unwrap() == data);
    a.stop();
}

#[test]
fn fsck_heals_this_disk_from_a_store_and_check_heals_a_store_from_this_disk() {
    let Some(lan) = Lan::new(1) else { return };
    let shared = Scratch::new("healed-store");
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    let data = random(2, 3_000_000);
    fs::write(a.at("data"), &data).unwrap();
    for name in ["one", "two"] {
        a.run(&["store", "add", name, &folder(&shared, name)]).done();
    }
    a.run(&["store", "sync"]).done();
    assert!(spoil(&shared.path().join("one/blocks"), |_| true) > 10);
    let found = a.run(&["store", "check", "one", "--json"]);
    assert_eq!((found.code, found.json()["repaired"].as_u64()), (6, Some(0)), "{found:?}");
    a.run(&["store", "check", "one", "--repair"]).done();
    a.run(&["store", "check", "one"]).done();
    a.stop();
    // Bits of the log itself: not its header, not its end, which a crash may have cut.
    let arena = fs::read_dir(a.home().join("volumes")).unwrap().map(Result::unwrap).find_map(|volume| {
        let log = volume.path().join("log");
        fs::read_dir(log)
            .ok()?
            .map(Result::unwrap)
            .map(|e| e.path())
            .find(|p| p.extension().is_some_and(|x| x == "arena"))
    });
    let arena = arena.unwrap_or_else(|| panic!("no arena below {}", a.home().display()));
    let mut bytes = fs::read(&arena).unwrap();
    for at in [200_000, 900_000, 1_700_000] {
        bytes[at] ^= 1;
    }
    fs::write(&arena, bytes).unwrap();
    a.mount("default");
    let healed = a.run(&["fsck", "--read-data", "--repair", "--json"]);
    let report = healed.json();
    assert!(report["repaired"].as_u64().unwrap() >= 1, "{healed:?}");
    assert_eq!(report["unrepairable"].as_array().map(Vec::len), Some(0), "{healed:?}");
    a.run(&["fsck", "--read-data"]).done();
    assert!(fs::read(a.at("data")).unwrap() == data);
    a.stop();
}

#[test]
fn one_store_is_filled_from_another() {
    let Some(lan) = Lan::new(1) else { return };
    let shared = Scratch::new("copied-store");
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    a.run(&["store", "add", "one", &folder(&shared, "one")]).done();
    fs::write(a.at("data"), random(3, 3_000_000)).unwrap();
    a.run(&["store", "sync"]).done();
    a.run(&["store", "add", "two", &folder(&shared, "two")]).done();
    a.run(&["store", "sync", "one", "two"]).done();
    let again = a.run(&["store", "sync", "one", "two", "--json"]).done().json();
    assert_eq!(again["read"], 0, "{again}");
    assert_eq!(a.run(&["store", "sync", "one", "none"]).code, 3);
    a.stop();
}
