//! Packets from device to device: up the sender's way, down the receiver's, each when its time has come.
//!
//! One thread, one queue ordered by time. Must never wait while a packet is due.

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Outcome;
use super::profile::{Shape, addressed};
use super::way::Way;

/// Packets taken from one device before the others are looked at again.
const BURST: usize = 128;
const LARGEST: usize = 65_536;

#[derive(Debug)]
struct Machine {
    device: File,
    address: Ipv4Addr,
    up: Way,
    down: Way,
}

/// A packet on its way; the earliest is the greatest.
#[derive(Debug, PartialEq, Eq)]
struct Flying {
    due: Duration,
    number: u64,
    to: usize,
    /// It has still to go down the receiver's way.
    upward: bool,
    packet: Vec<u8>,
}

impl Ord for Flying {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.due, other.number).cmp(&(self.due, self.number))
    }
}

impl PartialOrd for Flying {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Switch {
    seed: u64,
    begin: Instant,
    machines: Vec<Machine>,
    flying: BinaryHeap<Flying>,
    spare: Vec<Vec<u8>>,
    number: u64,
}

impl Switch {
    /// Nobody is there yet.
    pub fn new(seed: u64) -> Self {
        let (machines, flying, spare) = (Vec::new(), BinaryHeap::new(), Vec::new());
        Self { seed, begin: Instant::now(), machines, flying, spare, number: 0 }
    }

    /// A machine behind `device`.
    pub fn plug(&mut self, device: File, address: Ipv4Addr, shape: &Shape) {
        let seed = self.seed.wrapping_mul(1_000_003).wrapping_add(2 * self.machines.len() as u64);
        let (up, down) = (Way::new(shape.up, seed), Way::new(shape.down, seed + 1));
        self.machines.push(Machine { device, address, up, down });
    }

    /// Until standard input ends.
    pub fn run(&mut self) -> Outcome<()> {
        let mut space = vec![0; LARGEST];
        loop {
            self.deliver();
            let mut more = false;
            for from in 0..self.machines.len() {
                more |= self.take(from, &mut space);
            }
            if !more && self.wait()? && !self.listen()? {
                return Ok(());
            }
        }
    }

    /// Everything that is due.
    fn deliver(&mut self) {
        let now = self.begin.elapsed();
        while self.flying.peek().is_some_and(|next| next.due <= now) {
            let Some(Flying { due, to, upward, packet, .. }) = self.flying.pop() else { return };
            let Some(machine) = self.machines.get_mut(to) else { continue };
            if upward {
                match machine.down.pass(due, packet.len()) {
                    Some(at) => self.fly(at, to, false, packet),
                    None => self.spare.push(packet),
                }
            } else {
                // A device that is down, or whose namespace is gone, loses what comes.
                let _ = machine.device.write(&packet);
                self.spare.push(packet);
            }
        }
    }

    /// What a machine has sent; whether there may be more.
    fn take(&mut self, from: usize, space: &mut [u8]) -> bool {
        for _ in 0..BURST {
            let Some(machine) = self.machines.get_mut(from) else { return false };
            let Ok(len) = machine.device.read(space) else { return false };
            let packet = &space[..len];
            let Some(target) = target_of(packet) else { continue };
            let Some(at) = machine.up.pass(self.begin.elapsed(), len) else { continue };
            for to in 0..self.machines.len() {
                if to != from && (target.is_multicast() || self.machines[to].address == target) {
                    let mut copy = self.spare.pop().unwrap_or_default();
                    copy.clear();
                    copy.extend_from_slice(packet);
                    self.fly(at, to, true, copy);
                }
            }
        }
        true
    }

    fn fly(&mut self, due: Duration, to: usize, upward: bool, packet: Vec<u8>) {
        self.number += 1;
        self.flying.push(Flying { due, number: self.number, to, upward, packet });
    }

    /// Until a packet comes or is due; whether standard input has something to say.
    fn wait(&self) -> Outcome<bool> {
        let due = self.flying.peek().map(|next| next.due.saturating_sub(self.begin.elapsed()));
        let due = due.map(|d| Timespec { tv_sec: 0, tv_nsec: d.min(Duration::from_millis(900)).subsec_nanos().into() });
        let input = std::io::stdin();
        let mut waiting = vec![PollFd::from_borrowed_fd(input.as_fd(), PollFlags::IN)];
        waiting.extend(self.machines.iter().map(|m| PollFd::from_borrowed_fd(m.device.as_fd(), PollFlags::IN)));
        match poll(&mut waiting, due.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(waiting.first().is_some_and(|fd| !fd.revents().is_empty())),
            Err(why) => Err(format!("poll: {why}")),
        }
    }

    /// A line of standard input; false when it has ended.
    fn listen(&mut self) -> Outcome<bool> {
        let mut line = [0; 4096];
        let len = rustix::io::read(std::io::stdin().as_fd(), &mut line).map_err(|e| format!("standard input: {e}"))?;
        for line in String::from_utf8_lossy(&line[..len]).lines() {
            if line == "figures" {
                self.tell();
                continue;
            }
            let (address, shape) = addressed(line)?;
            let machine = self.machines.iter_mut().find(|m| m.address == address);
            let machine = machine.ok_or_else(|| format!("nobody is at {address}"))?;
            machine.up.reshape(shape.up);
            machine.down.reshape(shape.down);
            println!("ready");
        }
        Ok(len > 0)
    }

    /// One line of JSON: for each address its ways.
    fn tell(&self) {
        let way = |way: &Way| {
            let f = way.figures;
            format!(r#"{{"packets":{},"bytes":{},"lost":{},"dropped":{}}}"#, f.packets, f.bytes, f.lost, f.dropped)
        };
        let each =
            self.machines.iter().map(|m| format!(r#""{}":{{"up":{},"down":{}}}"#, m.address, way(&m.up), way(&m.down)));
        println!("{{{}}}", each.collect::<Vec<_>>().join(","));
    }
}

/// Where an IPv4 packet goes.
fn target_of(packet: &[u8]) -> Option<Ipv4Addr> {
    let four = packet.first()? >> 4 == 4;
    let bytes: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
    four.then(|| Ipv4Addr::from(bytes))
}
