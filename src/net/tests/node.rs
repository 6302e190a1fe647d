//! A node for tests: a network and a volume in memory, with knobs to make it misbehave.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Runtime;

use crate::base::sync::{Condvar, Mutex};
use crate::base::{Bid, Error, Kind, Result, VolumeId};
use crate::net::{Emit, Net, NetSetup, Peer, Serve, Walk};
use crate::seal::Sealer;

pub const VOLUME: VolumeId = VolumeId([7; 16]);
pub const PATIENCE: Duration = Duration::from_secs(20);

/// What a node answers.
#[derive(Default)]
pub struct Shelf {
    pub blocks: Mutex<BTreeMap<Bid, Bytes>>,
    pub order: Mutex<Vec<Bid>>,
    pub heads: Mutex<Vec<(VolumeId, Vec<u8>)>>,
    pub heard: Mutex<Vec<(Peer, Vec<u8>)>>,
    pub shared_with: Mutex<BTreeSet<Peer>>,
    pub inviting: AtomicBool,
    pub lies: AtomicBool,
    pub reads: AtomicU64,
    pub delay: Mutex<Duration>,
    /// Blocks are read only while this is open.
    closed: Mutex<bool>,
    opened: Condvar,
}

impl Shelf {
    pub fn stall(&self, closed: bool) {
        *self.closed.lock() = closed;
        self.opened.notify_all();
    }

    pub fn put(&self, bytes: Vec<u8>) -> Bid {
        let bid = Sealer::bid(&bytes);
        self.blocks.lock().insert(bid, bytes.into());
        self.order.lock().push(bid);
        bid
    }

    /// `count` blocks of `size` bytes, different for each seed.
    pub fn fill(&self, count: u64, size: usize, seed: u8) -> Vec<Bid> {
        let block = |n: u64| {
            let mut bytes = vec![seed; size.max(9)];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            self.put(bytes)
        };
        (0..count).map(block).collect()
    }
}

impl Serve for Shelf {
    fn shares(&self, peer: &Peer, volume: &VolumeId) -> bool {
        *volume == VOLUME && self.shared_with.lock().contains(peer)
    }

    fn heads(&self, _: &Peer) -> Vec<(VolumeId, Vec<u8>)> {
        self.heads.lock().clone()
    }

    fn on_head(&self, peer: &Peer, _: VolumeId, head: Vec<u8>) {
        self.heard.lock().push((*peer, head));
    }

    fn block(&self, _: &VolumeId, bid: &Bid) -> Result<Option<Bytes>> {
        let mut closed = self.closed.lock();
        while *closed {
            self.opened.wait(&mut closed);
        }
        drop(closed);
        self.reads.fetch_add(1, Ordering::Relaxed);
        let delay = *self.delay.lock();
        if !delay.is_zero() {
            std::thread::sleep(delay); // a slow disk, not a way to wait for something
        }
        let found = self.blocks.lock().get(bid).cloned();
        if self.lies.load(Ordering::Relaxed) {
            return Ok(found.map(|b| Bytes::from(vec![0; b.len()])));
        }
        Ok(found)
    }

    fn walk(&self, _: &VolumeId, walk: &Walk, emit: &mut Emit<'_>) -> Result<()> {
        if let Walk::Diff { root, .. } = walk
            && root == b"unknown"
        {
            return Err(Error::new(Kind::NotFound, "walk", ""));
        }
        let order = self.order.lock().clone();
        for bid in order {
            let bytes = self.blocks.lock().get(&bid).cloned();
            if bytes.is_some_and(|bytes| emit(bytes) == ControlFlow::Break(())) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn inviting(&self) -> bool {
        self.inviting.load(Ordering::Relaxed)
    }

    fn join(&self, peer: &Peer, request: &[u8]) -> Result<Vec<u8>> {
        if request == b"refuse me" {
            return Err(Error::new(Kind::Denied, "join", ""));
        }
        Ok([request, b" from ", peer.to_string().as_bytes()].concat())
    }
}

/// A node.
pub struct Node {
    pub net: Net,
    pub shelf: Arc<Shelf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Tcp,
    Quic,
}

pub fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

impl Node {
    pub fn start(runtime: &Runtime, seed: u8, over: Over) -> Self {
        let shelf = Arc::new(Shelf::default());
        let mut setup = NetSetup::new([seed; 32], Arc::clone(&shelf) as Arc<dyn Serve>);
        setup.mdns = false;
        setup.upnp = false;
        setup.traverse = false;
        let listen = if over == Over::Tcp { "/ip4/127.0.0.1/tcp/0" } else { "/ip4/127.0.0.1/udp/0/quic-v1" };
        setup.listen = vec![listen.to_owned()];
        let net = Net::start(setup, runtime.handle()).unwrap();
        until("it listens", || !net.listen_addresses().is_empty());
        Self { net, shelf }
    }

    /// Know each other, share the volume, and be connected. `self` dials.
    pub fn meet(&self, other: &Self) {
        self.befriend(other);
        other.befriend(self);
        self.net.add_address(other.net.peer_id(), &other.net.listen_addresses()[0]).unwrap();
        until("they are connected", || {
            self.net.is_connected(&other.net.peer_id()) && other.net.is_connected(&self.net.peer_id())
        });
    }

    pub fn befriend(&self, other: &Self) {
        let mut members = self.shelf.shared_with.lock();
        members.insert(other.net.peer_id());
        self.net.allow(members.iter().copied());
    }
}

/// Wait for a condition, with a generous deadline.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(2)); // between two looks at the condition
    }
}
