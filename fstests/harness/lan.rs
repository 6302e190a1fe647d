//! Machines on one network: a namespace each, joined by a bridge in a namespace of its own. Links can be cut.
//!
//! Must never touch the network of the machine itself. Needs root; without it there is no LAN, and the test says so.

use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// A bridge and the machines on it; all gone when dropped.
#[derive(Debug)]
pub struct Lan {
    tag: String,
    machines: usize,
}

static COUNT: AtomicU32 = AtomicU32::new(0);

impl Lan {
    /// `machines` machines that see each other, or `None` with a line that says why.
    pub fn new(machines: usize) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not run here: network namespaces need root");
            return None;
        }
        let tag = format!("lv{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        if !ip(&["netns", "add", &format!("{tag}-hub")]) {
            eprintln!("not run here: no network namespaces");
            return None;
        }
        let lan = Lan { tag, machines };
        let hub = lan.hub();
        must(&["-n", &hub, "link", "add", "br0", "type", "bridge"]);
        must(&["-n", &hub, "link", "set", "br0", "up"]);
        for n in 0..machines {
            lan.plug(n);
        }
        Some(lan)
    }

    fn plug(&self, n: usize) {
        let (hub, machine, port) = (self.hub(), self.machine(n), format!("port{n}"));
        must(&["netns", "add", &machine]);
        must(&["-n", &hub, "link", "add", &port, "type", "veth", "peer", "name", "eth0", "netns", &machine]);
        must(&["-n", &hub, "link", "set", &port, "master", "br0", "up"]);
        must(&["-n", &machine, "addr", "add", &format!("{}/24", self.address(n)), "dev", "eth0"]);
        must(&["-n", &machine, "link", "set", "lo", "up"]);
        must(&["-n", &machine, "link", "set", "eth0", "up"]);
        must(&["-n", &machine, "route", "add", "default", "dev", "eth0"]);
    }

    /// Cut or mend the cable of machine `n`.
    pub fn cable(&self, n: usize, whole: bool) {
        must(&["-n", &self.hub(), "link", "set", &format!("port{n}"), if whole { "up" } else { "down" }]);
    }

    /// Let machine `n` go through another device of its own from now on, with the same address.
    pub fn replug(&self, n: usize, device: &str) {
        let (machine, address) = (self.machine(n), format!("{}/24", self.address(n)));
        must(&["-n", &machine, "link", "del", "eth0"]);
        must(&["-n", &machine, "addr", "add", &address, "dev", device]);
        must(&["-n", &machine, "link", "set", device, "up"]);
        must(&["-n", &machine, "route", "add", "default", "dev", device]);
    }

    /// The address of machine `n`.
    pub fn address(&self, n: usize) -> String {
        format!("10.77.0.{}", n + 1)
    }

    /// Where the namespace of machine `n` is.
    pub fn namespace(&self, n: usize) -> PathBuf {
        PathBuf::from("/run/netns").join(self.machine(n))
    }

    fn hub(&self) -> String {
        format!("{}-hub", self.tag)
    }

    fn machine(&self, n: usize) -> String {
        format!("{}-m{n}", self.tag)
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for n in 0..self.machines {
            ip(&["netns", "del", &self.machine(n)]);
        }
        ip(&["netns", "del", &self.hub()]);
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).stderr(std::process::Stdio::null()).status().is_ok_and(|s| s.success())
}

fn must(arguments: &[&str]) {
    assert!(ip(arguments), "ip {}", arguments.join(" "));
}
