//! What goes wrong with stores, and what is said of it.

use std::fs;

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until_reads};
use fstests::harness::lan::Lan;
use fstests::harness::scratch::Scratch;
use fstests::harness::servers::Servers;

use crate::moving::spoil;

fn folder(scratch: &Scratch, name: &str) -> String {
    format!("file:{}", scratch.path().join(name).display())
}

#[test]
fn a_store_of_another_volume_a_bad_name_and_a_bad_location_are_refused() {
    let Some(lan) = Lan::new(2) else { return };
    let shared = Scratch::new("refused-store");
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    b.mount("default");
    a.run(&["store", "add", "box", &folder(&shared, "store")]).done();
    b.run(&["store", "add", "box", &folder(&shared, "store")]).failed(2, &["another volume", "empty folder"]);
    assert!(a.run(&["store", "add", "box", "memory:"]).err.contains("already"));
    for bad in ["nfs:/x", "sftp://user:secret@host/x", "s3:bucket", "s3://bucket/x?secret=1"] {
        let refused = a.run(&["store", "add", "other", bad]);
        assert!(refused.code == 2 && !refused.err.contains("user:secret"), "{bad}: {}", refused.err);
    }
    a.run(&["store", "add", "cloud", "s3://bucket/x?endpoint=http://127.0.0.1:9"]).failed(5, &["cloud"]);
    a.stop();
    b.stop();
}

#[test]
fn wrong_credentials_are_said_to_be() {
    let Some(lan) = Lan::new(2) else { return };
    let servers = Servers::start(&lan, 1);
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    if let Some(location) = servers.location("sftp", "x") {
        let other = location.replace("/user&", "/host&");
        a.run(&["store", "add", "box", &other]).failed(1, &["box", "credentials"]);
    }
    if let Some(location) = servers.location("webdav", "x") {
        a.run(&["store", "add", "dav", &location.replace("//", "//mallory@")]).failed(1, &["dav", "credentials"]);
    }
    a.stop();
}

#[test]
fn lying_stores_are_found_out_the_other_one_answers_and_the_liar_is_repaired() {
    let Some(lan) = Lan::new(2) else { return };
    let shared = Scratch::new("lying-store");
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    b.join(&a.invite("default", &[]));
    for device in [&a, &b] {
        device.run(&["store", "add", "one", &folder(&shared, "one")]).done();
        device.run(&["store", "add", "two", &folder(&shared, "two")]).done();
    }
    let data = random(3, 2_000_000);
    fs::write(a.at("data"), &data).unwrap();
    until_reads(&b.at("data"), &data);
    b.stop();
    fs::write(a.at("late"), random(4, 2_000_000)).unwrap();
    a.run(&["store", "sync"]).done();
    a.stop();
    // Each lies about another half: whichever is asked first is found out.
    let even = |name: &str| name.bytes().last().is_some_and(|last| last % 2 == 0);
    assert!(spoil(&shared.path().join("one/blocks"), even) > 5);
    assert!(spoil(&shared.path().join("two/blocks"), |name| name.bytes().last().is_some_and(|last| last % 2 == 1)) > 5);
    b.mount("default");
    until_reads(&b.at("late"), &random(4, 2_000_000));
    b.stop();
    assert!(b.said().contains("wrong bytes") || b.said().contains("repaired"), "{}", b.said());
}

#[test]
fn a_store_in_itself_in_the_home_or_nowhere_is_refused() {
    let Some(lan) = Lan::new(1) else { return };
    let shared = Scratch::new("silly-store");
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    let add = |url: String| a.run(&["store", "add", "box", &url]);
    add(format!("file:{}", a.at("inside").display())).failed(2, &["mounted volume"]);
    add(format!("arena:{}", a.home().join("x").display())).failed(2, &["home"]);
    add("file:relative/x".to_owned()).failed(2, &["relative"]);
    add(folder(&shared, "a/b/c")).failed(3, &["no folder"]);
    assert!(!shared.path().join("a").exists());
    add("memory:".to_owned()).failed(2, &["memory"]);
    add(folder(&shared, "x")).done();
    a.run(&["store", "add", "again", &format!("{}/", folder(&shared, "x"))]).failed(1, &["already"]);
    a.stop();
}

#[test]
fn an_emptied_store_is_said_to_be_and_the_last_copy_is_not_let_go() {
    let Some(lan) = Lan::new(1) else { return };
    let shared = Scratch::new("emptied-store");
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    let data = random(5, 2_000_000);
    fs::write(a.at("data"), &data).unwrap();
    a.run(&["store", "add", "one", &folder(&shared, "one")]).done();
    a.run(&["store", "add", "two", &folder(&shared, "two")]).done();
    a.run(&["store", "sync"]).done();
    fs::remove_dir_all(shared.path().join("two")).unwrap();
    assert_ne!(a.run(&["store", "check", "two"]).code, 0);
    a.run(&["store", "remove", "two"]).failed(1, &["--force"]);
    a.run(&["store", "remove", "two", "--force"]).done();
    a.run(&["evict", &a.at("data").to_string_lossy()]).done();
    a.run(&["store", "remove", "one"]).failed(1, &["no other store"]);
    assert_eq!(a.run(&["push", &a.at("nothing").to_string_lossy(), "one"]).code, 3);
    a.stop();
    a.mount("default");
    a.run(&["push", &a.at("data").to_string_lossy(), "one"]).done();
    assert!(fs::read(a.at("data")).unwrap() == data);
    a.stop();
}
