//! config, log-level, completions, man.

use std::fs;

use fstests::harness::program::Home;

#[test]
fn config_shows_sets_and_checks() {
    let home = Home::new("config");
    let all = home.run(&["config", "--json"]).done().json();
    assert_eq!(all["profile"], "default");
    assert_eq!(home.run(&["config", "get", "profile"]).done().out, "\"default\"\n");
    home.run(&["config", "set", "profile", "low-mem"]).done();
    home.run(&["config", "set", "dirty.max", "32MiB"]).done();
    assert_eq!(home.run(&["config", "get", "dirty.max", "--json"]).done().json()["dirty.max"], 32 << 20);
    let said = home.run(&["config", "check"]).done();
    assert!(said.out.contains("is valid") && said.out.contains("log.level"), "{said:?}");
    home.run(&["config", "get", "nothing"]).failed(3, &["no such setting", "profile"]);
}

#[test]
fn a_refused_setting_leaves_the_file_alone() {
    let home = Home::new("config-refused");
    home.run(&["config", "set", "profile", "low-mem"]).done();
    let before = fs::read(home.path().join("config.toml")).unwrap();
    home.run(&["config", "set", "profile", "huge"]).failed(2, &["\"default\" or \"low-mem\""]);
    home.run(&["config", "set", "no.such", "1"]).failed(2, &["unknown key"]);
    assert_eq!(fs::read(home.path().join("config.toml")).unwrap(), before);
}

#[test]
fn a_daemon_obeys_its_profile_and_starts() {
    let home = Home::new("profile");
    home.run(&["config", "set", "profile", "low-mem"]).done();
    home.mount().done();
    fs::write(home.mountpoint().join("f"), "x").unwrap();
}

#[test]
fn the_log_level_changes_while_running() {
    let home = Home::new("log-level");
    home.run(&["daemon", "--background"]).done();
    assert_eq!(home.run(&["log-level"]).done().out, "info\n");
    home.run(&["log-level", "lovage::daemon=debug"]).done();
    assert_eq!(home.run(&["log-level", "--json"]).done().json()["level"], "info,lovage::daemon=debug");
    home.run(&["log-level", "a=b=c"]).failed(2, &["TARGET=LEVEL"]);
    home.run(&["log-level", "bogus"]).failed(2, &["`bogus` is neither"]);
    home.run(&["config", "set", "log.level", "wibble"]).failed(2, &["cannot set (log.level)", "config check"]);
}

#[test]
fn completions_and_the_manual_name_every_command() {
    let home = Home::new("texts");
    let manual = home.run(&["man"]).done().out;
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]).done().out;
        for command in ["mount", "unmount", "fsck", "log-level"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
    for command in ["MOUNT", "UNMOUNT", "STATUS", "FSCK"] {
        assert!(manual.contains(&format!(".SH \"LOVAGE {command}\"")), "{command}");
    }
}
