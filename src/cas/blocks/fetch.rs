//! The port through which blocks come that are not in the local log.
//!
//! Must never know who answers: peers and other stores implement it further up.

use std::collections::HashSet;
use std::ops::Range;

use super::Blocks;
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Bid, Error, Kind, Result};
use crate::seal::{BlockType, Ref, Sealer};

/// Somewhere else that may have a block.
pub trait Fetch: Send + Sync {
    /// The sealed bytes of the block `r` refers to; the caller verifies them. Type and level are hints
    /// for priorities. [`Kind::NotFound`] if no one has it, [`Kind::Unreachable`] or [`Kind::Timeout`]
    /// if no one answered.
    fn fetch(&self, t: BlockType, level: u8, r: &Ref) -> Result<Vec<u8>>;

    /// Blocks of data are wanted at once, `now`, and soon, `later`. Advice: nothing is waited for, and what comes is
    /// kept in the log.
    fn fetch_ahead(&self, now: &[Ref], later: &[Ref]) {
        let _ = (now, later);
    }

    /// The list of blocks `root` is wanted, and what it says of the bytes in `range`, in one answer. Advice: what came
    /// by the time it returns is in the log.
    fn fetch_range(&self, root: (&Ref, u8), range: Range<u64>) {
        let _ = (root, range);
    }
}

/// The error for a block that the log could not give because of `local` and the port because of `remote`:
/// damage stays damage, absence everywhere is [`Kind::Unreachable`].
pub(super) fn failed(r: &Ref, local: Error, remote: Error) -> Error {
    match (local.kind(), remote.kind()) {
        (Kind::Corrupt, _) => local,
        (_, Kind::NotFound) => Error::new(Kind::Unreachable, "read block", r.bid.to_string()).with_source(remote),
        _ => remote,
    }
}

/// Blocks being fetched: whoever wants one that is on its way waits for it.
#[derive(Default)]
pub(super) struct Flights {
    under_way: Mutex<HashSet<Bid>>,
    landed: Condvar,
}

/// The right to fetch one block; given back when dropped.
pub(super) struct Flight<'f> {
    flights: &'f Flights,
    bid: Bid,
}

impl Flights {
    /// Wait until nobody else fetches `bid`. Look into the log again before fetching.
    pub(super) fn board(&self, bid: &Bid) -> Flight<'_> {
        let mut under_way = self.under_way.lock();
        while !under_way.insert(*bid) {
            self.landed.wait(&mut under_way);
        }
        Flight { flights: self, bid: *bid }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.flights.under_way.lock().remove(&self.bid);
        self.flights.landed.notify_all();
    }
}

impl Blocks {
    /// See [`Fetch::fetch_ahead`].
    pub fn fetch_ahead(&self, now: &[Ref], later: &[Ref]) {
        if let Some(fetch) = self.fetch.as_ref().filter(|_| !now.is_empty() || !later.is_empty()) {
            fetch.fetch_ahead(now, later);
        }
    }

    /// See [`Fetch::fetch_range`].
    pub fn fetch_range(&self, root: (&Ref, u8), range: Range<u64>) {
        if let Some(fetch) = &self.fetch {
            fetch.fetch_range(root, range);
        }
    }

    /// Keep a sealed block that somebody brought: its bytes must be those that `bid` names, whatever they mean.
    /// [`Kind::Corrupt`] otherwise. True if it was not here before.
    pub fn accept(&self, bid: &Bid, sealed: &[u8]) -> Result<bool> {
        if !Sealer::verify_bid(bid, sealed) {
            return Err(Error::new(Kind::Corrupt, "accept block", bid.to_string()));
        }
        self.keep(bid, sealed)
    }

    /// As [`Self::accept`], of bytes whose hash the caller has found to be `bid` already.
    pub fn keep(&self, bid: &Bid, sealed: &[u8]) -> Result<bool> {
        let turn = self.sweep.enter();
        turn.note(bid);
        let new = !self.log.contains(bid);
        if new || self.is_damaged(bid) {
            self.store(bid, sealed, &[])?;
        }
        Ok(new)
    }

    /// Fetch a block that is not here, and keep it. [`Kind::Unreachable`] when nobody has it.
    pub fn bring(&self, r: &Ref) -> Result<()> {
        let alone = || Error::new(Kind::Unreachable, "fetch a block", r.bid.to_string());
        let fetch = self.fetch.as_ref().ok_or_else(alone)?;
        let sealed = {
            let _flight = self.flights.board(&r.bid);
            if self.log.contains(&r.bid) {
                return Ok(());
            }
            fetch.fetch(BlockType::Data, 0, r)?
        };
        self.accept(&r.bid, &sealed).map(drop)
    }
}
