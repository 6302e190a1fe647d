//! S6: a link that is slow, loses packets and is cut again and again: what came is not sent twice.
//!
//! The cable is `shaped-link`: every packet between the two machines goes through it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use fstests::harness::bytes::{count, random, seed};
use fstests::harness::device::{Device, until, until_equal};
use fstests::harness::lan::Lan;
use fstests::harness::sys;

/// Each packet passes two of these: 10 Mbit/s, 3 % lost, a round trip of 100 ms.
const BAD: &str = "rate=1250000;delay=25;loss=1.5";
/// Nothing arrives.
const CUT: &str = "loss=100";

/// The program, and what it says.
struct Link {
    child: Child,
    said: BufReader<std::process::ChildStdout>,
}

impl Link {
    /// Between machines of `lan` whose own cables are unplugged; their addresses move to it.
    fn new(lan: &Lan, machines: usize, seed: u64) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shaped-link"));
        command.args(["--seed", &seed.to_string()]);
        for n in 0..machines {
            command.arg("--machine").arg(format!("{},{},{BAD},{BAD}", lan.namespace(n).display(), lan.address(n)));
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        sys::die_with_parent(&mut command);
        let mut child = command.spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap());
        let mut link = Link { child, said };
        link.until_ready();
        (0..machines).for_each(|n| lan.replug(n, "wan0"));
        link
    }

    fn until_ready(&mut self) {
        let mut line = String::new();
        self.said.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
    }

    /// From now on.
    fn shape(&mut self, address: &str, ways: &str) {
        let line = format!("{address},{ways},{ways}\n");
        self.child.stdin.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
        self.until_ready();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn received(device: &Device) -> u64 {
    device.status()["daemon"]["received_bytes"].as_u64().unwrap()
}

#[test]
fn a_pin_over_a_bad_link_goes_on_after_cuts_where_it_was() {
    let seed = seed("far");
    let Some(lan) = Lan::new(2) else { return };
    let mut link = Link::new(&lan, 2, seed);
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    fs::create_dir(a.at("kept")).unwrap();
    b.join(&a.invite("default", &[]));
    let (megabytes, cuts) = (count("FSTESTS_FAR_MEGABYTES", 12), count("FSTESTS_CUTS", 2) as u64);
    let payload = (megabytes as u64) << 20;
    (0..megabytes).for_each(|n| fs::write(a.at(&format!("kept/{n}")), random(seed ^ n as u64, 1 << 20)).unwrap());
    until_equal(&[&a, &b]);
    let before = received(&b);
    b.run(&["pin", &b.at("kept").to_string_lossy()]).done();
    for cut in 1..=cuts {
        until("more of it has come", || received(&b).saturating_sub(before) >= payload * cut / (2 * cuts + 1));
        link.shape(&lan.address(1), CUT);
        let came = received(&b).saturating_sub(before);
        println!("S6: cut after {came} of {payload} bytes");
        assert!(came < payload, "the link is faster than it is said to be");
        until("the cut is noticed", || b.connected() == 0);
        link.shape(&lan.address(1), BAD);
    }
    let complete = || {
        let pins = b.run(&["pins", "--json"]).done().json();
        pins[0]["complete"] == true && pins[0]["bytes"].as_u64().unwrap() >= payload
    };
    until("the pin is complete", complete);
    let came = received(&b).saturating_sub(before);
    println!(
        "S6: {came} bytes came for {payload}: {} in a thousand more",
        (came * 1000 / payload).saturating_sub(1000)
    );
    assert!(came <= payload + payload / 20 + (256 << 10), "{came} bytes for {payload}");
    a.stop();
    (0..megabytes).for_each(|n| {
        assert!(fs::read(b.at(&format!("kept/{n}"))).unwrap() == random(seed ^ n as u64, 1 << 20), "{n}");
    });
}
