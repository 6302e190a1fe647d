//! Apart and together again: nothing is lost, both versions stay, the roots become equal (S4).

use std::fs;

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until, until_equal, until_reads};

fn listing(device: &Device) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(device.dir()).unwrap().map(Result::unwrap).filter(|e| e.path().is_file());
    let mut all: Vec<_> =
        entries.map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap())).collect();
    all.sort();
    all
}

#[test]
fn both_sides_of_a_conflict_stay_and_one_can_be_kept() {
    let Some((lan, a, b)) = super::pair() else { return };
    fs::write(a.at("both.txt"), "common").unwrap();
    until_reads(&b.at("both.txt"), b"common");
    until_equal(&[&a, &b]);
    lan.cable(1, false);
    fs::write(a.at("both.txt"), "by alpha").unwrap();
    fs::write(b.at("both.txt"), "by beta, longer").unwrap();
    fs::write(a.at("only-a"), "a").unwrap();
    fs::rename(b.at("first"), b.at("renamed")).unwrap();
    lan.cable(1, true);
    until("what the other did", || b.at("only-a").exists() && a.at("renamed").exists());
    until_equal(&[&a, &b]);
    let (on_a, on_b) = (listing(&a), listing(&b));
    assert_eq!(on_a, on_b);
    let versions: Vec<_> = on_a.iter().filter(|(name, _)| name.starts_with("both")).map(|(_, c)| c.clone()).collect();
    assert_eq!(versions.len(), 2, "{on_a:?}");
    for version in [&b"by alpha"[..], b"by beta, longer"] {
        assert!(versions.iter().any(|v| v == version), "{on_a:?}");
    }
    let conflicts = a.run(&["conflicts", "--json"]).done().json();
    let all = conflicts[0]["versions"].as_array().unwrap();
    let devices: Vec<_> = all.iter().map(|v| v["device"].as_str().unwrap()).collect();
    assert!(devices.contains(&"alpha") && devices.contains(&"beta"), "{conflicts}");
    let alphas = all.iter().find(|v| v["device"] == "alpha").unwrap();
    let path = a.at("both.txt");
    a.run(&["resolve", &path.to_string_lossy(), "--keep", alphas["id"].as_str().unwrap()]).done();
    until_reads(&b.at("both.txt"), b"by alpha");
    until_equal(&[&a, &b]);
    assert_eq!(b.run(&["conflicts", "--json"]).done().json().as_array().unwrap().len(), 0);
}

#[test]
fn a_peer_that_is_lost_without_a_word_fails_the_read_counts_as_gone_and_is_found_again() {
    let Some((lan, a, b)) = super::pair() else { return };
    let content = random(5, 300_000);
    fs::write(a.at("absent"), &content).unwrap();
    until("the other's file", || b.at("absent").exists());
    assert_eq!(b.connected(), 1);
    lan.cable(1, false);
    assert_eq!(fs::read(b.at("absent")).unwrap_err().raw_os_error(), Some(libc::EIO));
    assert_eq!(b.connected(), 0, "the read found out: the next one fails at once");
    lan.cable(1, true);
    until_reads(&b.at("absent"), &content);
}
