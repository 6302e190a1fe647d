//! volume create, list, show, forget.

use std::fs;

use fstests::harness::program::{Home, shown};
use rustix::process::Signal;

#[test]
fn a_volume_is_created_listed_shown_mounted_and_forgotten() {
    let home = Home::new("volumes");
    let made =
        home.run(&["volume", "create", "photos", "--dedup", "off", "--chunking", "fixed", "--json"]).done().json();
    assert_eq!(made["name"], "photos");
    let listed = home.run(&["volume", "list", "--json"]).done().json();
    assert_eq!(listed[0]["id"], made["id"]);
    home.run(&["mount", "photos", &shown(&home.mountpoint()), "--background"]).done();
    home.run(&["volume", "forget", "photos"]).failed(1, &["it is mounted on", "lovage unmount"]);
    fs::write(home.mountpoint().join("f"), "x").unwrap();
    home.end(Signal::TERM);
    let shown = home.run(&["volume", "show", "photos", "--json"]).done().json();
    assert_eq!((shown["files"].as_u64(), shown["bytes"].as_u64()), (Some(1), Some(1)));
    home.run(&["volume", "forget", "photos"]).failed(1, &["may be nowhere else", "--force"]);
    home.run(&["volume", "forget", "photos", "--force"]).done();
    home.run(&["volume", "show", "photos"]).failed(3, &["no such volume"]);
    assert_eq!(fs::read_dir(home.path().join("volumes")).unwrap().count(), 0, "its content is gone");
}

#[test]
fn an_empty_volume_is_forgotten_without_force() {
    let home = Home::new("empty-volume");
    home.run(&["volume", "create", "a"]).done();
    home.run(&["volume", "create", "a"]).failed(1, &["is here already"]);
    home.run(&["volume", "forget", "a"]).done();
}

#[test]
fn volumes_share_nothing_but_the_home() {
    let home = Home::new("two-volumes");
    home.run(&["daemon", "--background"]).done();
    for name in ["a", "b"] {
        home.run(&["volume", "create", name]).done();
        let dir = home.beside(name);
        fs::create_dir(&dir).unwrap();
        home.run(&["mount", name, &shown(&dir)]).done();
        fs::write(dir.join("who"), name).unwrap();
    }
    for name in ["a", "b"] {
        assert_eq!(home.run(&["cat", &format!("{name}:/who")]).done().out, name);
    }
    home.end(Signal::TERM);
    assert_eq!(home.run(&["cat", "a:/who"]).done().out, "a");
}
