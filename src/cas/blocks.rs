//! The sealed block store: plaintext in, reference out, and back.
//!
//! Thread-safe without a lock of its own on the way of a block: call it from as many threads as there
//! are cores. Must never return bytes that did not verify, never store plaintext, and never let a
//! cache or the dedup index stand in for the log.

mod fetch;
mod part;
mod settings;
mod sweep;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;

use super::cache::{Key, NodeCache, PlainCache};
use super::dedup::{DedupIndex, Recent};
use super::manifest::Node;
use super::{MAX_CHUNK, codec};
use crate::base::port::{Entropy, System};
use crate::base::sync::Mutex;
use crate::base::{Bid, Error, Kind, Result};
use crate::kv::arena::Log;
use crate::seal::{BlockType, Codec, Opened, Pid, Ref, Sealer};

pub use fetch::Fetch;
pub use settings::{Options, Stat};
use sweep::Sweep;

/// Smaller data blocks are not worth a dedup index entry: sealing them again finds the same id.
const MIN_INDEXED: usize = 4096;
/// Most damaged blocks remembered.
const MAX_DAMAGED: usize = 4096;
/// Scratch memory a thread keeps between blocks, in bytes.
const KEEP: usize = 1 << 20;

thread_local! {
    static SEALED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The block store of one volume. Share it with `Arc`.
pub struct Blocks {
    log: Arc<Log>,
    sealer: Arc<Sealer>,
    options: Options,
    recent: Recent,
    index: Option<DedupIndex>,
    plain: PlainCache,
    nodes: NodeCache,
    fetch: Option<Arc<dyn Fetch>>,
    flights: fetch::Flights,
    lately: part::Lately,
    entropy: Arc<dyn Entropy>,
    /// Ids whose stored bytes did not verify; a fresh copy replaces them.
    damaged: Mutex<BTreeSet<Bid>>,
    any_damaged: AtomicBool,
    /// Whether a dedup hit is believed only after a look at the stored bytes.
    doubt: bool,
    sweep: Sweep,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    puts: AtomicU64,
    hits: AtomicU64,
    plain_bytes: AtomicU64,
    sealed_bytes: AtomicU64,
}

impl Blocks {
    /// A store over `log`, sealing with `sealer`'s newest epoch. `index` remembers blocks of earlier
    /// runs; without it only recent ones are recognised before sealing.
    pub fn new(log: Arc<Log>, sealer: Arc<Sealer>, index: Option<DedupIndex>, options: Options) -> Self {
        Self {
            log,
            sealer,
            recent: Recent::new(options.recent_pids()),
            index,
            plain: PlainCache::new(options.cache_bytes, 128 << 10),
            nodes: NodeCache::new(options.cache_bytes / 8, 24 << 10),
            options,
            fetch: None,
            flights: fetch::Flights::default(),
            lately: part::Lately::default(),
            entropy: Arc::new(System),
            damaged: Mutex::default(),
            any_damaged: AtomicBool::new(false),
            doubt: false,
            sweep: Sweep::default(),
            counters: Counters::default(),
        }
    }

    /// Ask `fetch` for blocks that are not here.
    #[must_use]
    pub fn with_fetch(mut self, fetch: Arc<dyn Fetch>) -> Self {
        self.fetch = Some(fetch);
        self
    }

    /// After an unclean shutdown: the log may name blocks whose bytes never reached the disk, so
    /// verify the stored copy before a dedup hit counts.
    #[must_use]
    pub fn with_doubt(mut self, doubt: bool) -> Self {
        self.doubt = doubt;
        self
    }

    /// Draw salts (deduplication off) from `entropy`.
    #[must_use]
    pub fn with_entropy(mut self, entropy: Arc<dyn Entropy>) -> Self {
        self.entropy = entropy;
        self
    }

    /// Store `plain` (at most [`MAX_CHUNK`] bytes) as a block; durable after the next `log.sync`.
    ///
    /// One pass for the private id; on a dedup hit nothing else. Otherwise compression if it pays,
    /// sealing, one append. [`Kind::TooBig`], or what the log says ([`Kind::Full`], [`Kind::Io`]).
    pub fn put(&self, t: BlockType, level: u8, plain: &[u8]) -> Result<Ref> {
        if plain.len() > MAX_CHUNK {
            return Err(Error::new(Kind::TooBig, "store block", format!("{} bytes", plain.len())));
        }
        self.counters.puts.fetch_add(1, Ordering::Relaxed);
        self.counters.plain_bytes.fetch_add(plain.len() as u64, Ordering::Relaxed);
        let indexed = self.options.dedup && t == BlockType::Data && plain.len() >= MIN_INDEXED;
        let pid = indexed.then(|| self.sealer.pid(t, level, plain));
        let turn = self.sweep.enter();
        if let Some(r) = pid.and_then(|pid| self.known(&pid, plain.len())) {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
            turn.note(&r.bid);
            return Ok(r);
        }
        let r = self.seal_and_store(t, level, plain)?;
        turn.note(&r.bid);
        if let Some(pid) = pid {
            self.remember(&pid, r);
        }
        Ok(r)
    }

    /// The block's plaintext, verified. Data and manifest blocks are cached; concurrent readers of one
    /// block open it once.
    ///
    /// [`Kind::Unreachable`] if it is nowhere to be had, [`Kind::Corrupt`] if what is there does not
    /// verify and no one has a good copy, [`Kind::Denied`] without its epoch's key.
    pub fn get(&self, t: BlockType, level: u8, r: &Ref) -> Result<Bytes> {
        match t {
            BlockType::Data if level == 0 => self.plain.get_or(Key::new(t, level, r), || self.get_known(r)),
            BlockType::Data | BlockType::Manifest => {
                self.plain.get_or(Key::new(t, level, r), || self.get_uncached(t, level, r))
            }
            BlockType::Tree | BlockType::Attachment => self.get_uncached(t, level, r),
        }
    }

    /// As [`Self::get`], past the cache: for scrubbing, and for nodes that callers cache decoded.
    pub fn get_uncached(&self, t: BlockType, level: u8, r: &Ref) -> Result<Bytes> {
        self.local_or_elsewhere(t, level, r, |sealed| self.sealer.open(t, level, r, sealed))
    }

    /// A block of data, checked by its id when it is in the log, and in full when it comes from elsewhere.
    fn get_known(&self, r: &Ref) -> Result<Bytes> {
        self.local_or_elsewhere(BlockType::Data, 0, r, |sealed| self.sealer.reopen(r, sealed))
    }

    fn local_or_elsewhere(
        &self,
        t: BlockType,
        level: u8,
        r: &Ref,
        open: impl FnOnce(&mut Vec<u8>) -> Result<Opened>,
    ) -> Result<Bytes> {
        let local = match self.log.get(&r.bid) {
            Ok(Some(mut sealed)) => open(&mut sealed).and_then(|opened| plain(sealed, &opened)),
            Ok(None) => Err(Error::new(Kind::Unreachable, "read block", r.bid.to_string())),
            Err(e) => Err(e),
        };
        match local {
            Err(e) if matches!(e.kind(), Kind::Corrupt | Kind::Unreachable) => self.elsewhere(t, level, r, e),
            other => other,
        }
    }

    /// Whether the block is in the local log. No disk access if it is not.
    pub fn contains(&self, r: &Ref) -> bool {
        self.log.contains(&r.bid)
    }

    /// The log below.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// The keys in use.
    pub fn sealer(&self) -> &Arc<Sealer> {
        &self.sealer
    }

    /// Drop all cached plaintext, manifest nodes and recent private ids.
    pub fn forget_caches(&self) {
        self.plain.clear();
        self.nodes.clear();
        self.recent.clear();
    }

    /// Ids seen damaged and not yet replaced; at most 4096.
    pub fn damaged(&self) -> Vec<Bid> {
        self.damaged.lock().iter().copied().collect()
    }

    /// Counts since the start.
    pub fn stat(&self) -> Stat {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stat {
            puts: of(&self.counters.puts),
            dedup_hits: of(&self.counters.hits),
            plain_bytes: of(&self.counters.plain_bytes),
            sealed_bytes: of(&self.counters.sealed_bytes),
            cached_bytes: self.plain.weight() + self.nodes.weight(),
        }
    }

    /// Write what the dedup index still holds in memory.
    pub fn flush_index(&self) -> Result<()> {
        self.index.as_ref().map_or(Ok(()), DedupIndex::flush)
    }

    /// The decoded manifest node `r`, cached.
    pub(super) fn node(&self, r: &Ref, level: u8) -> Result<Arc<Node>> {
        self.nodes.get_or(Key::new(BlockType::Manifest, level, r), || {
            let plain = self.get_uncached(BlockType::Manifest, level, r)?;
            Node::decode(&plain, level).map(Arc::new)
        })
    }

    /// The reference under which this plaintext was stored before, if the log still has it whole.
    fn known(&self, pid: &Pid, len: usize) -> Option<Ref> {
        let from_index = || self.index.as_ref().and_then(|index| index.get(pid));
        let recent = self.recent.get(pid);
        let r = recent.or_else(from_index)?;
        let there = r.len as usize == len && self.log.contains(&r.bid) && !self.is_damaged(&r.bid);
        let usable = there && (!self.doubt || recent.is_some() || self.is_sound(&r.bid));
        if usable && recent.is_none() {
            self.recent.insert(pid, r);
        }
        usable.then_some(r)
    }

    fn remember(&self, pid: &Pid, r: Ref) {
        self.recent.insert(pid, r);
        if let Some(index) = &self.index {
            index.insert(pid, r);
        }
    }

    fn seal_and_store(&self, t: BlockType, level: u8, plain: &[u8]) -> Result<Ref> {
        if !self.options.compress {
            return self.seal_body(t, level, Codec::Raw, plain, plain.len());
        }
        codec::compress(plain, |body| match body {
            Some(body) => self.seal_body(t, level, Codec::Zstd, body, plain.len()),
            None => self.seal_body(t, level, Codec::Raw, plain, plain.len()),
        })
    }

    fn seal_body(&self, t: BlockType, level: u8, codec: Codec, body: &[u8], len: usize) -> Result<Ref> {
        let len = u32::try_from(len).map_err(|_| Error::new(Kind::TooBig, "store block", ""))?;
        SEALED.with_borrow_mut(|sealed| {
            sealed.clear();
            let (r, aside) = match (t, level) {
                (BlockType::Data, 0) => self.sealer.seal_data(codec, body, len, self.salt(t), sealed)?,
                _ => (self.sealer.seal(t, level, codec, body, len, self.salt(t), sealed)?, Vec::new()),
            };
            self.counters.sealed_bytes.fetch_add(sealed.len() as u64, Ordering::Relaxed);
            self.store(&r.bid, sealed, &aside)?;
            if sealed.capacity() > KEEP {
                *sealed = Vec::new();
            }
            Ok(r)
        })
    }

    /// With deduplication off equal data must not look equal to who stores it. Tree and manifest nodes
    /// need no salt: what they hold differs already.
    fn salt(&self, t: BlockType) -> Option<[u8; 16]> {
        (!self.options.dedup && t == BlockType::Data).then(|| {
            let mut salt = [0; 16];
            self.entropy.fill(&mut salt);
            salt
        })
    }

    /// Replace a damaged or lost block by a copy from elsewhere; durable when done. [`Kind::Unreachable`] when nobody
    /// can be asked, otherwise what the port gives.
    pub fn heal(&self, t: BlockType, level: u8, r: &Ref) -> Result<()> {
        let alone = || Error::new(Kind::Unreachable, "heal block", r.bid.to_string());
        let fetch = self.fetch.as_ref().ok_or_else(alone)?;
        let _flight = self.flights.board(&r.bid);
        let sealed = fetch.fetch(t, level, r)?;
        if !Sealer::verify_bid(&r.bid, &sealed) {
            return Err(Error::new(Kind::Corrupt, "heal block", r.bid.to_string()));
        }
        self.log.sync(self.log.repair(&r.bid, &sealed)?)?;
        self.damaged.lock().remove(&r.bid);
        Ok(())
    }

    /// Append to the log, replacing a copy that is known to be damaged.
    fn store(&self, bid: &Bid, sealed: &[u8], aside: &[u8]) -> Result<()> {
        if self.is_damaged(bid) {
            self.log.repair(bid, sealed)?;
            self.damaged.lock().remove(bid);
            return Ok(());
        }
        self.log.put_with(bid, sealed, aside).map(drop)
    }

    /// The local log could not give the block, because of `why`: note damage, then ask the port. A
    /// reference that does not fit a sound block is the fault of whoever made it; no copy will do.
    fn elsewhere(&self, t: BlockType, level: u8, r: &Ref, why: Error) -> Result<Bytes> {
        if why.kind() == Kind::Corrupt && self.is_sound(&r.bid) {
            return Err(why);
        }
        let Some(fetch) = &self.fetch else { return Err(why) };
        let _flight = self.flights.board(&r.bid);
        if let Ok(Some(mut sealed)) = self.log.get(&r.bid)
            && let Ok(found) = self.sealer.open(t, level, r, &mut sealed).and_then(|opened| plain(sealed, &opened))
        {
            return Ok(found); // somebody else has brought it meanwhile
        }
        let mut sealed = fetch.fetch(t, level, r).map_err(|e| fetch::failed(r, why, e))?;
        if !Sealer::verify_bid(&r.bid, &sealed) {
            return Err(Error::new(Kind::Corrupt, "fetch block", r.bid.to_string()));
        }
        if let Err(e) = self.store(&r.bid, &sealed, &[]) {
            tracing::warn!(block = %r.bid, error = %e.chain(), "a fetched block could not be kept");
        }
        let opened = self.sealer.open(t, level, r, &mut sealed)?;
        plain(sealed, &opened)
    }

    /// Whether the stored bytes are those the id names; if they are others, a fresh copy will replace
    /// them. One read, one hash.
    fn is_sound(&self, bid: &Bid) -> bool {
        let stored = self.log.get(bid).map(|found| found.map(|sealed| Sealer::verify_bid(bid, &sealed)));
        match stored {
            Ok(Some(true)) => return true,
            Ok(None) => return false,
            Ok(Some(false)) | Err(_) => {}
        }
        tracing::warn!(block = %bid, "a stored block is damaged");
        let mut damaged = self.damaged.lock();
        if damaged.len() < MAX_DAMAGED {
            damaged.insert(*bid);
        }
        self.any_damaged.store(true, Ordering::Relaxed);
        false
    }

    fn is_damaged(&self, bid: &Bid) -> bool {
        self.any_damaged.load(Ordering::Relaxed) && self.damaged.lock().contains(bid)
    }
}

/// The plaintext of a block that was opened in its buffer.
fn plain(sealed: Vec<u8>, opened: &Opened) -> Result<Bytes> {
    match opened.codec {
        Codec::Raw => Ok(Bytes::from(sealed).slice(opened.body.clone())),
        Codec::Zstd => {
            let body = sealed.get(opened.body.clone()).unwrap_or_default();
            codec::decompress(body, opened.plain_len as usize).map(Bytes::from)
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
