//! F8: programs people use, on the mount: git, SQLite, rsync, tar, atomic saves, a compiler's build tree.
//!
//! A program that is not installed is said aloud and its test passes without it. Never needs the network.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use fstests::harness::bytes::{Random, count, random, text};
use fstests::harness::place::Place;
use fstests::harness::scratch::Scratch;
use fstests::harness::snapshot;

/// Runs a program; `None` and a word about it when it is not there.
fn output(program: &str, arguments: &[&str]) -> Option<Output> {
    match Command::new(program).args(arguments).env("GIT_CONFIG_NOSYSTEM", "1").output() {
        Ok(out) => Some(out),
        Err(e) => {
            eprintln!("{program} is not here, not run: {e}");
            None
        }
    }
}

/// Runs a program that must succeed; its standard output.
fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let out = output(program, arguments)?;
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {arguments:?}: {}\n{said}", out.status);
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let dir = dir.to_string_lossy();
    let mut words =
        vec!["-C", &dir, "-c", "safe.directory=*", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "gc.auto=0"];
    words.extend(arguments);
    run("git", &words)
}

/// A project of some hundred files with links, modes and odd names.
fn project(dir: &Path) {
    let mut dice = Random::new(77);
    for n in 0..400_u64 {
        let folder = dir.join(format!("src/m{}/n{}", n % 13, n % 5));
        fs::create_dir_all(&folder).unwrap();
        let size = 50 + dice.index(20_000);
        let data = if n % 10 == 0 { random(n, size) } else { text(n, size) };
        fs::write(folder.join(format!("file {n}.txt")), data).unwrap();
    }
    let script = dir.join("run.sh");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    std::os::unix::fs::symlink("src/m0", dir.join("link")).unwrap();
}

#[test]
fn git_clones_commits_branches_collects_and_checks_clean() {
    let (mut place, scratch) = (Place::new("git"), Scratch::new("git"));
    let source = scratch.dir("source");
    project(&source);
    if git(&source, &["init", "-q"]).is_none() {
        return;
    }
    git(&source, &["add", "-A"]);
    git(&source, &["commit", "-qm", "one"]);
    let clone = place.path("clone");
    run("git", &["-c", "safe.directory=*", "clone", "-q", &source.to_string_lossy(), &clone.to_string_lossy()]);
    for n in 0..5_u64 {
        git(&clone, &["checkout", "-q", "-b", &format!("branch{n}")]);
        fs::write(clone.join(format!("new{n}")), random(n, 50_000)).unwrap();
        git(&clone, &["add", "-A"]);
        git(&clone, &["commit", "-qm", "more"]);
    }
    git(&clone, &["gc", "-q", "--aggressive", "--prune=now"]);
    git(&clone, &["fsck", "--strict", "--full"]);
    assert_eq!(git(&clone, &["status", "--porcelain"]).unwrap(), "");
    place.remount();
    assert_eq!(git(&clone, &["status", "--porcelain"]).unwrap(), "");
    git(&clone, &["fsck", "--strict", "--full"]);
    git(&clone, &["checkout", "-q", "branch0"]);
    assert!(clone.join("new0").exists() && !clone.join("new4").exists());
    fs::remove_dir_all(&clone).unwrap();
}

fn sqlite(mode: &str) {
    let transactions = count("FSTESTS_TRANSACTIONS", 600);
    let mut place = Place::new("sqlite");
    let database = place.path("db").to_string_lossy().into_owned();
    let mut script = format!(
        "PRAGMA journal_mode={mode};\nCREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);\nCREATE INDEX i ON t(v);\n"
    );
    for n in 0..transactions {
        write!(script, "BEGIN; INSERT INTO t(v) VALUES(hex(randomblob({}))); ", 10 + n % 900).unwrap();
        writeln!(script, "UPDATE t SET v='u{n}' WHERE id={}; COMMIT;", n / 2).unwrap();
    }
    let out = Command::new("sqlite3")
        .arg(&database)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn();
    let Ok(mut child) = out else { return eprintln!("sqlite3 is not here, not run") };
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    for _ in 0..2 {
        let said = run("sqlite3", &[&database, "PRAGMA integrity_check; SELECT count(*) FROM t;"]).unwrap();
        assert_eq!(said.trim(), format!("ok\n{transactions}"));
        place.remount();
    }
}

#[test]
fn sqlite_keeps_its_transactions_with_a_rollback_journal() {
    sqlite("DELETE");
}

#[test]
fn sqlite_keeps_its_transactions_with_a_write_ahead_log() {
    sqlite("WAL");
}

#[test]
fn rsync_copies_everything_once_and_nothing_the_second_time() {
    let (mut place, scratch) = (Place::new("rsync"), Scratch::new("rsync"));
    let source = scratch.dir("source");
    project(&source);
    fs::hard_link(source.join("run.sh"), source.join("same.sh")).unwrap();
    xattr::set(source.join("run.sh"), "user.note", b"kept").unwrap();
    let _ = output("setfacl", &["-m", "u:65534:r", &source.join("run.sh").to_string_lossy()]);
    File::create(source.join("sparse")).unwrap().set_len(5 << 20).unwrap();
    let (from, to) = (format!("{}/", source.display()), place.path("copy").to_string_lossy().into_owned());
    if run("rsync", &["-aHAX", &from, &to]).is_none() {
        return;
    }
    place.remount();
    let second = run("rsync", &["-aHAX", "--itemize-changes", &from, &to]).unwrap();
    assert_eq!(second, "", "the second run found work");
    assert_eq!(run("rsync", &["-aHAXc", "--dry-run", "--itemize-changes", &from, &to]).unwrap(), "");
    snapshot::assert_same(&snapshot::take(Path::new(&to)), &snapshot::take(&source), "rsync");
}

#[test]
fn tar_unpacks_and_packs_the_same_tree() {
    let (mut place, scratch) = (Place::new("tar"), Scratch::new("tar"));
    let source = scratch.dir("source");
    project(&source);
    let archive = scratch.path().join("a.tar").to_string_lossy().into_owned();
    run("tar", &["-C", &source.to_string_lossy(), "-cf", &archive, "."]);
    let copy = place.path("copy");
    fs::create_dir(&copy).unwrap();
    run("tar", &["-C", &copy.to_string_lossy(), "-xpf", &archive]);
    place.remount();
    snapshot::assert_same(&snapshot::take(&copy), &snapshot::take(&source), "tar");
    run("tar", &["-C", &copy.to_string_lossy(), "--compare", "-f", &archive]);
}

#[test]
fn editors_save_atomically_and_a_reader_sees_old_or_new() {
    let place = Place::new("save");
    let path = place.path("notes");
    let version = |n: u64| [n.to_le_bytes().to_vec(), text(n, 10_000 + usize::try_from(n).unwrap() * 37)].concat();
    fs::write(&path, version(0)).unwrap();
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || {
            let mut newest = 0;
            while newest < 199 {
                let data = fs::read(&path).unwrap();
                let n = u64::from_le_bytes(data[..8].try_into().unwrap());
                assert!(data == version(n), "a mix of versions");
                assert!(n >= newest, "went back from {newest} to {n}");
                newest = n;
            }
        })
    };
    for n in 1..200 {
        let aside = place.path(".notes.swp");
        let mut file = File::create(&aside).unwrap();
        file.write_all(&version(n)).unwrap();
        if n % 20 == 0 {
            file.sync_all().unwrap();
        }
        fs::rename(&aside, &path).unwrap();
    }
    reader.join().unwrap();
}

#[test]
fn a_compiler_builds_and_rebuilds_on_the_mount() {
    let mut place = Place::new("build");
    let dir = place.path("project");
    fs::create_dir(&dir).unwrap();
    let mut make = String::from(
        "OBJECTS=$(patsubst %.c,%.o,$(wildcard *.c))\nprogram: $(OBJECTS)\n\tcc -o $@ $^\n%.o: %.c\n\tcc -c -o $@ $<\n",
    );
    make.push_str("clean:\n\trm -f *.o program\n");
    fs::write(dir.join("Makefile"), make).unwrap();
    for n in 0..30 {
        fs::write(dir.join(format!("f{n}.c")), format!("int f{n}(void) {{ return {n}; }}\n")).unwrap();
    }
    fs::write(dir.join("main.c"), "int f7(void); int main(void) { return f7() == 7 ? 0 : 1; }\n").unwrap();
    let at = dir.to_string_lossy().into_owned();
    if run("make", &["-C", &at, "-j2"]).is_none() {
        return;
    }
    run(&dir.join("program").to_string_lossy(), &[]);
    place.remount();
    let again = run("make", &["-C", &at]).unwrap();
    assert!(again.contains("up to date"), "{again}");
    fs::write(dir.join("f7.c"), "int f7(void) { return 8; }\n").unwrap();
    run("make", &["-C", &at]);
    assert_eq!(output(&dir.join("program").to_string_lossy(), &[]).unwrap().status.code(), Some(1));
}

#[test]
fn cargo_builds_tests_and_rebuilds_on_the_mount() {
    let mut place = Place::new("cargo");
    let dir = place.path("crate");
    fs::create_dir_all(dir.join("src")).unwrap();
    fs::write(
        dir.join("Cargo.toml"),
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    )
    .unwrap();
    let library = |n: u32| {
        let module = |i: u32| format!("pub mod m{i} {{ pub fn f() -> u32 {{ {i} }} }}\n");
        let modules = (0..8).map(module).collect::<Vec<_>>().concat();
        format!(
            "{modules}pub fn sum() -> u32 {{ {n} + m3::f() }}\n#[test]\nfn adds() {{ assert_eq!(sum(), {n} + 3); }}\n"
        )
    };
    fs::write(dir.join("src/lib.rs"), library(4)).unwrap();
    fs::write(dir.join("src/main.rs"), "fn main() { println!(\"{}\", small::sum()); }\n").unwrap();
    let at = dir.join("Cargo.toml").to_string_lossy().into_owned();
    let target = dir.join("target").to_string_lossy().into_owned();
    let cargo = |words: &[&str]| {
        let common = ["--offline", "--quiet", "--manifest-path", &at, "--target-dir", &target];
        run("cargo", &[words, &common].concat())
    };
    if cargo(&["build"]).is_none() {
        return;
    }
    assert_eq!(cargo(&["run"]).unwrap().trim(), "7");
    cargo(&["test"]).unwrap();
    place.remount();
    assert_eq!(cargo(&["run"]).unwrap().trim(), "7", "after a remount");
    fs::write(dir.join("src/lib.rs"), library(20)).unwrap();
    assert_eq!(cargo(&["run"]).unwrap().trim(), "23", "an edit is seen");
    cargo(&["clean"]).unwrap();
    assert!(!dir.join("target").exists());
}
