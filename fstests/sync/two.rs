//! The thin whole path: invite, join, look, read, write on both sides.

use std::fs;

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until, until_equal, until_reads};
use fstests::harness::lan::Lan;

#[test]
fn a_second_machine_sees_the_tree_at_once_and_reads_what_is_there() {
    let Some(lan) = Lan::new(2) else { return };
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    fs::create_dir_all(a.at("docs/deep")).unwrap();
    fs::write(a.at("docs/deep/hello"), "hello").unwrap();
    let large = random(1, 3_000_000);
    fs::write(a.at("large"), &large).unwrap();
    b.join(&a.invite("default", &[]));
    let mut names: Vec<_> = fs::read_dir(b.dir()).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["docs", "large"], "the tree is there when join says so");
    assert_eq!(fs::read(b.at("docs/deep/hello")).unwrap(), b"hello");
    assert!(fs::read(b.at("large")).unwrap() == large);
    until_equal(&[&a, &b]);
    let peer = &b.status()["peers"][0];
    assert_eq!((&peer["device"], &peer["connected"]), (&"alpha".into(), &true.into()));
    assert!(peer["received_bytes"].as_u64().unwrap() >= 3_000_000);
    let words = |d: &Device| d.run(&["members", "default", "--json"]).done().json();
    assert_eq!(words(&a)[1]["words"], words(&b)[0]["words"], "both sides show the same words");
    a.stop();
    b.stop();
}

#[test]
fn edits_flow_both_ways_and_kernels_show_them() {
    let Some((_lan, mut a, mut b)) = super::pair() else { return };
    until_reads(&b.at("first"), b"first");
    for round in 0..5 {
        let text = format!("round {round}");
        fs::write(a.at("from-a"), &text).unwrap();
        until_reads(&b.at("from-a"), text.as_bytes());
        fs::write(b.at("from-b"), &text).unwrap();
        until_reads(&a.at("from-b"), text.as_bytes());
    }
    fs::create_dir(b.at("dir")).unwrap();
    fs::rename(b.at("from-b"), b.at("dir/moved")).unwrap();
    fs::remove_file(b.at("first")).unwrap();
    until("the move and the removal", || a.at("dir/moved").exists() && !a.at("first").exists());
    assert!(!a.at("from-b").exists());
    until_equal(&[&a, &b]);
    a.stop();
    b.stop();
    // Both again, from what is on disk; the address is remembered.
    a.mount("default");
    b.mount("default");
    fs::write(a.at("again"), "again").unwrap();
    until_reads(&b.at("again"), b"again");
    until_equal(&[&a, &b]);
}
