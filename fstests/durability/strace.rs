//! Faults from outside: strace makes system calls of a running daemon fail, or kills it at one.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long strace may take to let go.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether strace can be had; says so when not.
pub fn is_there() -> bool {
    let there = Command::new("strace").arg("-V").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let there = there.is_ok_and(|s| s.success());
    if !there {
        println!("not run: strace is not installed");
    }
    there
}

/// strace, attached to a process until dropped.
pub struct Injector {
    strace: Child,
}

impl Injector {
    /// Attaches to `pid` with `inject`, as strace's option of that name takes it. Its record goes to `log`.
    pub fn attach(pid: u32, inject: &str, log: &Path) -> Self {
        let calls = inject.split(':').next().unwrap();
        let mut strace = Command::new("strace")
            .args([
                "-f",
                "-p",
                &pid.to_string(),
                "-e",
                &format!("trace={calls}"),
                "-e",
                &format!("inject={inject}"),
                "-o",
            ])
            .arg(log)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(strace.stderr.take().unwrap()).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(first.contains("attached"), "strace: {first}");
        std::thread::spawn(move || lines.for_each(drop));
        Self { strace }
    }

    /// Detaches; the process goes on unharmed.
    pub fn detach(mut self) {
        self.end();
    }

    fn end(&mut self) {
        let _ = kill_process(Pid::from_child(&self.strace), Signal::TERM);
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if !matches!(self.strace.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // It waits for ever for a leader that died under it; its death lets go of whatever still lives.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

impl Drop for Injector {
    fn drop(&mut self) {
        self.end();
    }
}

/// How many faults strace's record `log` holds.
pub fn injected(log: &Path) -> usize {
    std::fs::read_to_string(log).unwrap_or_default().lines().filter(|l| l.contains("(INJECTED)")).count()
}
