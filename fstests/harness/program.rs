//! The command line as a person or script uses it: a home, a place to mount, commands and what they said.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::mount::{PATIENCE, detach, is_mounted};
use super::scratch::Scratch;
use super::{binary, sys};

/// What a command did.
#[derive(Debug)]
pub struct Said {
    /// Exit status.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// The JSON document it printed.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in {self:?}"))
    }

    /// The JSON documents it printed, one a line.
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e} in {l}"))).collect()
    }

    /// Panics unless it did what was asked.
    #[allow(clippy::return_self_not_must_use)] // often all one wants to know
    pub fn done(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Panics unless it failed with this exit status and words on standard error.
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        let told: Vec<String> =
            self.err.lines().map(|line| sentence(line).unwrap_or_else(|| line.to_owned())).collect();
        for word in words {
            assert!(told.iter().any(|line| line.contains(word)), "no {word:?} in {self:?}");
        }
        let sentences = told.iter().filter(|l| l.starts_with("lovage: cannot ")).count();
        assert_eq!(sentences, 1, "one clear sentence, not {self:?}");
    }
}

/// What a person would have been told by the error that a command with `--json` printed.
fn sentence(line: &str) -> Option<String> {
    let document: serde_json::Value = serde_json::from_str(line).ok()?;
    let part = |name: &str| document["error"][name].as_str();
    Some(format!("lovage: cannot {} ({}): {} {}", part("operation")?, part("subject")?, part("why")?, part("next")?))
}

/// A home and a mountpoint of one test; whatever daemon is left in it ends with the test.
#[derive(Debug)]
pub struct Home {
    scratch: Scratch,
}

impl Home {
    /// An empty one; the home itself does not exist yet, the mountpoint does.
    pub fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        scratch.dir("mnt");
        Home { scratch }
    }

    /// The state directory.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("home")
    }

    /// An empty directory to mount on.
    pub fn mountpoint(&self) -> PathBuf {
        self.scratch.path().join("mnt")
    }

    /// A path beside home and mountpoint.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// A command on this home, not run yet.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary::lovage());
        command.arg("--home").arg(self.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("LOVAGE_HOME").env_remove("LOVAGE_PASSPHRASE_FILE").env("NO_COLOR", "1");
        command
    }

    /// Run a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Said {
        finish(&mut self.command(arguments))
    }

    /// `mount --background` of the default volume.
    pub fn mount(&self) -> Said {
        self.run(&["mount", &shown(&self.mountpoint()), "--background"])
    }

    /// The process that holds the home, if one does.
    pub fn daemon(&self) -> Option<u32> {
        let text = fs::read_to_string(self.path().join("lock")).ok()?;
        let pid: u32 = text.split(' ').next()?.parse().ok()?;
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        (program.file_name() == binary::lovage().file_name() && is_running(pid)).then_some(pid)
    }

    /// Send the daemon a signal and wait until it is gone.
    pub fn end(&self, signal: Signal) {
        let pid = self.daemon().expect("a daemon");
        kill_process(process(pid), signal).unwrap();
        self.wait_for_end(pid);
    }

    /// Wait until a process is gone.
    pub fn wait_for_end(&self, pid: u32) {
        let begin = Instant::now();
        while is_running(pid) {
            assert!(begin.elapsed() < PATIENCE, "process {pid} is still there");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What the daemon in the background logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("lovage.log")).unwrap_or_default()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the daemon logged:\n{}", self.log());
        }
        if let Some(pid) = self.daemon() {
            let _ = kill_process(process(pid), Signal::KILL);
        }
        for dir in fs::read_dir(self.scratch.path()).into_iter().flatten().flatten() {
            if is_mounted(&dir.path()) {
                detach(&dir.path());
            }
        }
    }
}

/// Run a command to its end.
pub fn finish(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// A path as an argument.
pub fn shown(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// A command in the foreground that a test wants to see end by itself.
pub fn spawn(command: &mut Command) -> std::process::Child {
    sys::die_with_parent(command);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn process(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// A process that has ended but was not waited for counts as gone.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    test_kill_process(process(pid)).is_ok() && !matches!(state, None | Some('Z'))
}
