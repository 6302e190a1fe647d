//! C6: what a member that may only read can do, and what it cannot.

use std::fs;
use std::io::ErrorKind;

use fstests::harness::device::{Device, until, until_equal, until_reads};
use fstests::harness::lan::Lan;

#[test]
fn a_reader_sees_everything_and_changes_nothing_until_it_is_made_a_writer() {
    let Some(lan) = Lan::new(2) else { return };
    let (mut a, mut b) = (Device::new(&lan, 0, "alpha"), Device::new(&lan, 1, "beta"));
    a.mount("default");
    fs::create_dir(a.at("dir")).unwrap();
    fs::write(a.at("dir/file"), "one").unwrap();
    b.join(&a.invite("default", &["--role", "reader"]));
    until_reads(&b.at("dir/file"), b"one");
    let refused = |what: &str, result: std::io::Result<()>| {
        assert_eq!(result.map_err(|e| e.kind()), Err(ErrorKind::ReadOnlyFilesystem), "{what}");
    };
    refused("create", fs::write(b.at("new"), "x"));
    refused("write", fs::write(b.at("dir/file"), "x"));
    refused("mkdir", fs::create_dir(b.at("new")));
    refused("rename", fs::rename(b.at("dir/file"), b.at("moved")));
    refused("unlink", fs::remove_file(b.at("dir/file")));
    refused("rmdir", fs::remove_dir(b.at("dir")));
    refused("chmod", fs::set_permissions(b.at("dir/file"), std::os::unix::fs::PermissionsExt::from_mode(0o600)));
    refused("link", fs::hard_link(b.at("dir/file"), b.at("link")));
    refused("symlink", std::os::unix::fs::symlink("x", b.at("link")));
    // What others do comes in all the same.
    fs::write(a.at("dir/file"), "two").unwrap();
    fs::write(a.at("dir/more"), "more").unwrap();
    until_reads(&b.at("dir/file"), b"two");
    until_reads(&b.at("dir/more"), b"more");
    until_equal(&[&a, &b]);
    let pinned = b.dir().join("dir");
    b.run(&["pin", &pinned.to_string_lossy()]).done();
    // It may neither change the members nor let others in.
    assert_ne!(b.run(&["members", "default", "role", "beta", "writer"]).code, 0);
    assert_ne!(b.run(&["invite", "default"]).code, 0);
    // After a restart it is the same.
    b.stop();
    b.mount("default");
    refused("create", fs::write(b.at("new"), "x"));
    a.run(&["members", "default", "role", "alpha", "reader"]).failed(2, &["the only admin", "role DEVICE admin"]);
    a.run(&["members", "default", "role", "beta", "writer"]).done();
    until("it may write", || fs::write(b.at("by-b"), "b").is_ok());
    until_reads(&a.at("by-b"), b"b");
    a.run(&["members", "default", "role", "beta", "reader"]).done();
    // Not by trying: what it wrote until it heard of it would stay here.
    until("it knows", || {
        let members = b.run(&["members", "default", "--json"]).done().json();
        members.as_array().unwrap().iter().any(|m| m["device"] == "beta" && m["role"] == "reader")
    });
    refused("late", fs::write(b.at("late"), "b"));
    until_equal(&[&a, &b]);
}
