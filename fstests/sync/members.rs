//! Put out: the one who was removed learns nothing more and is heard no more; the others go on under a new epoch.

use std::fs;

use fstests::harness::device::{Device, until, until_equal, until_reads};
use fstests::harness::lan::Lan;

#[test]
fn who_is_removed_reads_nothing_new_and_the_others_go_on() {
    let Some(lan) = Lan::new(3) else { return };
    let mut all = [Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"), Device::new(&lan, 2, "gamma")];
    all[0].mount("default");
    fs::write(all[0].at("old"), "old").unwrap();
    for n in 1..3 {
        let link = all[0].invite("default", &[]);
        all[n].join(&link);
    }
    let [a, b, c] = &mut all;
    until_reads(&c.at("old"), b"old");
    until_equal(&[a, b, c]);
    a.run(&["members", "default", "remove", "gamma"]).done();
    until("gamma is shut out", || c.connected() == 0);
    until("beta knows", || {
        let members = b.run(&["members", "default", "--json"]).done().json();
        members.as_array().unwrap().iter().any(|m| m["device"] == "gamma" && m["removed"] == true)
    });
    fs::write(a.at("new-a"), "new by alpha").unwrap();
    until_reads(&b.at("new-a"), b"new by alpha");
    fs::write(b.at("new-b"), "new by beta").unwrap();
    until_reads(&a.at("new-b"), b"new by beta");
    fs::write(c.at("by-gamma"), "not wanted").unwrap();
    until_equal(&[a, b]);
    assert!(!c.at("new-a").exists() && !c.at("new-b").exists() && !a.at("by-gamma").exists());
    assert_eq!(fs::read(a.at("old")).unwrap(), b"old");
    // The epoch outlives a restart, and who comes in later reads before and after.
    for device in [&mut *a, &mut *b] {
        device.stop();
        device.mount("default");
    }
    until_reads(&b.at("new-a"), b"new by alpha");
    fs::write(b.at("later"), "later").unwrap();
    until_reads(&a.at("later"), b"later");
    c.stop();
    fs::remove_dir_all(c.home()).unwrap();
    c.join(&a.invite("default", &[]));
    for (name, text) in [("old", "old"), ("new-a", "new by alpha"), ("later", "later")] {
        until_reads(&c.at(name), text.as_bytes());
    }
    until_equal(&[a, b, c]);
}
