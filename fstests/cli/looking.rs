//! ls, stat, cat, du, status: the same through a daemon, from inside a mount, and without any of it.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use fstests::harness::bytes;
use fstests::harness::program::{Home, Said, finish, shown};
use rustix::process::Signal;

/// A mounted home with a few known nodes.
fn filled(name: &str) -> Home {
    let home = Home::new(name);
    home.mount().done();
    let dir = home.mountpoint();
    fs::create_dir_all(dir.join("docs/deep")).unwrap();
    fs::write(dir.join("docs/letter.txt"), "Dear all\n").unwrap();
    fs::write(dir.join("docs/deep/data"), bytes::random(1, 700_000)).unwrap();
    symlink("letter.txt", dir.join("docs/link")).unwrap();
    home
}

fn names(said: &Said) -> Vec<&str> {
    let mut names: Vec<_> = said.out.lines().collect();
    names.sort_unstable();
    names
}

fn sees_everything(home: &Home) {
    assert_eq!(names(&home.run(&["ls", "/docs"]).done()), ["deep", "letter.txt", "link"]);
    assert_eq!(home.run(&["cat", "default:/docs/letter.txt"]).done().out, "Dear all\n");
    let usage = home.run(&["du", "/docs", "--json"]).done().json();
    assert_eq!((usage["files"].as_u64(), usage["directories"].as_u64()), (Some(3), Some(1)), "{usage}");
    assert!(usage["bytes"].as_u64().unwrap() >= 700_009, "{usage}");
    let link = home.run(&["stat", "/docs/link", "--json"]).done().json();
    assert_eq!((link["kind"].as_str(), link["target"].as_str()), (Some("symlink"), Some("letter.txt")));
}

#[test]
fn looking_works_through_the_daemon_and_without_one() {
    let home = filled("look");
    sees_everything(&home);
    home.end(Signal::TERM);
    sees_everything(&home);
    home.mount().done();
    home.end(Signal::KILL);
    sees_everything(&home);
}

#[test]
fn paths_inside_the_mount_mean_what_they_show() {
    let home = filled("inside");
    let dir = home.mountpoint();
    assert_eq!(home.run(&["cat", &shown(&dir.join("docs/letter.txt"))]).done().out, "Dear all\n");
    let mut here = home.command(&["ls", "."]);
    assert_eq!(names(&finish(here.current_dir(dir.join("docs"))).done()), ["deep", "letter.txt", "link"]);
    let mut here = home.command(&["cat", "../letter.txt"]);
    assert_eq!(finish(here.current_dir(dir.join("docs/deep"))).done().out, "Dear all\n");
    symlink(&dir, home.beside("alias")).unwrap();
    assert_eq!(home.run(&["cat", &shown(&home.beside("alias/docs/letter.txt"))]).done().out, "Dear all\n");
}

#[test]
fn stat_agrees_with_the_mount() {
    let home = filled("stat");
    let meta = fs::metadata(home.mountpoint().join("docs/deep/data")).unwrap();
    let node = home.run(&["stat", "/docs/deep/data", "--json"]).done().json();
    assert_eq!(node["size"].as_u64(), Some(meta.len()));
    assert_eq!(node["ino"].as_u64(), Some(meta.ino()));
    assert_eq!(node["mode"].as_u64(), Some(u64::from(meta.mode() & 0o7777)));
    assert_eq!(node["mtime_ns"].as_i64(), Some(meta.mtime() * 1_000_000_000 + meta.mtime_nsec()));
    assert!(node["attributes"]["lovage.id"].is_string(), "{node}");
}

#[test]
fn cat_gives_every_byte_of_a_big_file() {
    let home = filled("cat");
    let data = bytes::random(7, 3_000_001);
    fs::write(home.mountpoint().join("big"), &data).unwrap();
    let mut command = home.command(&["cat", "/big", "/docs/letter.txt"]);
    let output = command.output().unwrap();
    assert!(output.status.success());
    assert!(output.stdout == [&data[..], b"Dear all\n"].concat(), "{} bytes came", output.stdout.len());
}

#[test]
fn a_listing_of_many_entries_is_complete_and_escapes_what_would_play_with_the_terminal() {
    let home = Home::new("many");
    home.mount().done();
    for i in 0..1500 {
        fs::write(home.mountpoint().join(format!("f{i:04}")), "").unwrap();
    }
    fs::write(home.mountpoint().join("\x1b[2J"), "").unwrap();
    let said = home.run(&["ls", "/"]).done();
    assert_eq!(said.out.lines().count(), 1501);
    assert!(!said.out.contains('\x1b'));
    let entries = home.run(&["ls", "/", "--json"]).done().json_lines();
    assert_eq!(entries.len(), 1501);
    assert!(entries.iter().any(|e| e["name"] == "\x1b[2J"));
}

#[test]
fn status_is_the_documented_document() {
    let home = filled("status");
    let status = home.run(&["status", "--json"]).done().json();
    assert_eq!(status["daemon"]["pid"].as_u64(), home.daemon().map(u64::from));
    assert_eq!(status["daemon"]["home"].as_str(), home.path().to_str());
    for field in ["peer_id", "version", "uptime_s", "listen", "sent_bytes", "received_bytes"] {
        assert!(!status["daemon"][field].is_null(), "daemon.{field}");
    }
    let volume = &status["volumes"][0];
    assert_eq!(volume["name"], "default");
    assert_eq!(volume["mounts"][0].as_str(), home.mountpoint().to_str());
    for field in
        ["id", "role", "files", "bytes", "local_bytes", "dirty_bytes", "root", "vector", "conflicts", "pins", "heads"]
    {
        assert!(!volume[field].is_null(), "volumes[].{field}");
    }
    assert!(volume["files"].as_u64() >= Some(2) && volume["bytes"].as_u64() >= Some(700_000), "{volume}");
    assert!(status["peers"].as_array().unwrap().is_empty() && status["stores"].as_array().unwrap().is_empty());
    let text = home.run(&["status"]).done().out;
    assert!(text.contains("default on ") && text.contains("files"), "{text}");
}

#[test]
fn metrics_are_prometheus_text() {
    let home = filled("metrics");
    let text = home.run(&["metrics"]).done().out;
    for line in text.lines() {
        let sample = line.rsplit_once(' ').is_some_and(|(_, value)| value.parse::<f64>().is_ok());
        assert!(line.starts_with("# ") || sample, "{line}");
    }
    assert!(text.contains("lovage_volume_files{volume=\"default\"}"), "{text}");
}
