//! A mount that a test can start, kill and bring back.
//!
//! By default the program under test; `FSTESTS_MOUNT` names another filesystem to prove the tests on, as a
//! foreground command with `{home}` and `{dir}` (`bindfs -f {home} {dir}`).

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{binary, sys};

/// How long a start or stop may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// One filesystem served by a process this test owns.
#[derive(Debug)]
pub struct Mount {
    home: PathBuf,
    dir: PathBuf,
    arguments: Vec<String>,
    child: Option<Child>,
}

/// The command of `FSTESTS_MOUNT`, when another filesystem stands in.
fn stand_in() -> Option<String> {
    std::env::var("FSTESTS_MOUNT").ok()
}

/// True when the tests run against lovage itself, so that only lovage's own promises are asked.
pub fn is_lovage() -> bool {
    stand_in().is_none() && std::env::var_os("FSTESTS_DIR").is_none()
}

impl Mount {
    /// Starts and waits until the mount answers; panics with the daemon's words when it does not.
    pub fn start(home: &Path, dir: &Path, arguments: &[&str]) -> Self {
        Self::try_start(home, dir, arguments).unwrap_or_else(|why| panic!("mount of {}: {why}", dir.display()))
    }

    /// As `start`; the error is the exit status and what the program said.
    pub fn try_start(home: &Path, dir: &Path, arguments: &[&str]) -> Result<Self, String> {
        std::fs::create_dir_all(home).unwrap();
        if stand_in().is_some() || !is_mounted(dir) {
            detach(dir);
            std::fs::create_dir_all(dir).unwrap();
        }
        let arguments = arguments.iter().map(|a| (*a).to_owned()).collect();
        let mut mount = Mount { home: home.to_owned(), dir: dir.to_owned(), arguments, child: None };
        mount.spawn()?;
        Ok(mount)
    }

    fn command(&self) -> Command {
        if let Some(line) = stand_in() {
            let (home, dir) = (self.home.to_string_lossy(), self.dir.to_string_lossy());
            let words: Vec<String> =
                line.split_whitespace().map(|w| w.replace("{home}", &home).replace("{dir}", &dir)).collect();
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            return command;
        }
        let mut command = Command::new(binary::lovage());
        command.arg("--home").arg(&self.home).arg("mount").arg(&self.dir).arg("--offline").args(&self.arguments);
        command.env_remove("LOVAGE_HOME");
        command
    }

    fn spawn(&mut self) -> Result<(), String> {
        let log = self.log();
        let mut command = self.command();
        let out = File::options().create(true).append(true).open(&log).unwrap();
        command.stdin(Stdio::null()).stdout(out.try_clone().unwrap()).stderr(out);
        sys::die_with_parent(&mut command);
        let mut child = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let table = File::open("/proc/self/mounts").unwrap();
        let begin = Instant::now();
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                return Err(format!("{status}\n{}", self.said()));
            }
            if answers(&self.dir) {
                self.child = Some(child);
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("not mounted after {PATIENCE:?}\n{}", self.said()));
            }
            sys::mount_table_change(&table, Duration::from_millis(20));
        }
    }

    fn log(&self) -> PathBuf {
        self.home.with_extension("log")
    }

    /// What the daemon printed so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// The mountpoint.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The state directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Process id of the daemon.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("running").id()
    }

    /// Peak resident set of the daemon in KiB.
    pub fn peak_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or("VmHWM: 0 kB");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// `kill -9`, and the process is gone when this returns. The dead mount stays.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("running");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// SIGTERM and wait for a clean end.
    pub fn stop(&mut self) {
        let status = self.terminate().unwrap_or_else(|| panic!("still there after {PATIENCE:?}\n{}", self.said()));
        if is_lovage() {
            assert!(status.success(), "{status} on SIGTERM\n{}", self.said());
        }
        assert!(!is_mounted(&self.dir), "{} is still mounted after SIGTERM", self.dir.display());
    }

    /// Stops or finds stopped, starts again, and says how long the start took.
    pub fn restart(&mut self) -> Duration {
        if self.child.is_some() {
            self.stop();
        }
        if stand_in().is_some() {
            detach(&self.dir);
        }
        let begin = Instant::now();
        self.spawn().unwrap_or_else(|why| panic!("remount of {}: {why}", self.dir.display()));
        begin.elapsed()
    }

    fn terminate(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        let pid = Pid::from_child(&child);
        let _ = kill_process(pid, Signal::TERM);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if let Some(status) = child.try_wait().unwrap() {
                return Some(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let _ = child.wait();
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon said:\n{}", self.said());
            if let Some(mut child) = self.child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
        self.terminate();
        detach(&self.dir);
    }
}

/// True when something is mounted exactly at `dir`, alive or not.
pub fn is_mounted(dir: &Path) -> bool {
    let wanted = dir.to_string_lossy();
    let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
    table.lines().any(|line| line.split(' ').nth(1) == Some(wanted.as_ref()))
}

/// Lazily unmounts whatever is mounted at `dir`, repeatedly.
pub fn detach(dir: &Path) {
    while is_mounted(dir) {
        if rustix::mount::unmount(dir, rustix::mount::UnmountFlags::DETACH).is_err() {
            return;
        }
    }
}

/// What statfs calls a FUSE filesystem.
const FUSE: u64 = 0x6573_5546;

/// One question that only the new mount answers right: a dead one says ENOTCONN (statfs is never answered from the
/// kernel's cache), and the bare directory, between the two, is no FUSE filesystem.
pub fn answers(dir: &Path) -> bool {
    rustix::fs::statfs(dir).is_ok_and(|found| u64::try_from(found.f_type).is_ok_and(|kind| kind == FUSE))
}
