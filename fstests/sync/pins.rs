//! On a plane: what is pinned is here, what is not says so at once (S7).

use std::fs;
use std::time::{Duration, Instant};

use fstests::harness::bytes::random;
use fstests::harness::device::{until, until_equal, until_reads};

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
