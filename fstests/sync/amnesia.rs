//! S10: a home comes back from a backup, or is copied to another machine. Nothing that was made before or after is lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fstests::harness::device::{Device, until, until_equal, until_reads};

/// The home as a backup program sees it while nothing runs.
fn keep(device: &Device) -> PathBuf {
    let kept = device.home().with_extension("backup");
    copy(&device.home(), &kept);
    kept
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

fn restore(device: &Device, kept: &Path) {
    fs::remove_dir_all(device.home()).unwrap();
    copy(kept, &device.home());
}

/// Set `back` back, let it make more changes than it lost while it is alone, and let it meet `other` again.
fn set_back((lan, back, at): (&fstests::harness::lan::Lan, &mut Device, usize), other: &Device) {
    fs::write(back.at("before"), "before").unwrap();
    until_reads(&other.at("before"), b"before");
    back.stop();
    let kept = keep(back);
    back.mount("default");
    fs::write(back.at("lost"), "made after the backup").unwrap();
    fs::write(back.at("before"), "changed after the backup").unwrap();
    until_reads(&other.at("lost"), b"made after the backup");
    until_reads(&other.at("before"), b"changed after the backup");
    back.kill();
    restore(back, &kept);
    lan.cable(at, false);
    back.mount("default");
    assert!(!back.at("lost").exists());
    for n in 0..40 {
        fs::write(back.at(&format!("new-{n}")), "made after the restore").unwrap();
    }
    lan.cable(at, true);
    until("both pasts on both", || [&*back, other].iter().all(|d| d.at("lost").exists() && d.at("new-39").exists()));
    for device in [&*back, other] {
        until_reads(&device.at("lost"), b"made after the backup");
        until_reads(&device.at("before"), b"changed after the backup");
        (0..40).for_each(|n| until_reads(&device.at(&format!("new-{n}")), b"made after the restore"));
    }
    until_equal(&[&*back, other]);
}

#[test]
fn a_writer_whose_home_came_from_a_backup_goes_on_and_nothing_is_lost() {
    let Some((lan, mut a, mut b)) = super::pair() else { return };
    set_back((&lan, &mut b, 1), &a);
    let members = a.run(&["members", "default", "--json"]).done().json();
    let names: Vec<_> = members.as_array().unwrap().iter().map(|m| m["device"].as_str().unwrap()).collect();
    assert_eq!(names, ["alpha", "beta"], "it is one device still");
    // It goes on as who it is now, also after a restart.
    b.stop();
    b.mount("default");
    fs::write(b.at("later"), "later").unwrap();
    until_reads(&a.at("later"), b"later");
    // And can be put out.
    a.run(&["members", "default", "remove", "beta"]).done();
    fs::write(a.at("private"), "private").unwrap();
    a.stop();
    a.mount("default");
    until("b is not let in", || a.connected() == 0);
    assert!(!b.at("private").exists());
}

#[test]
fn an_admin_whose_home_came_from_a_backup_goes_on_and_still_lets_others_in() {
    let Some((lan, mut a, b)) = super::pair() else { return };
    set_back((&lan, &mut a, 0), &b);
    a.run(&["invite", "default"]).done();
    fs::write(b.at("later"), "later").unwrap();
    until_reads(&a.at("later"), b"later");
}
