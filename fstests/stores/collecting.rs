//! D11, garbage in a store that two devices share: it goes, nothing else does, and whoever is away is waited for.

use std::fs;
use std::path::Path;

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until, until_equal, until_reads};
use fstests::harness::lan::Lan;
use fstests::harness::scratch::Scratch;
use fstests::harness::servers::Servers;
use serde_json::Value;

/// Bytes of the files below a folder.
fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => size(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0, // gone meanwhile
    };
    entries.map(of).sum()
}

fn collection(device: &Device) -> Value {
    device.status()["stores"][0]["collection"].clone()
}

/// Two devices that use the store at `location`, with what each wrote.
struct Pair {
    a: Device,
    b: Device,
}

const FILES: u64 = 24;
const LEN: usize = 200_000;

impl Pair {
    fn new(lan: &Lan, location: &str) -> Self {
        let (mut a, mut b) = (Device::new(lan, 0, "alpha"), Device::new(lan, 1, "beta"));
        a.mount("default");
        b.join(&a.invite("default", &[]));
        for device in [&a, &b] {
            device.run(&["store", "add", "box", location]).done();
        }
        for n in 0..FILES {
            fs::write(a.at(&format!("old{n}")), random(n, LEN)).unwrap();
            fs::write(a.at(&format!("kept{n}")), random(100 + n, LEN / 10)).unwrap();
        }
        until_reads(&b.at(&format!("kept{}", FILES - 1)), &random(100 + FILES - 1, LEN / 10));
        fs::write(b.at("other"), random(999, LEN)).unwrap();
        until_equal(&[&a, &b]);
        let pair = Self { a, b };
        pair.sync();
        pair
    }

    fn sync(&self) {
        for device in [&self.a, &self.b] {
            device.run(&["store", "sync"]).done();
        }
    }

    /// The old files become garbage.
    fn empty(&self) {
        for n in 0..FILES {
            fs::write(self.a.at(&format!("old{n}")), b"").unwrap();
        }
        until_equal(&[&self.a, &self.b]);
        self.sync();
    }

    /// Both look into the store until it is collected.
    fn until_collected(&self) {
        until("the store is collected", || {
            self.b.run(&["store", "test", "box"]).done();
            self.a.run(&["store", "test", "box"]).done();
            collection(&self.a)["state"] == "done"
        });
    }

    fn reads(&self) {
        for device in [&self.a, &self.b] {
            for n in 0..FILES {
                assert!(fs::read(device.at(&format!("kept{n}"))).unwrap() == random(100 + n, LEN / 10));
                assert_eq!(fs::read(device.at(&format!("old{n}"))).unwrap(), b"");
            }
            assert!(fs::read(device.at("other")).unwrap() == random(999, LEN));
        }
    }

    /// Nobody but the store has the content, and everything reads.
    fn reads_from_the_store(&mut self) {
        self.sync();
        self.a.run(&["store", "check", "box"]).done();
        for device in [&self.a, &self.b] {
            let dir = device.dir().to_string_lossy().into_owned();
            assert_eq!(device.run(&["evict", &dir, "--json"]).done().json()["unconfirmed_bytes"], 0);
        }
        self.b.stop();
        self.a.stop();
        self.b.mount("default");
        let file = fs::read(self.b.at("kept3")).unwrap();
        assert!(file == random(103, LEN / 10));
        self.a.mount("default");
        self.reads();
    }
}

/// Write, delete, collect twice: 95 % of the garbage is gone; who is away meanwhile is named and waited for.
fn collected(lan: &Lan, location: &str, place: &Path) {
    let mut pair = Pair::new(lan, location);
    let live = size(place) - FILES * LEN as u64;
    pair.empty();
    let full = size(place);
    pair.b.stop();
    let begun = pair.a.run(&["store", "gc", "box", "--json"]).done().json();
    assert_eq!((&begun["state"], &begun["waiting"]), (&"waiting".into(), &serde_json::json!(["beta"])), "{begun}");
    let waiting = size(place);
    assert!(
        waiting > live + FILES * LEN as u64 * 9 / 10,
        "nothing goes before everybody was heard: {waiting} of {full}"
    );
    println!("{full} bytes, {waiting} while it waits");
    let said = pair.a.run(&["store", "list"]).done().out;
    assert!(said.contains("waiting for beta"), "{said}");
    pair.b.mount("default");
    pair.until_collected();
    pair.reads();
    pair.a.run(&["store", "gc", "box"]).done();
    pair.until_collected();
    let left = size(place).saturating_sub(live);
    let garbage = full - live;
    println!("{location}: {full} bytes, of them {garbage} garbage; {left} of that left");
    assert!(left * 20 <= garbage, "{left} of {garbage} bytes of garbage are left");
    pair.reads_from_the_store();
    pair.b.stop();
    pair.a.stop();
}

#[test]
fn garbage_in_a_folder_goes_and_nothing_else_does() {
    let Some(lan) = Lan::new(2) else { return };
    let shared = Scratch::new("collected-store");
    let store = shared.path().join("store");
    collected(&lan, &format!("file:{}", store.display()), &store.join("blocks"));
}

#[test]
fn garbage_in_a_bucket_goes_and_nothing_else_does() {
    let Some(lan) = Lan::new(3) else { return };
    let servers = Servers::start(&lan, 2);
    let Some(location) = servers.location("s3", "collected") else { return };
    collected(&lan, &location, &servers.bucket("collected").join("packs"));
}

#[test]
fn a_service_that_does_not_compare_before_it_replaces_is_not_collected() {
    let Some(lan) = Lan::new(2) else { return };
    let servers = Servers::start(&lan, 1);
    for location in ["sftp", "webdav"].iter().filter_map(|scheme| servers.location(scheme, "refused")) {
        let mut a = Device::new(&lan, 0, "alpha");
        a.mount("default");
        a.run(&["store", "add", "cloud", &location]).done();
        let refused = a.run(&["store", "gc", "cloud"]);
        assert!(refused.code != 0 && refused.err.contains("cannot replace an object"), "{refused:?}");
        a.stop();
    }
}

#[test]
fn a_sweep_that_was_killed_goes_on_by_itself() {
    let Some(lan) = Lan::new(2) else { return };
    let shared = Scratch::new("killed-store");
    let store = shared.path().join("store");
    let mut pair = Pair::new(&lan, &format!("file:{}", store.display()));
    for n in 0..3000 {
        fs::write(pair.a.at(&format!("small{n}")), random(10_000 + n, 1000)).unwrap();
    }
    pair.sync();
    for n in 0..3000 {
        fs::write(pair.a.at(&format!("small{n}")), b"").unwrap();
    }
    pair.empty();
    let full = size(&store.join("blocks"));
    pair.b.stop();
    assert_eq!(pair.a.run(&["store", "gc", "box", "--json"]).done().json()["state"], "waiting");
    let phase = || fs::read(store.join("heads/g.record")).unwrap()[52];
    assert_eq!(phase(), 0);
    pair.b.mount("default");
    pair.b.run(&["store", "sync"]).done();
    until("beta has said its word", || collection(&pair.b)["owed"] == false);
    // A change has it look; it is killed while it removes, unless it is faster than this sees.
    fs::write(pair.a.at("change"), b"x").unwrap();
    until("it removes", || phase() >= 2);
    pair.a.kill();
    pair.a.mount("default");
    until("the sweep is over", || {
        pair.a.run(&["store", "test", "box"]).done();
        phase() == 3
    });
    assert!(size(&store.join("blocks")) * 2 < full);
    pair.reads();
    pair.reads_from_the_store();
    pair.b.stop();
    pair.a.stop();
}

#[test]
fn a_device_that_was_put_out_is_not_waited_for() {
    let Some(lan) = Lan::new(2) else { return };
    let shared = Scratch::new("alone-store");
    let store = shared.path().join("store");
    let mut pair = Pair::new(&lan, &format!("file:{}", store.display()));
    pair.empty();
    pair.b.stop();
    assert_eq!(pair.a.run(&["store", "gc", "box", "--json"]).done().json()["waiting"][0], "beta");
    pair.a.run(&["members", "default", "remove", "beta"]).done();
    until("nobody is waited for", || {
        pair.a.run(&["store", "sync"]).done();
        pair.a.run(&["store", "test", "box"]).done();
        collection(&pair.a)["state"] == "done"
    });
    let done = collection(&pair.a);
    assert!(done["blocks"].as_u64() > Some(0) && done["bytes"].as_u64() > Some(FILES * LEN as u64 / 2), "{done}");
    pair.a.run(&["store", "check", "box"]).done();
    pair.a.stop();
}
