//! Stores in a folder that two machines see: a stick, a share.

use std::fs;
use std::io::Write;

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until, until_reads};
use fstests::harness::lan::Lan;
use fstests::harness::scratch::Scratch;

fn location(scratch: &Scratch) -> String {
    format!("file:{}", scratch.path().join("store").display())
}

#[test]
fn two_devices_never_online_together_meet_in_a_folder() {
    let Some(lan) = Lan::new(2) else { return };
    let shared = Scratch::new("shared-store");
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    b.join(&a.invite("default", &[]));
    for device in [&a, &b] {
        device.run(&["store", "add", "box", &location(&shared)]).done();
    }
    b.stop();
    let large = random(7, 2_000_000);
    fs::write(a.at("large"), &large).unwrap();
    fs::write(a.at("small"), "from alpha").unwrap();
    a.run(&["store", "sync"]).done();
    a.stop();
    b.mount("default");
    until_reads(&b.at("small"), b"from alpha");
    assert!(fs::read(b.at("large")).unwrap() == large);
    fs::write(b.at("answer"), "from beta").unwrap();
    b.run(&["store", "sync"]).done();
    b.stop();
    a.mount("default");
    until_reads(&a.at("answer"), b"from beta");
    a.stop();
}

#[test]
fn a_store_is_listed_fed_and_goes_on_after_a_kill() {
    let Some(lan) = Lan::new(1) else { return };
    let shared = Scratch::new("fed-store");
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    fs::write(a.at("one"), random(1, 500_000)).unwrap();
    a.run(&["store", "add", "box", &location(&shared)]).done();
    a.run(&["push", &a.dir().to_string_lossy(), "box"]).done();
    let stored = |a: &Device| a.status()["stores"][0]["stored_bytes"].as_u64().unwrap();
    assert!(stored(&a) >= 500_000);
    fs::write(a.at("two"), random(2, 5_000_000)).unwrap();
    a.run(&["status", "--json"]).done();
    a.kill();
    a.mount("default");
    a.run(&["store", "sync"]).done();
    let state = a.status()["stores"][0].clone();
    assert_eq!((&state["state"], &state["queue_bytes"], &state["name"]), (&"ok".into(), &0.into(), &"box".into()));
    a.run(&["store", "remove", "box"]).done();
    assert_eq!(a.run(&["store", "show", "box"]).code, 3);
    a.stop();
}

#[test]
fn a_limit_holds_the_feeding_back_until_it_is_lifted() {
    let Some(lan) = Lan::new(1) else { return };
    let shared = Scratch::new("limited-store");
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    a.run(&["store", "add", "box", &location(&shared)]).done();
    for wrong in [&["store", "set", "box", "--limit", "a lot"][..], &["store", "set", "box"]] {
        assert_eq!(a.run(wrong).code, 2);
    }
    a.run(&["store", "set", "sack", "--limit", "1MiB"]).failed(3, &["sack"]);
    let set = a.run(&["store", "set", "box", "--limit", "16KiB", "--json"]).done().json();
    assert_eq!(set["limit_bytes_s"], 16 << 10, "{set}");
    fs::write(a.at("file"), random(1, 20_000_000)).unwrap();
    let waiting = |a: &Device| a.status()["stores"][0]["queue_bytes"].as_u64() > Some(15_000_000);
    until("most of it to wait", || waiting(&a));
    a.stop();
    a.mount("default");
    until("the limit to be kept over a restart", || waiting(&a));
    assert_eq!(a.status()["stores"][0]["state"], "being brought up to date");
    // At that rate it would take twenty minutes.
    a.run(&["store", "set", "box", "--limit", "none"]).done();
    a.run(&["store", "sync"]).done();
    assert_eq!(a.status()["stores"][0]["queue_bytes"], 0);
    a.stop();
}

#[test]
fn an_fsync_waits_for_the_store_that_must_have_what_is_written() {
    let Some(lan) = Lan::new(2) else { return };
    let shared = Scratch::new("required-store");
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.run(&["config", "set", "fetch.timeout", "2"]).done();
    a.mount("default");
    b.join(&a.invite("default", &[]));
    for device in [&a, &b] {
        device.run(&["store", "add", "box", &location(&shared)]).done();
    }
    b.stop();
    let set = a.run(&["store", "set", "box", "--before-fsync", "yes", "--json"]).done().json();
    assert_eq!(set["before_fsync"], true, "{set}");
    let write = |name: &str, data: &[u8]| {
        let mut file = fs::File::create(a.at(name)).unwrap();
        file.write_all(data).unwrap();
        file.sync_all()
    };
    let large = random(3, 3_000_000);
    write("large", &large).unwrap();
    let (here, away) = (shared.path().join("store"), shared.path().join("away"));
    fs::rename(&here, &away).unwrap();
    assert_eq!(write("later", b"x").unwrap_err().raw_os_error(), Some(libc::EIO), "it is not where it must be");
    fs::rename(&away, &here).unwrap();
    a.run(&["store", "test", "box"]).done();
    write("back", b"x").unwrap();
    fs::rename(&here, &away).unwrap();
    a.run(&["store", "set", "box", "--before-fsync", "no"]).done();
    write("without", b"x").unwrap();
    a.kill();
    fs::rename(&away, &here).unwrap();
    b.mount("default");
    until_reads(&b.at("large"), &large);
    b.stop();
}

#[test]
fn a_stick_that_is_pulled_is_said_to_be_gone_not_written_beside_and_found_again() {
    let Some(lan) = Lan::new(1) else { return };
    for scheme in ["file", "arena", "sqlite", "sled"] {
        let shared = Scratch::new("unplugged-store");
        let (here, away) = (shared.path().join("stick"), shared.path().join("away"));
        fs::create_dir(&here).unwrap();
        let location = format!("{scheme}:{}/store", here.display());
        let mut a = Device::new(&lan, 0, "alpha");
        a.mount("default");
        a.run(&["store", "add", "stick", &location]).done();
        a.run(&["store", "sync"]).done();
        a.stop();
        fs::rename(&here, &away).unwrap();
        fs::create_dir(&here).unwrap();
        a.mount("default");
        fs::write(a.at("file"), "written without the stick").unwrap();
        until("a state that says so", || a.status()["stores"][0]["state"].as_str().unwrap().contains("unplugged"));
        assert_eq!(fs::read_dir(&here).unwrap().count(), 0, "{scheme}: nothing on the empty mountpoint");
        fs::remove_dir(&here).unwrap();
        fs::rename(&away, &here).unwrap();
        until("the stick is used again", || a.run(&["store", "sync"]).code == 0);
        a.stop();
    }
}

#[test]
fn a_newcomer_joins_through_a_store_although_the_two_are_never_online_together() {
    let Some(lan) = Lan::new(2) else { return };
    let shared = Scratch::new("joined-store");
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    a.run(&["store", "add", "box", &location(&shared)]).done();
    let large = random(7, 2_000_000);
    fs::write(a.at("large"), &large).unwrap();
    let link = a.invite("default", &["--via", "box"]);
    a.run(&["store", "sync"]).done();
    a.stop();
    b.run(&["join", &link]).failed(5, &["the same link again"]);
    a.mount("default");
    let answered = |shared: &Scratch| {
        let heads = fs::read_dir(shared.path().join("store/heads")).unwrap().map(Result::unwrap);
        heads.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with("w."))
    };
    until("an answer in the store", || answered(&shared));
    a.stop();
    b.join(&link);
    assert!(fs::read(b.at("large")).unwrap() == large);
    assert!(!answered(&shared), "what served is cleared away");
    fs::write(b.at("back"), "from beta").unwrap();
    b.run(&["store", "sync"]).done();
    b.stop();
    a.mount("default");
    until_reads(&a.at("back"), b"from beta");
    a.stop();
}

#[test]
fn another_member_that_looks_into_the_store_does_not_answer_for_the_inviter() {
    let Some(lan) = Lan::new(3) else { return };
    let shared = Scratch::new("watched-store");
    let mut devices = [0, 1, 2].map(|n| Device::new(&lan, n, ["alpha", "beta", "gamma"][n]));
    let [a, b, c] = &mut devices;
    a.mount("default");
    c.join(&a.invite("default", &[]));
    for device in [&*a, &*c] {
        device.run(&["store", "add", "box", &location(&shared)]).done();
    }
    fs::write(a.at("file"), "from alpha").unwrap();
    let link = a.invite("default", &["--via", "box"]);
    a.run(&["store", "sync"]).done();
    a.stop();
    b.run(&["join", &link]).failed(5, &["the same link again"]);
    c.run(&["store", "sync"]).done();
    a.mount("default");
    b.join(&link);
    until_reads(&b.at("file"), b"from alpha");
    devices.iter_mut().for_each(Device::stop);
}
