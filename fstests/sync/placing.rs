//! Several boxes: large blocks go to as many as asked for, small ones to each, and what is lost with a box is put right.

use std::fs;

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until, until_reads};
use fstests::harness::lan::Lan;
use fstests::harness::scratch::Scratch;
use serde_json::Value;

/// Blocks longer than this are placed; shorter ones may be at each box.
const LARGE: u64 = 40 << 10;

/// A box that keeps the volume of `of`, serving.
fn keeper(lan: &Lan, n: usize, name: &str, of: &Device) -> Device {
    let mut keeper = Device::new(lan, n, name);
    keeper.run(&["join", &of.invite("default", &["--role", "storage"]), "--quota", "1GiB"]).done();
    keeper.serve();
    keeper
}

fn keepers(device: &Device) -> Vec<Value> {
    device.status()["volumes"][0]["keepers"].as_array().unwrap().clone()
}

/// Wait until each of these many boxes has what it should, but for those that are not there.
fn until_placed(device: &Device, connected: usize, all: usize) {
    let told = |keeper: &Value| format!("{}: {}", keeper["device"], keeper["state"]);
    let mut said = Vec::new();
    until(&format!("{connected} boxes to be ok"), || {
        let keepers = keepers(device);
        let ok = keepers.iter().filter(|keeper| keeper["connected"] == true && keeper["state"] == "ok").count();
        let now: Vec<String> = keepers.iter().map(told).collect();
        if now != said {
            eprintln!("{now:?}");
        }
        said = now;
        keepers.len() == all && ok == connected
    });
}

fn used(keeper: &Device) -> u64 {
    keeper.run(&["keep", "list", "--json"]).done().json()[0]["used_bytes"].as_u64().unwrap()
}

/// The large blocks of a file, each with the boxes that should have it and those that do.
fn large_blocks(device: &Device, name: &str) -> Vec<(Value, Value)> {
    let path = device.at(name);
    let explained = device.run(&["explain", &path.to_string_lossy(), "--json"]).done().json();
    let large = |block: &&Value| block["bytes"].as_u64() > Some(LARGE);
    let blocks = explained["blocks"].as_array().unwrap();
    blocks.iter().filter(large).map(|block| (block["boxes"].clone(), block["kept_by"].clone())).collect()
}

/// Whether no block of a file is on the device itself.
fn is_nowhere_here(device: &Device, name: &str) -> bool {
    let path = device.at(name);
    let explained = device.run(&["explain", &path.to_string_lossy(), "--json"]).done().json();
    explained["blocks"].as_array().unwrap().iter().all(|block| block["local"] == false)
}

fn copies(device: &Device, copies: &str) -> Value {
    device.run(&["members", "default", "copies", copies, "--json"]).done().json()
}

const FILES: usize = 8;
const EACH: usize = 1_000_000;

fn write_files(device: &Device) {
    for n in 0..FILES {
        fs::write(device.at(&format!("file-{n}")), random(n as u64, EACH)).unwrap();
    }
}

#[test]
fn each_large_block_is_at_two_of_three_boxes_any_of_which_is_enough_to_follow() {
    let Some(lan) = Lan::new(5) else { return };
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    let mut boxes =
        ["one", "two", "three"].iter().zip(2..).map(|(name, n)| keeper(&lan, n, name, &a)).collect::<Vec<_>>();
    b.join(&a.invite("default", &[]));
    b.run(&["members", "default", "copies", "2"]).failed(1, &["only an admin"]);
    assert_eq!(a.run(&["members", "default", "copies", "17"]).code, 2);
    b.stop();
    let said = copies(&a, "2");
    assert_eq!((&said["copies"], &said["boxes"]), (&2.into(), &3.into()), "{said}");
    write_files(&a);
    until_placed(&a, 3, 3);
    let mut blocks = 0;
    for (due, kept) in (0..FILES).flat_map(|n| large_blocks(&a, &format!("file-{n}"))) {
        assert_eq!((due.as_array().unwrap().len(), &due), (2, &kept));
        blocks += 1;
    }
    assert!(blocks > FILES, "{blocks}");
    let (all, due) = (boxes.iter().map(used).sum::<u64>(), (2 * FILES * EACH) as u64);
    assert!((due..due + due / 5).contains(&all), "{all} for {due}");
    // Any one alone.
    for alone in 0..boxes.len() {
        fs::write(a.at(&format!("news-{alone}")), "news").unwrap();
        until_placed(&a, 3, 3);
        let root = a.root();
        a.stop();
        boxes.iter_mut().enumerate().filter(|(n, _)| *n != alone).for_each(|(_, other)| other.stop());
        b.mount("default");
        until("the newest root", || b.root() == root);
        assert_eq!(fs::read_dir(b.dir()).unwrap().count(), FILES + alone + 1);
        b.stop();
        boxes.iter_mut().enumerate().filter(|(n, _)| *n != alone).for_each(|(_, other)| other.serve());
        a.mount("default");
        until_placed(&a, 3, 3);
    }
    // One goes for good: the others have everything.
    a.run(&["members", "default", "remove", "three"]).done();
    until_placed(&a, 2, 2);
    for (_, kept) in (0..FILES).flat_map(|n| large_blocks(&a, &format!("file-{n}"))) {
        assert_eq!(kept.as_array().unwrap().len(), 2, "{kept}");
    }
    assert!(boxes[..2].iter().all(|keeper| used(keeper) > (FILES * EACH) as u64));
}

#[test]
fn what_is_not_here_any_more_comes_to_a_new_box_from_the_one_that_is_left() {
    let Some(lan) = Lan::new(4) else { return };
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    let (mut one, mut two) = (keeper(&lan, 1, "one", &a), keeper(&lan, 2, "two", &a));
    copies(&a, "2");
    let content = random(7, 5_000_000);
    fs::write(a.at("file"), &content).unwrap();
    until_placed(&a, 2, 2);
    let path = a.at("file");
    let evicted = a.run(&["evict", &path.to_string_lossy(), "--json"]).done().json();
    assert_eq!(evicted["dropped_bytes"], content.len(), "{evicted}");
    // While the other cannot be asked, either has the only copy that is known of.
    one.stop();
    until("one to be away", || a.connected() == 1);
    a.run(&["members", "default", "remove", "two"]).failed(1, &["neither here nor with", "--force"]);
    one.serve();
    until("one to be back", || a.connected() == 2);
    two.stop();
    a.run(&["members", "default", "remove", "two"]).done();
    let three = keeper(&lan, 3, "three", &a);
    until_placed(&a, 2, 2);
    assert!(used(&three) > content.len() as u64);
    assert!(is_nowhere_here(&a, "file"));
    one.stop();
    a.stop();
    a.mount("default");
    until_reads(&path, &content);
}

#[test]
fn what_only_a_store_has_comes_to_a_new_box_through_here_and_does_not_stay() {
    let Some(lan) = Lan::new(2) else { return };
    let (mut a, stick) = (Device::new(&lan, 0, "alpha"), Scratch::new("stick"));
    a.mount("default");
    a.run(&["store", "add", "stick", &format!("file:{}", stick.path().join("lovage").display())]).done();
    let (path, content) = (a.at("file"), random(8, 12_000_000));
    fs::write(&path, &content).unwrap();
    a.run(&["store", "sync"]).done();
    let evicted = a.run(&["evict", &path.to_string_lossy(), "--json"]).done().json();
    assert_eq!(evicted["dropped_bytes"], content.len(), "{evicted}");
    let keeper = keeper(&lan, 1, "box", &a);
    until_placed(&a, 1, 1);
    assert!(used(&keeper) > content.len() as u64);
    assert!(is_nowhere_here(&a, "file"));
    a.run(&["store", "remove", "stick", "--force"]).done();
    drop(stick);
    assert_eq!(fs::read(&path).unwrap(), content, "from the box");
}

#[test]
fn a_box_that_stays_away_gives_its_share_to_the_other_and_more_room_means_more_of_it() {
    let Some(lan) = Lan::new(3) else { return };
    let mut a = Device::new(&lan, 0, "alpha");
    a.run(&["config", "set", "replicas.gone_after", "2"]).done();
    a.mount("default");
    let (one, mut two) = (keeper(&lan, 1, "one", &a), keeper(&lan, 2, "two", &a));
    copies(&a, "1");
    write_files(&a);
    until_placed(&a, 2, 2);
    let shares = || {
        let members = a.run(&["members", "default", "--json"]).done().json();
        let share = |name: &str| members.as_array().unwrap().iter().find(|m| m["device"] == name).unwrap().clone();
        ["one", "two"].map(|name| share(name)["share_percent"].as_u64().unwrap())
    };
    assert!(shares().iter().all(|share| (40..60).contains(share)), "{:?}", shares());
    one.run(&["keep", "set", "alpha", "--quota", "4GiB"]).done();
    until("four fifths for the larger", || (75..85).contains(&shares()[0]) && (15..25).contains(&shares()[1]));
    two.stop(); // it says good-bye: one that is cut off is noticed only after a while
    until("it to be gone", || keepers(&a).iter().any(|k| k["state"].as_str().unwrap().starts_with("gone")));
    until_placed(&a, 1, 2);
    assert!(used(&one) > (FILES * EACH) as u64);
    two.serve();
    until_placed(&a, 2, 2);
}
