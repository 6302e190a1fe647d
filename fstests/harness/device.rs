//! A machine of a LAN with a daemon and a mount: what a second computer is to a person.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::lan::Lan;
use super::mount::{PATIENCE, answers, detach};
use super::program::Said;
use super::scratch::Scratch;
use super::servers::Servers;
use super::{binary, sys};

/// One machine. Its daemon, if any, ends with it.
#[derive(Debug)]
pub struct Device {
    name: String,
    namespace: PathBuf,
    scratch: Scratch,
    child: Option<Child>,
}

/// Wait until `condition` holds; panics with `what` when it does not within a generous time.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

impl Device {
    /// Machine `n` of `lan`, with an empty home.
    pub fn new(lan: &Lan, n: usize, name: &str) -> Self {
        let scratch = Scratch::new(&format!("device-{name}"));
        scratch.dir("mnt");
        Device { name: name.to_owned(), namespace: lan.namespace(n), scratch, child: None }
    }

    /// The state directory.
    pub fn home(&self) -> PathBuf {
        self.scratch.path().join("home")
    }

    /// The mountpoint.
    pub fn dir(&self) -> PathBuf {
        self.scratch.path().join("mnt")
    }

    /// A path on the mount.
    pub fn at(&self, path: &str) -> PathBuf {
        self.dir().join(path)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.namespace.display())).arg(binary::lovage()).arg("--home").arg(self.home());
        command.env("LOVAGE_DEVICE_NAME", &self.name).env_remove("LOVAGE_HOME");
        command.envs(Servers::credentials());
        command
    }

    /// Run a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        let output = self.command().args(arguments).stdin(Stdio::null()).output().unwrap();
        Said {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Mount the volume `name`.
    pub fn mount(&mut self, name: &str) {
        let dir = self.dir();
        self.host(&["mount", name, &dir.to_string_lossy()]);
    }

    /// Join and mount.
    pub fn join(&mut self, link: &str) {
        let dir = self.dir();
        self.host(&["join", link, &dir.to_string_lossy()]);
    }

    /// Start a command that hosts the daemon, and wait for its mount.
    fn host(&mut self, arguments: &[&str]) {
        assert!(self.child.is_none(), "one daemon a machine");
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.command();
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        sys::die_with_parent(&mut command);
        let mut child = command.spawn().unwrap();
        until(&format!("mount of {}", self.name), || {
            if let Some(status) = child.try_wait().unwrap() {
                panic!("{}: {status}\n{}", self.name, self.said());
            }
            answers(&self.dir())
        });
        self.child = Some(child);
        until("an answer", || self.run(&["status", "--json"]).code == 0);
    }

    /// Run the daemon without a mount, and wait until it answers.
    pub fn serve(&mut self) {
        assert!(self.child.is_none(), "one daemon a machine");
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = self.command();
        command.arg("daemon").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        sys::die_with_parent(&mut command);
        self.child = Some(command.spawn().unwrap());
        until("an answer", || self.run(&["status", "--json"]).code == 0);
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("log")
    }

    /// What the daemon printed.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// An invite to `volume`.
    pub fn invite(&self, volume: &str, more: &[&str]) -> String {
        let said = self.run(&[&["invite", volume, "--json"], more].concat()).done();
        said.json()["link"].as_str().unwrap().to_owned()
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        self.run(&["status", "--json"]).done().json()
    }

    /// The logical root of its first volume.
    pub fn root(&self) -> String {
        self.status()["volumes"][0]["root"].as_str().unwrap().to_owned()
    }

    /// How many peers are connected.
    pub fn connected(&self) -> usize {
        let status = self.status();
        status["peers"].as_array().unwrap().iter().filter(|p| p["connected"] == true).count()
    }

    /// Memory that the daemon holds, in bytes.
    pub fn memory(&self) -> u64 {
        let pid = self.child.as_ref().expect("a daemon").id();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    /// Kill the daemon as a power cut of the process would; the mount is cleared away.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            detach(&self.dir());
        }
    }

    /// End the daemon in order.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let pid = Pid::from_child(&child);
            kill_process(pid, Signal::TERM).unwrap();
            until("the end of the daemon", || child.try_wait().unwrap().is_some());
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.name, self.said());
        }
        self.kill();
        detach(&self.dir());
    }
}

/// Wait until all show one root (S4).
pub fn until_equal(devices: &[&Device]) {
    until("equal roots", || {
        let roots: Vec<_> = devices.iter().map(|d| d.root()).collect();
        roots.windows(2).all(|pair| pair[0] == pair[1])
    });
}

/// Wait until a file has these bytes.
pub fn until_reads(path: &Path, content: &[u8]) {
    until(&format!("{} reads as written", path.display()), || std::fs::read(path).is_ok_and(|read| read == content));
}
