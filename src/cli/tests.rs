//! The command line as data: it parses what the contract lists and refuses what it does not offer.
#![allow(clippy::unwrap_used)]

use clap::CommandFactory;

use super::output;
use super::*;

fn parses(line: &str) -> bool {
    Arguments::try_parse_from(line.split(' ')).is_ok()
}

#[test]
fn the_command_line_is_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_of_the_contract_parses() {
    for line in [
        "lovage mount /mnt/x",
        "lovage mount photos /mnt/x --read-only --allow-other --background",
        "lovage mount /mnt/x --listen /ip4/0.0.0.0/tcp/1 --listen /ip4/0.0.0.0/tcp/2 --offline",
        "lovage --home /h mount /mnt/x",
        "lovage mount /mnt/x --home /h --json",
        "lovage unmount /mnt/x",
        "lovage daemon --offline --background",
        "lovage status --watch --json",
        "lovage volume create a --dedup off --chunking fixed",
        "lovage volume list",
        "lovage volume show a",
        "lovage volume forget a",
        "lovage ls default:/a",
        "lovage stat a",
        "lovage cat a b",
        "lovage du /",
        "lovage hash a b",
        "lovage gc --dry-run",
        "lovage fsck --repair --read-data",
        "lovage bench /tmp",
        "lovage config",
        "lovage config get profile",
        "lovage config set profile low-mem",
        "lovage config check",
        "lovage log-level",
        "lovage log-level lovage::kv=debug",
        "lovage evict /m/f",
        "lovage explain /m/f",
        "lovage metrics",
        "lovage completions bash",
        "lovage man",
    ] {
        assert!(parses(line), "{line}");
    }
}

#[test]
fn what_does_not_work_yet_is_not_offered() {
    for name in ["push", "store"] {
        assert!(!parses(&format!("lovage {name} x")), "{name}");
    }
    for name in ["snapshot", "log", "restore", "undo", "diff", "trash"] {
        assert!(!parses(&format!("lovage {name}")), "{name}");
    }
}

#[test]
fn mount_takes_an_optional_volume_before_the_directory() {
    let volume = |line: &str| match Arguments::try_parse_from(line.split(' ')).unwrap().command {
        Command::Mount(mount) => format!("{mount:?}"),
        other => format!("{other:?}"),
    };
    assert!(volume("lovage mount /m").contains("volume: \"default\", dir: \"/m\""));
    assert!(volume("lovage mount v /m").contains("volume: \"v\", dir: \"/m\""));
}

#[test]
fn sizes_and_spans_read_well() {
    let table = [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), ((1 << 20) - 1, "1.0 MiB")];
    for (bytes, text) in table {
        assert_eq!(output::size(bytes), text);
    }
    assert_eq!(output::size(u64::MAX), "16.0 EiB");
    assert_eq!(output::span(59), "59 s");
    assert_eq!(output::span(90_000), "1 d 1 h");
}

#[test]
fn permissions_read_as_ls_writes_them() {
    assert_eq!(output::permissions("file", 0o644), "-rw-r--r--");
    assert_eq!(output::permissions("directory", 0o1777), "drwxrwxrwt");
    assert_eq!(output::permissions("file", 0o4755), "-rwsr-xr-x");
    assert_eq!(output::permissions("file", 0o2644), "-rw-r-Sr--");
}

#[test]
fn a_name_cannot_play_with_the_terminal() {
    assert_eq!(output::printable("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
}
