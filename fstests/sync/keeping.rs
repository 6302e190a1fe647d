//! A box that keeps a volume and cannot read it: devices meet there, and it has no name and no content in its hands (C5).

use std::fs;
use std::path::Path;

use fstests::harness::bytes::random;
use fstests::harness::device::{Device, until, until_equal, until_reads};
use fstests::harness::lan::Lan;

/// What must not be found anywhere on the box.
const SECRETS: [&str; 3] = ["canary-in-a-name", "canary in a small file", "canary in a large file"];

/// The state of the first keeper, everything that was written here being sealed.
fn kept(device: &Device) -> String {
    device.status()["volumes"][0]["keepers"][0]["state"].as_str().unwrap_or_default().to_owned()
}

fn until_kept(device: &Device) {
    until(&format!("everything to be kept: {}", kept(device)), || kept(device) == "ok");
}

fn files_below(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.is_file() {
            found.push(path);
        }
    }
}

fn has(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

#[test]
fn devices_never_online_together_meet_at_a_box_that_learns_nothing() {
    let Some(lan) = Lan::new(3) else { return };
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    let mut keeper = Device::new(&lan, 2, "box");
    a.mount("default");
    let link = a.invite("default", &["--role", "storage"]);
    keeper.run(&["join", &link, &keeper.dir().to_string_lossy()]).failed(1, &["nothing to read or mount"]);
    let joined = keeper.run(&["join", &link, "--quota", "1GiB", "--json"]).done().json();
    assert_eq!((&joined["role"], &joined["volume"]), (&"storage".into(), &"alpha".into()));
    keeper.serve();
    b.join(&a.invite("default", &[]));
    b.stop();
    let large = [SECRETS[2].repeat(50_000).into_bytes(), random(5, 1_000_000)].concat();
    fs::create_dir(a.at(SECRETS[0])).unwrap();
    fs::write(a.at(SECRETS[0]).join("small"), SECRETS[1]).unwrap();
    fs::write(a.at("large"), &large).unwrap();
    until_kept(&a);
    keeper.kill();
    keeper.serve();
    a.stop();
    b.mount("default");
    until_reads(&b.at("large"), &large);
    until_reads(&b.at(SECRETS[0]).join("small"), SECRETS[1].as_bytes());
    fs::write(b.at("answer"), "from beta").unwrap();
    until_kept(&b);
    b.stop();
    a.mount("default");
    until_reads(&a.at("answer"), b"from beta");
    b.mount("default");
    until_equal(&[&a, &b]);
    let mut files = Vec::new();
    files_below(&keeper.home(), &mut files);
    assert!(files.len() > 5, "{files:?}");
    for (path, secret) in files.iter().flat_map(|path| SECRETS.map(|secret| (path, secret))) {
        assert!(!has(&fs::read(path).unwrap(), secret), "{secret:?} is in {}", path.display());
    }
    let list = keeper.run(&["keep", "list", "--json"]).done().json();
    assert_eq!((&list[0]["devices"], &list[0]["heads"], &list[0]["state"]), (&3.into(), &2.into(), &"ok".into()));
    assert!(list[0]["used_bytes"].as_u64() > Some(1_000_000), "{list}");
}

#[test]
fn a_quota_is_kept_told_of_on_both_sides_and_can_be_raised() {
    let Some(lan) = Lan::new(2) else { return };
    let (mut a, mut keeper) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "box"));
    a.mount("default");
    let link = a.invite("default", &["--role", "storage"]);
    keeper.run(&["join", &link, "--quota", "2MiB"]).done();
    keeper.serve();
    fs::write(a.at("file"), random(1, 6_000_000)).unwrap();
    until("a word about the quota", || kept(&a).contains("quota"));
    let list = || keeper.run(&["keep", "list", "--json"]).done().json()[0].clone();
    assert!(list()["state"].as_str().unwrap().contains("quota"), "{}", list());
    assert!(list()["used_bytes"].as_u64() <= Some(2 << 20), "{}", list());
    keeper.run(&["keep", "set", "alpha", "--quota", "none"]).done();
    fs::write(a.at("news"), "worth another look").unwrap();
    until_kept(&a);
    assert_eq!(list()["state"], "ok");
}

#[test]
fn what_a_box_keeps_may_go_here_and_comes_back_until_it_is_dropped_there() {
    let Some(lan) = Lan::new(2) else { return };
    let (mut a, mut keeper) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "box"));
    a.mount("default");
    let link = a.invite("default", &["--role", "storage"]);
    keeper.run(&["join", &link]).done();
    keeper.serve();
    let content = random(2, 3_000_000);
    fs::write(a.at("file"), &content).unwrap();
    until_kept(&a);
    let path = a.at("file");
    let evicted = a.run(&["evict", &path.to_string_lossy(), "--json"]).done().json();
    assert_eq!(evicted["dropped_bytes"], 3_000_000, "{evicted}");
    a.stop();
    a.mount("default");
    until_reads(&path, &content);
    // Dropped and begun anew it is still one box, and is given everything again.
    a.run(&["get", &path.to_string_lossy()]).done();
    keeper.run(&["keep", "drop", "alpha"]).done();
    keeper.run(&["join", &a.invite("default", &["--role", "storage"])]).done();
    let boxes = a.run(&["members", "default", "--json"]).done().json();
    let boxes = boxes.as_array().unwrap().iter().filter(|m| m["role"] == "storage" && m["removed"] == false).count();
    assert_eq!((boxes, a.status()["volumes"][0]["keepers"].as_array().unwrap().len()), (1, 1));
    until("all to be kept again", || {
        let list = keeper.run(&["keep", "list", "--json"]).done().json();
        list[0]["used_bytes"].as_u64() > Some(3_000_000) && kept(&a) == "ok"
    });
    a.run(&["members", "default", "remove", "box"]).done();
    until("the box is shut out", || keeper.connected() == 0);
    assert_eq!(a.status()["volumes"][0]["keepers"].as_array().unwrap().len(), 0);
    keeper.run(&["keep", "drop", "alpha"]).done();
    assert_eq!(keeper.run(&["keep", "list", "--json"]).done().json().as_array().unwrap().len(), 0);
    keeper.run(&["keep", "drop", "alpha"]).failed(3, &["nothing of that name"]);
}
