//! On a plane: what is pinned is here, what is not says so at once (S7).

use std::fs;
use std::time::{Duration, Instant};

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until, until_equal, until_reads};
use fstests::harness::lan::Lan;

#[test]
fn a_pin_is_read_without_the_network_and_the_rest_fails_promptly() {
    let Some((lan, mut a, mut b)) = super::pair() else { return };
    b.stop();
    b.run(&["config", "set", "fetch.timeout", "2"]).done();
    b.mount("default");
    let (kept, other) = (random(2, 2_000_000), random(3, 2_000_000));
    fs::create_dir(a.at("kept")).unwrap();
    fs::write(a.at("kept/file"), &kept).unwrap();
    fs::write(a.at("other"), &other).unwrap();
    until("the tree", || b.at("kept/file").exists() && b.at("other").exists());
    b.run(&["pin", &b.at("kept").to_string_lossy()]).done();
    let complete = |device: &fstests::harness::device::Device| {
        let pins = device.run(&["pins", "--json"]).done().json();
        pins[0]["complete"] == true && pins[0]["bytes"].as_u64().unwrap() >= 2_000_000
    };
    until_equal(&[&a, &b]);
    until("the pin is complete", || complete(&b));
    // New content of a pinned directory comes by itself, also after a restart.
    b.stop();
    b.mount("default");
    let newer = random(4, 1_000_000);
    fs::write(a.at("kept/newer"), &newer).unwrap();
    until("the newer file is here", || {
        b.run(&["pins", "--json"]).done().json()[0]["bytes"].as_u64() >= Some(3_000_000) && complete(&b)
    });
    lan.cable(1, false);
    assert!(fs::read(b.at("kept/file")).unwrap() == kept);
    assert!(fs::read(b.at("kept/newer")).unwrap() == newer);
    let begin = Instant::now();
    let refused = fs::read(b.at("other")).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EIO), "{refused}");
    assert!(begin.elapsed() < Duration::from_secs(30), "a read without peers ends by fetch.timeout");
    lan.cable(1, true);
    until("the other file can be read again", || fs::read(b.at("other")).is_ok_and(|read| read == other));
    a.stop();
    until("nobody is connected", || b.connected() == 0);
    until_reads(&b.at("kept/file"), &kept);
}

#[test]
fn a_lazy_device_looks_at_what_it_wants_and_writes_beside_what_it_never_saw() {
    let Some(lan) = Lan::new(2) else { return };
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    for dir in 0..40 {
        fs::create_dir(a.at(&format!("d{dir}"))).unwrap();
        for file in 0..50 {
            fs::write(a.at(&format!("d{dir}/file{file}")), format!("{dir} {file}")).unwrap();
        }
    }
    b.run(&["config", "set", "metadata", "lazy"]).done();
    b.join(&a.invite("default", &[]));
    until("the top to be there", || fs::read_dir(b.dir()).is_ok_and(|top| top.count() == 40));
    assert_eq!(fs::read_dir(b.at("d7")).unwrap().count(), 50);
    fs::write(b.at("d33/new"), random(9, 300_000)).unwrap();
    fs::remove_file(b.at("d12/file3")).unwrap();
    until_equal(&[&a, &b]);
    b.run(&["volume", "set", "default", "--replicas", "3"]).done();
    let evicted = b.run(&["evict", &b.at("d33").to_string_lossy()]);
    assert_eq!(evicted.code, 5, "one other device is not three: {}", evicted.err);
    let shown = b.run(&["volume", "set", "default", "--replicas", "default", "--json"]).done().json();
    assert!(shown["replicas"].is_null(), "{shown}");
}
