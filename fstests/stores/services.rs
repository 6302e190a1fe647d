//! The same over real servers: S3, SFTP, WebDAV.

use std::fs;

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until, until_reads};
use fstests::harness::lan::Lan;
use fstests::harness::servers::Servers;

#[test]
fn two_devices_never_online_together_meet_in_a_service() {
    let Some(lan) = Lan::new(3) else { return };
    let servers = Servers::start(&lan, 2);
    for location in servers.locations("met") {
        let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
        a.mount("default");
        b.join(&a.invite("default", &[]));
        a.run(&["store", "add", "cloud", &location]).done();
        b.run(&["store", "add", "cloud", &location]).done();
        b.stop();
        let large = random(7, 3_000_000);
        fs::write(a.at("large"), &large).unwrap();
        fs::write(a.at("small"), "from alpha").unwrap();
        a.run(&["store", "sync"]).done();
        a.stop();
        b.mount("default");
        until_reads(&b.at("small"), b"from alpha");
        assert!(fs::read(b.at("large")).unwrap() == large, "{location}");
        fs::write(b.at("answer"), "from beta").unwrap();
        b.run(&["store", "sync"]).done();
        b.stop();
        a.mount("default");
        until_reads(&a.at("answer"), b"from beta");
        a.stop();
    }
}

#[test]
fn a_thousand_small_files_are_few_objects() {
    let Some(lan) = Lan::new(2) else { return };
    let servers = Servers::start(&lan, 1);
    let Some(location) = servers.location("s3", "packed") else { return };
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    a.run(&["store", "add", "cloud", &location]).done();
    for n in 0..1000 {
        fs::write(a.at(&format!("f{n}")), random(n, 3000)).unwrap();
    }
    a.run(&["store", "sync"]).done();
    let packs = fs::read_dir(servers.bucket("packed").join("packs")).unwrap().count();
    assert!(packs <= 20, "{packs} objects for 1000 files");
    a.stop();
}

#[test]
fn a_black_hole_holds_nobody_up_and_is_fed_when_it_answers_again() {
    let Some(lan) = Lan::new(2) else { return };
    let servers = Servers::start(&lan, 1);
    let Some(location) = servers.location("s3", "hole") else { return };
    let mut a = Device::new(&lan, 0, "alpha");
    a.mount("default");
    a.run(&["store", "add", "cloud", &location]).done();
    lan.cable(1, false);
    for n in 0..50 {
        fs::write(a.at(&format!("f{n}")), random(n, 10_000)).unwrap();
        assert!(fs::read(a.at(&format!("f{n}"))).unwrap() == random(n, 10_000));
    }
    lan.cable(1, true);
    until("the store has everything", || a.run(&["store", "sync"]).code == 0);
    a.stop();
}
