//! What is here and what is elsewhere: evicted, explained, pinned by attribute (F12).

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fstests::harness::bytes::random;
use fstests::harness::device::{until, until_equal};

fn attribute(path: &Path, name: &str) -> String {
    let mut value = vec![0; 256];
    let len = rustix::fs::getxattr(path, name, &mut value).unwrap();
    String::from_utf8(value[..len].to_vec()).unwrap()
}

#[test]
fn what_others_keep_can_be_dropped_and_the_last_copy_never_is() {
    let Some((lan, a, b)) = super::pair() else { return };
    let content = random(7, 3_000_000);
    fs::write(a.at("shared"), &content).unwrap();
    fs::write(a.at("kept"), random(8, 500_000)).unwrap();
    let path = a.at("shared").to_string_lossy().into_owned();
    // Nobody else has it yet.
    let kept = a.run(&["evict", &path, "--json"]);
    kept.failed(5, &["too few"]);
    until("the tree", || b.at("shared").exists() && b.at("kept").exists());
    until_equal(&[&a, &b]);
    assert_eq!(attribute(&b.at("shared"), "user.lovage.local"), "0/3000000");
    let explained = b.run(&["explain", &b.at("shared").to_string_lossy(), "--json"]).done().json();
    assert_eq!((&explained["blocks"][0]["from"], &explained["blocks"][0]["local"]), (&"alpha".into(), &false.into()));
    assert!(fs::read(b.at("shared")).unwrap() == content);
    assert_eq!(attribute(&b.at("shared"), "user.lovage.local"), "3000000/3000000");
    // A pin holds it; without the pin it goes, for beta has it.
    rustix::fs::setxattr(a.at("shared"), "user.lovage.pinned", b"1", rustix::fs::XattrFlags::empty()).unwrap();
    assert_eq!(attribute(&a.at("shared"), "user.lovage.pinned"), "1");
    assert_eq!(a.run(&["evict", &path, "--json"]).done().json()["pinned_bytes"], 3_000_000);
    rustix::fs::setxattr(a.at("shared"), "user.lovage.pinned", b"0", rustix::fs::XattrFlags::empty()).unwrap();
    assert_eq!(a.run(&["pins", "--json"]).done().json().as_array().unwrap().len(), 0);
    let dropped = a.run(&["evict", &path, "--json"]).done().json();
    assert_eq!((&dropped["dropped_bytes"], &dropped["kept_bytes"]), (&3_000_000.into(), &0.into()));
    assert!(dropped["freed_bytes"].as_u64().unwrap() > 2_500_000, "{dropped}");
    assert_eq!(attribute(&a.at("shared"), "user.lovage.local"), "0/3000000");
    // Beta was asked to keep it, and does; the last copy stays.
    b.run(&["evict", &b.at("shared").to_string_lossy()]).failed(5, &["promised"]);
    a.run(&["evict", &a.at("kept").to_string_lossy()]).failed(5, &["too few"]);
    lan.cable(1, false);
    b.run(&["evict", &b.at("shared").to_string_lossy()]).failed(5, &["promised"]);
    lan.cable(1, true);
    until("alpha reads it again", || fs::read(a.at("shared")).is_ok_and(|read| read == content));
    let ping = a.run(&["peer", "ping", "beta", "--json"]).done().json();
    assert!(ping["rtt_ms"].as_f64().unwrap() > 0.0, "{ping}");
    a.run(&["peer", "ping", "nobody"]).failed(3, &["called so"]);
}

#[test]
fn the_hidden_directory_shows_status_and_conflicts_with_their_base() {
    let Some((lan, a, b)) = super::pair() else { return };
    assert!(fs::read_dir(a.dir()).unwrap().all(|e| e.unwrap().file_name().as_bytes() != b".lovage"));
    let status = fs::read_to_string(a.at(".lovage/status")).unwrap();
    assert!(status.contains("volume   default") && status.contains("beta"), "{status}");
    assert_eq!(fs::read_dir(a.at(".lovage/conflicts")).unwrap().count(), 0);
    let refused = fs::write(a.at(".lovage/new"), "x").unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EROFS), "{refused}");
    let taken = fs::create_dir(a.at(".lovage")).unwrap_err();
    assert_eq!(taken.raw_os_error(), Some(libc::EEXIST), "{taken}");
    fs::create_dir(a.at("docs")).unwrap();
    fs::write(a.at("docs/text.txt"), "one\ntwo\nthree\nfour\n").unwrap();
    until("the file", || fs::read(b.at("docs/text.txt")).is_ok_and(|read| read == b"one\ntwo\nthree\nfour\n"));
    until_equal(&[&a, &b]);
    lan.cable(1, false);
    fs::write(a.at("docs/text.txt"), "ONE\ntwo\nthree\nfour\n").unwrap();
    a.root();
    fs::write(a.at("docs/text.txt"), "zero\nONE\ntwo\nthree\nfour\n").unwrap();
    fs::write(b.at("docs/text.txt"), "one\ntwo\nthree\nFOUR\n").unwrap();
    a.root();
    b.root();
    lan.cable(1, true);
    let found = |d: &fstests::harness::device::Device| d.run(&["conflicts", "--json"]).done().json();
    until("both see it", || [&a, &b].iter().all(|d| found(d).as_array().unwrap().len() == 1));
    until_equal(&[&a, &b]);
    for device in [&a, &b] {
        assert!(found(device)[0]["base"].is_string(), "{}", found(device));
        let case = fs::read_dir(device.at(".lovage/conflicts")).unwrap().next().unwrap().unwrap().path();
        let mut texts: Vec<_> =
            fs::read_dir(&case).unwrap().map(|e| fs::read_to_string(e.unwrap().path()).unwrap()).collect();
        texts.sort();
        assert_eq!(texts, ["one\ntwo\nthree\nFOUR\n", "one\ntwo\nthree\nfour\n", "zero\nONE\ntwo\nthree\nfour\n"]);
        assert_eq!(fs::read_to_string(case.join("base.txt")).unwrap(), "one\ntwo\nthree\nfour\n");
    }
    let path = a.at("docs/text.txt").to_string_lossy().into_owned();
    a.run(&["resolve", &path, "--merge", "false"]).failed(1, &["gave up"]);
    assert_eq!(found(&a).as_array().unwrap().len(), 1);
    let tool = r#"sh -c 'diff3 -m "$2" "$1" "$3" > "$4"' tool"#;
    a.run(&["resolve", &path, "--merge", tool]).done();
    let merged = b"zero\nONE\ntwo\nthree\nFOUR\n";
    assert_eq!(fs::read(a.at("docs/text.txt")).unwrap(), merged);
    until("beta has it", || fs::read(b.at("docs/text.txt")).is_ok_and(|read| read == merged));
    until_equal(&[&a, &b]);
    assert_eq!((found(&a).as_array().unwrap().len(), found(&b).as_array().unwrap().len()), (0, 0));
    assert_eq!(fs::read_dir(b.at("docs")).unwrap().count(), 1);
}
