//! D11 for boxes that cannot read: what nobody needs goes when all who write have said so, and nothing else does.

use std::fs;

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until, until_equal, until_reads};
use fstests::harness::lan::Lan;
use serde_json::Value;

const FILES: u64 = 12;
const LEN: usize = 250_000;

fn kept(keeper: &Device) -> Value {
    keeper.run(&["keep", "list", "--json"]).done().json()[0].clone()
}

fn used(keeper: &Device) -> u64 {
    kept(keeper)["used_bytes"].as_u64().unwrap()
}

fn until_kept(device: &Device) {
    device.run(&["volume", "show", "default"]).done(); // seals what was written
    until("everything to be kept", || device.status()["volumes"][0]["keepers"][0]["state"] == "ok");
}

/// Two writers and a box that has everything, then garbage of most of it.
fn spoiled(lan: &Lan) -> (Device, Device, Device) {
    let (mut a, mut b) = (Device::new(lan, 0, "alpha"), Device::new(lan, 1, "beta"));
    let mut keeper = Device::new(lan, 2, "box");
    a.mount("default");
    keeper.run(&["join", &a.invite("default", &["--role", "storage"])]).done();
    keeper.serve();
    b.join(&a.invite("default", &[]));
    for n in 0..FILES {
        fs::write(a.at(&format!("old{n}")), random(n, LEN)).unwrap();
    }
    fs::write(a.at("kept"), random(100, LEN)).unwrap();
    until_reads(&b.at("kept"), &random(100, LEN));
    fs::write(b.at("other"), random(200, LEN)).unwrap();
    until_equal(&[&a, &b]);
    until_kept(&a);
    until_kept(&b);
    assert!(used(&keeper) > FILES * LEN as u64);
    for n in 0..FILES {
        fs::write(a.at(&format!("old{n}")), b"").unwrap();
    }
    until_equal(&[&a, &b]);
    (a, b, keeper)
}

#[test]
fn garbage_on_a_box_goes_when_all_have_answered_and_a_kill_in_between_changes_nothing() {
    let Some(lan) = Lan::new(3) else { return };
    let (mut a, mut b, mut keeper) = spoiled(&lan);
    until_kept(&a);
    until_kept(&b);
    b.stop();
    // Of what is connected the box has the only copy of one file.
    let evict = |a: &Device| {
        let evicted = a.run(&["evict", &a.at("kept").to_string_lossy(), "--json"]).done().json();
        assert_eq!(evicted["dropped_bytes"], LEN, "{evicted}");
    };
    let get = |a: &Device| a.run(&["get", &a.at("kept").to_string_lossy()]).done().code;
    evict(&a);
    keeper.run(&["keep", "gc", "alpha"]).done();
    until("only beta to be waited for", || kept(&keeper)["collection"]["waiting_for"] == serde_json::json!(["beta"]));
    assert!(used(&keeper) > FILES * LEN as u64, "{}", kept(&keeper));
    keeper.kill();
    keeper.serve();
    assert_eq!(kept(&keeper)["collection"]["waiting_for"], serde_json::json!(["beta"]));
    // What was said not to be needed is needed again: it is given again, or stays.
    fs::write(a.at("again"), random(3, LEN)).unwrap();
    until_kept(&a);
    get(&a);
    evict(&a);
    b.mount("default");
    until("the box to be collected", || kept(&keeper)["collection"].is_null());
    assert!(used(&keeper) < 6 * LEN as u64, "{}", kept(&keeper));
    b.stop();
    get(&a);
    until_reads(&a.at("kept"), &random(100, LEN));
    b.mount("default");
    until_reads(&b.at("kept"), &random(100, LEN));
    until_reads(&b.at("again"), &random(3, LEN));
    // And what is written now comes there as before, the same content as the garbage too.
    let before = used(&keeper);
    fs::write(a.at("anew"), random(5, LEN)).unwrap();
    until_kept(&a);
    assert!(used(&keeper) >= before + LEN as u64, "{before}: {}", kept(&keeper));
    until_reads(&b.at("anew"), &random(5, LEN));
    a.stop();
    until_reads(&b.at("other"), &random(200, LEN));
}

#[test]
fn a_device_that_was_removed_is_not_waited_for() {
    let Some(lan) = Lan::new(3) else { return };
    let (a, mut b, keeper) = spoiled(&lan);
    until_kept(&a);
    b.kill();
    keeper.run(&["keep", "gc", "alpha"]).done();
    until("only beta to be waited for", || kept(&keeper)["collection"]["waiting_for"] == serde_json::json!(["beta"]));
    a.run(&["members", "default", "remove", "beta"]).done();
    until("the box to be collected", || kept(&keeper)["collection"].is_null());
    assert!(used(&keeper) < 4 * LEN as u64, "{}", kept(&keeper));
    until_reads(&a.at("kept"), &random(100, LEN));
    until_reads(&a.at("other"), &random(200, LEN));
}
