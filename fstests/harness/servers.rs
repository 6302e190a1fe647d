//! Real servers for stores, on a machine of their own: `external/servers` holds the recipe.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::device::until;
use super::lan::Lan;
use super::scratch::Scratch;
use super::sys;

/// S3, SFTP and WebDAV on one machine of a LAN; stopped when dropped.
#[derive(Debug)]
pub struct Servers {
    scratch: Scratch,
    child: Child,
}

impl Servers {
    /// Start them on machine `n` of `lan`.
    pub fn start(lan: &Lan, n: usize) -> Self {
        let scratch = Scratch::new("servers");
        let ready = scratch.path().join("ready");
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", lan.namespace(n).display()));
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/external/servers")).arg(scratch.path()).arg(lan.address(n));
        command.args([
            "sh",
            "-c",
            "echo $LOVAGE_TEST_STORES >\"$0.new\" && mv \"$0.new\" \"$0\" && exec sleep infinity",
        ]);
        command.arg(&ready).stdin(Stdio::null());
        sys::die_with_parent(&mut command);
        let mut child = command.spawn().unwrap();
        until("servers", || {
            assert!(child.try_wait().unwrap().is_none(), "the servers did not start");
            ready.exists()
        });
        Servers { scratch, child }
    }

    /// A location in folder `name` of each server that runs here, with its scheme.
    pub fn locations(&self, name: &str) -> Vec<String> {
        let all = fs::read_to_string(self.scratch.path().join("ready")).unwrap();
        all.split_whitespace().map(|pattern| pattern.replace("{}", &format!("/{name}"))).collect()
    }

    /// The one with this scheme; `None` with a line that says so if that server is not installed.
    pub fn location(&self, scheme: &str, name: &str) -> Option<String> {
        let found = self.locations(name).into_iter().find(|location| location.starts_with(&format!("{scheme}:")));
        if found.is_none() {
            eprintln!("not run here: no server for {scheme}");
        }
        found
    }

    /// What the S3 server keeps in folder `name`.
    pub fn bucket(&self, name: &str) -> PathBuf {
        self.scratch.path().join("s3/bucket").join(name)
    }

    /// What a daemon needs in its environment to be let in.
    pub fn credentials() -> [(&'static str, &'static str); 4] {
        [
            ("AWS_ACCESS_KEY_ID", "lovage-test"),
            ("AWS_SECRET_ACCESS_KEY", "lovage-test-secret"),
            ("LOVAGE_WEBDAV_USER", "lovage"),
            ("LOVAGE_WEBDAV_PASSWORD", "test-secret"),
        ]
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.child.wait();
    }
}
