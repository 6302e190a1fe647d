//! Starting, stopping, killing, and who ends with what.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;

use fstests::harness::mount::is_mounted;
use fstests::harness::program::{Home, shown, spawn};
use rustix::process::{Pid, Signal, kill_process};

#[test]
fn mount_makes_everything_prints_one_line_and_ends_with_zero_on_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = Home::new("foreground");
        let dir = home.mountpoint();
        let mut child = spawn(&mut home.command(&["mount", &shown(&dir)]));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, format!("default is mounted on {} (process {})\n", dir.display(), child.id()));
        fs::write(dir.join("f"), "kept").unwrap();
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert!(child.wait().unwrap().success());
        assert!(!is_mounted(&dir));
        let mut rest = String::new();
        out.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "", "one line is one line");
        assert_eq!(home.run(&["cat", "/f"]).done().out, "kept");
    }
}

#[test]
fn the_background_returns_when_the_mount_works() {
    let home = Home::new("background");
    let said = home.mount().done();
    fs::write(home.mountpoint().join("f"), "x").unwrap();
    let pid = home.daemon().expect("it runs");
    assert!(said.out.contains(&format!("process {pid}")), "{said:?}");
    home.end(Signal::TERM);
    assert!(!is_mounted(&home.mountpoint()));
    assert!(!home.path().join("control.sock").exists());
}

#[test]
fn the_daemon_ends_with_its_last_mount() {
    let home = Home::new("last-mount");
    home.mount().done();
    let pid = home.daemon().unwrap();
    fs::write(home.mountpoint().join("f"), "x").unwrap();
    home.run(&["unmount", &shown(&home.mountpoint())]).done();
    assert!(!is_mounted(&home.mountpoint()));
    home.wait_for_end(pid);
    assert_eq!(home.run(&["cat", "/f"]).done().out, "x");
}

#[test]
fn a_mount_right_after_an_unmount_is_not_taken_by_the_daemon_that_ends() {
    let home = Home::new("remount");
    home.mount().done();
    for round in 0..25 {
        let old = home.daemon().unwrap();
        home.run(&["unmount", &shown(&home.mountpoint())]).done();
        let said = home.mount().done();
        // It may be quick enough for the old one to stay.
        if !said.out.contains(&format!("process {old})")) {
            home.wait_for_end(old);
        }
        assert!(is_mounted(&home.mountpoint()), "round {round}");
    }
    home.end(Signal::TERM);
}

#[test]
fn a_kill_is_followed_by_mount_that_just_works() {
    let home = Home::new("kill");
    let file = home.mountpoint().join("f");
    for round in 0..5 {
        home.mount().done();
        if round > 0 {
            assert_eq!(fs::read_to_string(&file).unwrap(), format!("round {}", round - 1));
        }
        fs::write(&file, format!("round {round}")).unwrap();
        fs::File::open(&file).unwrap().sync_all().unwrap();
        home.end(Signal::KILL);
        assert!(is_mounted(&home.mountpoint()), "a dead mount is what is left");
    }
}

#[test]
fn a_killed_daemons_mounts_are_cleared_by_the_next_one_wherever_it_mounts() {
    let home = Home::new("kill-elsewhere");
    home.mount().done();
    home.end(Signal::KILL);
    let other = home.beside("other");
    fs::create_dir(&other).unwrap();
    home.run(&["mount", &shown(&other), "--background"]).done();
    assert!(!is_mounted(&home.mountpoint()));
}

#[test]
fn unmount_clears_a_dead_mount_without_a_daemon() {
    let home = Home::new("dead-unmount");
    home.mount().done();
    home.end(Signal::KILL);
    home.run(&["unmount", &shown(&home.mountpoint())]).done();
    assert!(!is_mounted(&home.mountpoint()));
}

#[test]
fn mount_asks_the_daemon_that_runs() {
    let home = Home::new("second-mount");
    home.run(&["daemon", "--background", "--offline"]).done();
    let pid = home.daemon().unwrap();
    let said = home.run(&["mount", &shown(&home.mountpoint())]).done();
    assert!(said.out.contains(&format!("process {pid}")), "{said:?}");
    home.run(&["volume", "create", "second"]).done();
    let other = home.beside("other");
    fs::create_dir(&other).unwrap();
    let said = home.run(&["mount", "second", &shown(&other), "--json"]).done().json();
    assert_eq!(said["volume"], "second");
    fs::write(other.join("f"), "second").unwrap();
    assert!(!home.mountpoint().join("f").exists());
    home.run(&["unmount", &shown(&other)]).done();
    home.run(&["unmount", &shown(&home.mountpoint())]).done();
    assert_eq!(home.daemon(), Some(pid), "a daemon of its own right stays");
    home.end(Signal::TERM);
}

#[test]
fn read_only_refuses_changes() {
    let home = Home::new("read-only");
    home.mount().done();
    fs::write(home.mountpoint().join("f"), "x").unwrap();
    home.end(Signal::TERM);
    home.run(&["mount", &shown(&home.mountpoint()), "--read-only", "--background"]).done();
    assert_eq!(fs::read_to_string(home.mountpoint().join("f")).unwrap(), "x");
    let error = fs::write(home.mountpoint().join("g"), "y").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EROFS));
}

#[test]
fn the_home_is_closed_to_others_and_the_daemon_leaves_no_core() {
    let home = Home::new("closed");
    home.mount().done();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.path()), 0o700);
    for name in ["keystore", "control.sock", "lock", "lovage.log"] {
        assert_eq!(mode(&home.path().join(name)), 0o600, "{name}");
    }
    let limits = fs::read_to_string(format!("/proc/{}/limits", home.daemon().unwrap())).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
}

#[test]
fn every_command_that_needs_a_daemon_says_so_with_four() {
    let home = Home::new("nobody");
    home.run(&["volume", "create", "x"]).done();
    for command in [&["status"][..], &["metrics"], &["log-level"], &["unmount", "/tmp"]] {
        home.run(command).failed(4, &["none runs in this home", "lovage mount"]);
    }
}

#[test]
fn a_home_with_a_path_longer_than_a_socket_address_works() {
    let home = Home::new("long");
    let deep = home.beside(&"d".repeat(100)).join("e".repeat(100));
    let run = |arguments: &[&str]| {
        let mut command = home.command(&[]);
        fstests::harness::program::finish(command.arg("--home").arg(&deep).args(arguments))
    };
    // `--home` twice is a usage error, so set it by the environment instead.
    assert_eq!(run(&["status"]).code, 2);
    let mut command = std::process::Command::new(fstests::harness::binary::lovage());
    command.env("LOVAGE_HOME", &deep).args(["daemon", "--background"]);
    fstests::harness::program::finish(&mut command).done();
    let mut status = std::process::Command::new(fstests::harness::binary::lovage());
    let said = fstests::harness::program::finish(status.env("LOVAGE_HOME", &deep).args(["status", "--json"])).done();
    let pid = i32::try_from(said.json()["daemon"]["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::TERM).unwrap();
    home.wait_for_end(u32::try_from(pid).unwrap());
}
