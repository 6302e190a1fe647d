//! What we answer to others: the port that the daemon implements over its volumes.
//!
//! Must never be called from the thread that drives connections, except where a method says so.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::Peer;
use crate::base::{Bid, Result, VolumeId};

/// A question whose answer is a walk: which blocks only the volume knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Walk {
    /// All tree blocks in `root` and not in `old`, parents first.
    Diff {
        /// Opaque name of a tree, as the asking daemon wrote it.
        root: Vec<u8>,
        /// Of a tree the asker has.
        old: Option<Vec<u8>>,
    },
    /// Manifest blocks, parents first, and data blocks of the bytes `from..to`, in order.
    Range {
        /// Opaque name of the manifest.
        manifest: Vec<u8>,
        /// First byte.
        from: u64,
        /// End, exclusive.
        to: u64,
    },
}

/// Hands one sealed block to the peer. `Break` when it does not want more. May block while the peer is slow.
pub type Emit<'a> = dyn FnMut(Bytes) -> ControlFlow<()> + 'a;

/// The answering side. Methods may read disks; those that must be quick say so.
pub trait Serve: Send + Sync + 'static {
    /// Whether `volume` is shared with `peer`. Quick: asked for each request, under a lock.
    fn shares(&self, peer: &Peer, volume: &VolumeId) -> bool;
    /// The heads to send to a peer that has just connected.
    fn heads(&self, peer: &Peer) -> Vec<(VolumeId, Vec<u8>)>;
    /// A peer announced a head of a volume shared with it. In order, one at a time for each peer; not verified.
    fn on_head(&self, peer: &Peer, volume: VolumeId, head: Vec<u8>);
    /// The sealed bytes of a block of `volume`, if they are here.
    fn block(&self, volume: &VolumeId, bid: &Bid) -> Result<Option<Bytes>>;
    /// Answer a walk by emitting blocks until done or told to break.
    fn walk(&self, volume: &VolumeId, walk: &Walk, emit: &mut Emit<'_>) -> Result<()>;
    /// Whether anybody may come with an invite at the moment; strangers are turned away otherwise. Quick.
    fn inviting(&self) -> bool;
    /// Answer the join request of `peer`, whose identity is proven but who may be a stranger.
    fn join(&self, peer: &Peer, request: &[u8]) -> Result<Vec<u8>>;
    /// One of several sessions with a peer ended: what was said there last is perhaps lost. Quick.
    fn shaken(&self, peer: &Peer) {
        let _ = peer;
    }
    /// A peer came or went. Quick.
    fn presence(&self, peer: &Peer, connected: bool) {
        let _ = (peer, connected);
    }
}
