//! Bad input and faults: each gives one clear sentence with what to do, the right exit code, nothing lost.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fstests::harness::binary;
use fstests::harness::program::{Home, Said, finish, shown};
use rustix::process::Signal;

#[test]
fn a_home_that_another_daemon_holds_names_the_holder() {
    let home = Home::new("held");
    home.mount().done();
    let pid = home.daemon().unwrap().to_string();
    home.run(&["daemon"])
        .failed(1, &["cannot open the home", &format!("process {pid} (mount) holds it"), "lovage status"]);
    assert_eq!(home.daemon().unwrap().to_string(), pid, "the holder goes on");
}

#[test]
fn a_wrong_or_missing_passphrase_is_told_apart_and_loses_nothing() {
    let home = Home::new("passphrase");
    let (right, wrong) = (home.beside("right"), home.beside("wrong"));
    fs::write(&right, "correct horse\n").unwrap();
    fs::write(&wrong, "battery staple\n").unwrap();
    let (right, wrong, dir) = (shown(&right), shown(&wrong), shown(&home.mountpoint()));
    home.run(&["mount", &dir, "--background", "--passphrase-file", &right]).done();
    fs::write(home.mountpoint().join("f"), "secret").unwrap();
    home.end(Signal::TERM);
    let refused = home.run(&["mount", &dir, "--passphrase-file", &wrong]);
    refused.failed(1, &["cannot open the keys", "the passphrase is wrong"]);
    let refused = home.run(&["mount", &dir, "--background", "--passphrase-file", &wrong]);
    refused.failed(1, &["the passphrase is wrong"]);
    let mut detached = home.command(&["cat", "/f"]);
    // SAFETY of the test's meaning: without a controlling terminal there is nobody to ask.
    let asked = finish(Command::new("setsid").arg("-w").arg(detached.get_program()).args(detached.get_args()));
    asked.failed(1, &["a passphrase is needed", "--passphrase-file"]);
    let told = finish(detached.env("LOVAGE_PASSPHRASE_FILE", &right)).done();
    assert_eq!(told.out, "secret");
}

#[test]
fn a_passphrase_never_shows_in_the_arguments_or_environment_of_the_daemon() {
    let home = Home::new("argv");
    let file = home.beside("right");
    fs::write(&file, "correct horse battery staple\n").unwrap();
    home.run(&["mount", &shown(&home.mountpoint()), "--background", "--passphrase-file", &shown(&file)]).done();
    let pid = home.daemon().unwrap();
    for place in ["cmdline", "environ"] {
        let text = fs::read(format!("/proc/{pid}/{place}")).unwrap();
        assert!(!String::from_utf8_lossy(&text).contains("correct horse"), "{place}");
    }
    assert!(!home.log().contains("correct horse"));
}

#[test]
fn a_damaged_keystore_is_six_and_left_alone() {
    let home = Home::new("keystore");
    home.run(&["volume", "create", "a"]).done();
    let path = home.path().join("keystore");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    home.mount().failed(6, &["cannot open the keys", "keystore is damaged", "backup"]);
    fs::remove_file(&path).unwrap();
    home.mount().failed(6, &["keystore is gone, but volumes are there", "backup"]);
    fs::write(&path, &whole).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    home.run(&["volume", "show", "a"]).done();
}

#[test]
fn a_keystore_others_may_read_is_refused() {
    let home = Home::new("open-keystore");
    home.run(&["volume", "create", "a"]).done();
    fs::set_permissions(home.path().join("keystore"), fs::Permissions::from_mode(0o644)).unwrap();
    home.run(&["ls", "a:/"]).failed(1, &["others may read it", "chmod 600"]);
}

/// A home whose default volume holds `f`, closed in good order.
fn filled(name: &str) -> Home {
    let home = Home::new(name);
    home.mount().done();
    fs::write(home.mountpoint().join("f"), "content").unwrap();
    home.end(Signal::TERM);
    home
}

fn volume_dir(home: &Home) -> PathBuf {
    let mut dirs = fs::read_dir(home.path().join("volumes")).unwrap();
    dirs.next().unwrap().unwrap().path()
}

fn arenas(home: &Home) -> Vec<PathBuf> {
    let files = fs::read_dir(volume_dir(home).join("log")).unwrap().map(|f| f.unwrap().path());
    let mut files: Vec<_> = files.filter(|f| fs::metadata(f).unwrap().len() > 0).collect();
    files.sort();
    files
}

#[test]
fn a_truncated_store_is_six_with_a_sentence_and_never_an_empty_volume() {
    let home = filled("truncated");
    let files = arenas(&home);
    for file in &files {
        fs::File::options().write(true).open(file).unwrap().set_len(100).unwrap();
    }
    for _ in 0..2 {
        // Nor does looking at it turn it into a new, empty volume.
        home.mount().failed(6, &["cannot open the volume", "default", "backup"]);
        home.run(&["ls", "/"]).failed(6, &["cannot open the volume"]);
    }
}

#[test]
fn a_damaged_entry_of_the_journal_is_told_by_fsck_until_it_is_asked_to_mend() {
    let home = Home::new("journal");
    home.mount().done();
    for n in 0..8 {
        let mut file = fs::File::create(home.mountpoint().join(format!("f{n}"))).unwrap();
        file.write_all(b"short").unwrap();
        file.sync_all().unwrap();
    }
    home.end(Signal::KILL);
    let arena = arenas(&home).into_iter().max_by_key(|f| fs::metadata(f).unwrap().len()).unwrap();
    let mut bytes = fs::read(&arena).unwrap();
    let entries: Vec<usize> = (0..bytes.len()).step_by(8).filter(|at| bytes[*at..].starts_with(b"LvRc\x02")).collect();
    assert!(entries.len() >= 4, "{entries:?}: did the layout of the log change?");
    bytes[entries[entries.len() / 2] + 70] ^= 1;
    fs::write(&arena, bytes).unwrap();
    let said = home.mount().done();
    assert!(said.err.contains("lovage fsck"), "{said:?}");
    assert!(home.run(&["status"]).done().out.contains("DAMAGE in 1 place"));
    home.run(&["unmount", &shown(&home.mountpoint())]).done();
    for arguments in [&["fsck"][..], &["fsck", "--read-data"], &["fsck", "--repair"]] {
        let said = home.run(arguments);
        said.failed(6, &["damaged places: 1"]);
        assert!(said.out.contains("damaged: default:(the log): an entry of the journal"), "{said:?}");
    }
    home.run(&["fsck"]).done();
}

#[test]
fn a_damaged_checkpoint_is_told_and_nothing_is_lost_with_it() {
    for round in 0..2 {
        let home = Home::new("checkpoint");
        for n in 0..3 {
            home.mount().done();
            fs::write(home.mountpoint().join(format!("f{n}")), format!("content {n}")).unwrap();
            home.end(Signal::TERM);
        }
        let arena = arenas(&home).into_iter().max_by_key(|f| fs::metadata(f).unwrap().len()).unwrap();
        let mut bytes = fs::read(&arena).unwrap();
        let last = (0..bytes.len()).step_by(8).rfind(|at| bytes[*at..].starts_with(b"LvRc\x03")).unwrap();
        // Its content, or its header.
        bytes[last + if round == 0 { 70 } else { 9 }] ^= 1;
        fs::write(&arena, bytes).unwrap();
        let said = home.mount().done();
        assert!(said.err.contains("lovage fsck"), "{said:?}");
        for n in 0..3 {
            let file = home.mountpoint().join(format!("f{n}"));
            assert_eq!(fs::read_to_string(file).unwrap(), format!("content {n}"));
        }
        home.end(Signal::TERM);
        home.run(&["fsck", "--repair"]).failed(6, &["damaged places: 1"]);
        home.run(&["fsck", "--read-data"]).done();
    }
}

#[test]
fn an_alien_store_is_six_with_a_sentence() {
    let (home, other) = (filled("alien"), filled("alien-other"));
    let (ours, theirs) = (volume_dir(&home).join("log"), volume_dir(&other).join("log"));
    fs::remove_dir_all(&ours).unwrap();
    finish(Command::new("cp").arg("-a").arg(&theirs).arg(&ours)).done();
    home.mount().failed(6, &["cannot open the volume"]);
}

#[test]
fn a_mountpoint_that_is_missing_is_three() {
    let home = Home::new("missing");
    let dir = home.beside("nowhere");
    let said = home.run(&["mount", &shown(&dir)]);
    said.failed(3, &["does not exist", &format!("mkdir -p {}", dir.display())]);
}

#[test]
fn a_mountpoint_that_is_not_empty_hides_nothing() {
    let home = Home::new("full");
    fs::write(home.mountpoint().join("mine"), "x").unwrap();
    let dir = shown(&home.mountpoint());
    home.run(&["mount", &dir]).failed(1, &["has files in it", "Give an empty directory"]);
    home.mount().failed(1, &["has files in it"]);
    assert_eq!(fs::read_to_string(home.mountpoint().join("mine")).unwrap(), "x");
}

#[test]
fn a_mountpoint_that_is_a_file_is_refused() {
    let home = Home::new("file");
    let file = home.beside("file");
    fs::write(&file, "").unwrap();
    home.run(&["mount", &shown(&file)]).failed(1, &["not a directory"]);
}

#[test]
fn a_mountpoint_in_use_and_a_volume_in_use_are_refused() {
    let (home, other) = (Home::new("in-use"), Home::new("in-use-other"));
    home.mount().done();
    let dir = shown(&home.mountpoint());
    other.run(&["mount", &dir]).failed(1, &["already mounted there", "lovage unmount"]);
    let second = home.beside("second");
    fs::create_dir(&second).unwrap();
    home.run(&["mount", &shown(&second)]).failed(1, &["is mounted on", "lovage unmount"]);
}

#[test]
fn unmounting_while_files_are_open_says_how_to_find_them() {
    let home = Home::new("busy");
    home.mount().done();
    let held = fs::File::create(home.mountpoint().join("f")).unwrap();
    home.run(&["unmount", &shown(&home.mountpoint())]).failed(1, &["files in it are open", "fuser"]);
    drop(held);
    home.run(&["unmount", &shown(&home.mountpoint())]).done();
}

#[test]
fn unmounting_what_is_not_mounted_is_three() {
    let home = Home::new("not-mounted");
    home.mount().done();
    home.run(&["unmount", &shown(&home.beside("x"))]).failed(3, &["nothing mounted there", "lovage status"]);
}

/// Run in a mount namespace of its own, after `prepare`.
fn apart(home: &Home, prepare: &str, arguments: &str) -> Said {
    let program = shown(binary::lovage());
    let line = format!("{prepare} && exec {program} --home {} {arguments}", home.path().display());
    finish(Command::new("unshare").args(["-m", "--propagation", "private", "sh", "-c", &line]))
}

#[test]
fn a_machine_without_fuse_is_told_what_to_do() {
    let home = Home::new("no-fuse");
    let line = format!("mount {}", home.mountpoint().display());
    apart(&home, "mount -t tmpfs none /dev", &line).failed(3, &["/dev/fuse", "modprobe fuse"]);
}

#[test]
fn a_user_without_fusermount3_is_told_to_install_it() {
    let home = Home::new("no-helper");
    for dir in [home.path(), home.mountpoint()] {
        fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::chown(&dir, Some(65534), Some(65534)).unwrap();
    }
    fs::set_permissions(home.path().parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = home.beside("lovage");
    fs::copy(binary::lovage(), &program).unwrap();
    let mut command = Command::new(program);
    command.arg("--home").arg(home.path()).arg("mount").arg(home.mountpoint());
    let said = finish(command.uid(65534).gid(65534).env("PATH", "/nonexistent").env_remove("LOVAGE_HOME"));
    said.failed(3, &["fusermount3", "apt install fuse3"]);
}

#[test]
fn a_full_disk_is_said_at_the_start() {
    let home = Home::new("full-disk");
    let at = home.path();
    let prepare = format!("mkdir -p {0} && mount -t tmpfs -o size=64k none {0}", at.display());
    let said = apart(&home, &prepare, &format!("mount {}", home.mountpoint().display()));
    said.failed(1, &["No space left", "Free some space"]);
}

#[test]
fn a_config_typo_names_the_line_and_stops_the_start() {
    let home = Home::new("typo");
    fs::create_dir_all(home.path()).unwrap();
    fs::write(home.path().join("config.toml"), "profile = \"default\"\n\n[dirty]\nmux = 3\n").unwrap();
    let words = ["config.toml", "line 4", "unknown key `dirty.mux`", "config check"];
    home.mount().failed(2, &words);
    home.run(&["daemon"]).failed(2, &words);
    home.run(&["config", "check"]).failed(2, &words);
}

#[test]
fn an_invite_that_is_none_is_refused_before_anything_is_asked() {
    let home = Home::new("join");
    home.run(&["join", "lovage://join/abc", &shown(&home.mountpoint())]).failed(2, &["mistyped"]);
    let filled = filled("invite");
    filled.run(&["invite", "default"]).failed(4, &["none runs in this home"]);
}

#[test]
fn paths_that_are_nowhere_are_told_apart() {
    let home = filled("paths");
    home.run(&["cat", "/nothing"]).failed(3, &["default:/nothing", "not found"]);
    home.run(&["ls", "photos:/"]).failed(3, &["no such volume", "default"]);
    home.run(&["cat", "/"]).failed(1, &["is a directory"]);
    home.run(&["ls", "relative"]).failed(2, &["not inside a mount", "VOLUME:/path"]);
    let nowhere = Home::new("paths-empty");
    nowhere.run(&["ls", "/"]).failed(3, &["no lovage home here", "lovage mount"]);
    assert!(!nowhere.path().exists(), "looking makes nothing");
}

#[test]
fn usage_errors_are_two() {
    let home = Home::new("usage");
    for arguments in
        [&["conquer"][..], &["mount"], &["ls", "--frobnicate"], &["volume", "create", "x", "--dedup", "some"]]
    {
        assert_eq!(home.run(arguments).code, 2, "{arguments:?}");
    }
    home.run(&["volume", "create", "a/b"]).failed(2, &["cannot be the name of a volume", "letters"]);
}

#[test]
fn a_home_of_another_user_is_refused() {
    let home = Home::new("other-user");
    fs::create_dir_all(home.path()).unwrap();
    std::os::unix::fs::chown(home.path(), Some(65534), None).unwrap();
    home.mount().failed(1, &["belongs to user 65534", "--home"]);
}

#[test]
fn a_reader_that_closes_the_pipe_is_no_error() {
    let home = filled("pipe");
    let line = format!("{} --home {} man | head -n 1", shown(binary::lovage()), home.path().display());
    let said = finish(Command::new("bash").args(["-o", "pipefail", "-c", &line])).done();
    assert_eq!((said.out.lines().count(), said.err.as_str()), (1, ""));
    assert!(Path::new(&home.path()).exists());
}

#[test]
fn a_daemon_that_is_stopped_is_named_and_not_waited_for() {
    let home = Home::new("stopped");
    home.mount().done();
    let pid = home.daemon().unwrap();
    let process = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(process, Signal::STOP).unwrap();
    let said = [home.run(&["status"]), home.run(&["unmount", &shown(&home.mountpoint())])];
    rustix::process::kill_process(process, Signal::CONT).unwrap();
    for said in said {
        said.failed(5, &[&format!("process {pid} is stopped"), &format!("kill -CONT {pid}")]);
    }
    let status = home.run(&["status", "--json"]).done().json();
    assert_eq!(status["volumes"][0]["mounts"].as_array().unwrap().len(), 1, "what failed is not done later: {status}");
}

#[test]
fn a_home_removed_while_it_is_mounted_fails_the_next_fsync_and_can_be_unmounted() {
    let home = Home::new("removed");
    home.mount().done();
    let pid = home.daemon().unwrap();
    let mut file = fs::File::create(home.mountpoint().join("f")).unwrap();
    file.write_all(b"before").unwrap();
    file.sync_all().unwrap();
    fs::remove_dir_all(home.path()).unwrap();
    file.write_all(b"after").unwrap();
    assert!(file.sync_all().is_err(), "nothing that has no name any more is durable");
    drop(file);
    home.run(&["unmount", &shown(&home.mountpoint())]).done();
    home.wait_for_end(pid);
}

#[test]
fn a_home_that_may_not_be_written_says_so() {
    let home = Home::new("read-only");
    home.run(&["volume", "create", "a"]).done();
    // Root may write everywhere but on a file system without writing.
    let at = home.path().display().to_string();
    let line = format!("mount {}", home.mountpoint().display());
    apart(&home, &format!("mount --bind {at} {at} && mount -o remount,ro,bind {at}"), &line)
        .failed(1, &["cannot open the home", "it is on a read-only file system"]);
}

#[test]
fn an_error_is_json_where_json_was_asked_for() {
    let home = Home::new("json-error");
    let said = home.run(&["status", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["error"]["no_daemon"], true, "{error}");
    said.failed(4, &["cannot ask the daemon", "none runs in this home"]);
}
