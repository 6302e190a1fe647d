//! One node: its bytes, checked once, then read in place.
//!
//! Bytes come from disk and from others, so [`Node::decode`] is a boundary against hostile input: it
//! must never panic, never allocate more than in proportion to its input, and never accept two
//! encodings of one content. Layout in `docs/format-tree.md`.

use std::cmp::Ordering;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};

use bytes::Bytes;

use super::shape::{MAX_KEY, MAX_VALUE, Shape};
use crate::base::sync::Mutex;
use crate::base::{Digest, Error, Kind, Result, limits};
use crate::seal::Ref;

/// First byte of every node.
pub(super) const FORMAT: u8 = 1;
/// Bytes before the first entry: format, level, number of entries.
pub(super) const HEADER: usize = 6;
/// Bytes of an entry besides key and value: their lengths.
pub(super) const ENTRY: usize = 6;
/// The value of an entry of an inner node: logical id, count, reference.
pub(super) const CHILD: usize = 32 + 8 + REF;
const REF: usize = Ref::LEN;

/// A decoded node: the plain bytes and where each entry starts.
pub(super) struct Node {
    plain: Bytes,
    /// One for each entry, and one for the end of the last.
    slots: Box<[Slot]>,
    /// Bytes that all keys begin with; none while not indexed.
    shared: Option<usize>,
    /// Used since the cache last looked.
    touched: AtomicBool,
    /// Children of an inner node that were checked against it, as long as somebody holds them: saves
    /// looking them up, and checking again what cannot change.
    links: Box<[Mutex<Weak<Self>>]>,
    level: u8,
    count: u64,
    logical: Option<Digest>,
}

/// What a search reads of an entry before it reads the entry: misses of the processor's caches, not
/// comparisons, are what a search costs.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The eight bytes of the key after the shared ones, zero-padded, big-endian: orders as keys do.
    head: u64,
    /// Offset of the entry in the plain bytes.
    start: u32,
    /// A hash of the key, for exact search.
    tag: u32,
}

/// An entry's place, or the place it would have, as from a binary search.
pub(super) type Search = std::result::Result<usize, usize>;

/// What an inner node says about one child.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Child {
    pub(super) logical: Digest,
    /// Entries in all leaves below, at least one.
    pub(super) count: u64,
    pub(super) reference: Ref,
}

impl Child {
    /// As the value of an entry.
    pub(super) fn to_value(&self) -> [u8; CHILD] {
        let mut out = [0; CHILD];
        out[..32].copy_from_slice(&self.logical);
        out[32..40].copy_from_slice(&self.count.to_le_bytes());
        out[40..].copy_from_slice(&self.reference.to_bytes());
        out
    }

    /// From the value of an entry.
    pub(super) fn from_value(value: &[u8]) -> Result<Self> {
        let (logical, rest) = value.split_first_chunk::<32>().ok_or_else(|| corrupt("not a child"))?;
        let (count, rest) = rest.split_first_chunk::<8>().ok_or_else(|| corrupt("not a child"))?;
        let count = u64::from_le_bytes(*count);
        if count == 0 {
            return Err(corrupt("an empty child"));
        }
        Ok(Self { logical: *logical, count, reference: Ref::from_bytes(rest)? })
    }
}

fn corrupt(why: &'static str) -> Error {
    Error::new(Kind::Corrupt, "decode tree node", why)
}

/// Lengths of key and value of the entry at the start of `bytes`.
fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    let (key, rest) = bytes.split_first_chunk::<2>()?;
    let value = rest.first_chunk::<4>()?;
    Some((usize::from(u16::from_le_bytes(*key)), usize::try_from(u32::from_le_bytes(*value)).ok()?))
}

impl Node {
    /// Check `plain` as a node of `level`. [`Kind::Corrupt`] for anything but the one encoding of a
    /// non-empty, strictly ascending list of entries. O(bytes).
    pub(super) fn decode(plain: Bytes, level: u8, shape: &Shape) -> Result<Self> {
        let mut node = Self::parse(plain, level)?;
        node.index();
        node.logical = Some(node.name(shape));
        Ok(node)
    }

    /// As [`Node::decode`], with slower searches and without a logical id: for a single pass.
    pub(super) fn parse(plain: Bytes, level: u8) -> Result<Self> {
        let node = Self::lay_out(plain, level)?;
        node.check_order()?;
        Ok(node)
    }

    /// A node that was just made of entries in order.
    pub(super) fn made(plain: Bytes, level: u8, shape: &Shape) -> Result<Self> {
        let mut node = Self::lay_out(plain, level)?;
        debug_assert!(node.check_order().is_ok(), "entries were pushed out of order");
        node.index();
        node.logical = Some(node.name(shape));
        Ok(node)
    }

    fn lay_out(plain: Bytes, level: u8) -> Result<Self> {
        let slots = slots(&plain, level)?;
        let touched = AtomicBool::new(false);
        let links = if level == 0 { 0 } else { slots.len() - 1 };
        let links = (0..links).map(|_| Mutex::default()).collect();
        let mut node = Self { plain, slots, shared: None, touched, links, level, count: 0, logical: None };
        node.count = node.total()?;
        Ok(node)
    }

    fn check_order(&self) -> Result<()> {
        let mut previous = self.key(0);
        for i in 1..self.len() {
            let key = self.key(i);
            if previous >= key {
                return Err(corrupt("keys not ascending"));
            }
            previous = key;
        }
        Ok(())
    }

    /// Needs keys in order: what the first and the last share, all share.
    fn index(&mut self) {
        let (first, last) = (self.first_key(), self.last_key());
        let shared = first.iter().zip(last).take_while(|(a, b)| a == b).count();
        let mut slots = std::mem::take(&mut self.slots);
        let mut starts = slots.iter_mut().peekable();
        while let Some(slot) = starts.next() {
            let end = starts.peek().map_or(slot.start, |next| next.start);
            let key = key_within(self.plain.get(slot.start as usize..end as usize).unwrap_or(&[]));
            slot.head = head(key.get(shared..).unwrap_or(&[]));
            slot.tag = tag(key);
        }
        self.slots = slots;
        self.shared = Some(shared);
    }

    fn total(&self) -> Result<u64> {
        if self.level == 0 {
            return Ok(self.len() as u64);
        }
        (0..self.len())
            .try_fold(0u64, |sum, i| sum.checked_add(self.child(i)?.count).ok_or_else(|| corrupt("count overflows")))
    }

    /// Leaves: over all bytes. Inner nodes: over all bytes but the references.
    fn name(&self, shape: &Shape) -> Digest {
        if self.level == 0 {
            return shape.logical(&[&self.plain]);
        }
        let mut text = Vec::with_capacity(self.plain.len());
        text.extend_from_slice(self.plain.get(..HEADER).unwrap_or(&[]));
        for i in 0..self.len() {
            text.extend_from_slice(self.run(i, i + 1).split_last_chunk::<REF>().map_or(&[][..], |(rest, _)| rest));
        }
        shape.logical(&[&text])
    }

    /// Number of entries, at least one.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - 1
    }

    /// 0 for leaves.
    pub(super) fn level(&self) -> u8 {
        self.level
    }

    /// Entries in all leaves below.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The name of the content, whatever the sealing; none if only parsed.
    pub(super) fn logical(&self) -> Option<&Digest> {
        self.logical.as_ref()
    }

    /// The encoded bytes.
    pub(super) fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// Bytes of memory held, to within what linked children leave behind when they go (150 bytes each).
    pub(super) fn footprint(&self) -> usize {
        let links = self.links.len() * size_of::<Mutex<Weak<Self>>>();
        self.plain.len() + self.slots.len() * size_of::<Slot>() + links + size_of::<Self>() + 64
    }

    fn start(&self, i: usize) -> usize {
        self.slots.get(i).map_or(self.plain.len(), |slot| slot.start as usize)
    }

    /// The encoded entries `a..b`.
    pub(super) fn run(&self, a: usize, b: usize) -> &[u8] {
        self.plain.get(self.start(a)..self.start(b)).unwrap_or(&[])
    }

    /// Ranges of key and value of entry `i` in the plain bytes; empty beyond the end.
    fn ranges(&self, i: usize) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
        let start = self.start(i);
        let key_len = self.plain.get(start..).and_then(lengths).map_or(0, |(key, _)| key);
        let middle = (start + ENTRY + key_len).min(self.plain.len());
        ((start + ENTRY).min(middle)..middle, middle..self.start(i + 1).max(middle))
    }

    /// Key of entry `i`; empty beyond the end.
    pub(super) fn key(&self, i: usize) -> &[u8] {
        self.plain.get(self.ranges(i).0).unwrap_or(&[])
    }

    /// Value of entry `i`; empty beyond the end.
    pub(super) fn value(&self, i: usize) -> &[u8] {
        self.plain.get(self.ranges(i).1).unwrap_or(&[])
    }

    /// Key and value of entry `i`, sharing the node's buffer.
    pub(super) fn entry(&self, i: usize) -> (Bytes, Bytes) {
        let (key, value) = self.ranges(i);
        (self.plain.slice(key), self.plain.slice(value))
    }

    /// The smallest key.
    pub(super) fn first_key(&self) -> &[u8] {
        self.key(0)
    }

    /// The largest key.
    pub(super) fn last_key(&self) -> &[u8] {
        self.key(self.len() - 1)
    }

    /// What entry `i` of an inner node points at.
    pub(super) fn child(&self, i: usize) -> Result<Child> {
        Child::from_value(self.value(i))
    }

    /// The entries proper, without the end.
    fn slots(&self) -> &[Slot] {
        self.slots.split_last().map_or(&[], |(_, slots)| slots)
    }

    /// The entry with exactly this key. Only for indexed nodes.
    pub(super) fn find(&self, key: &[u8]) -> Option<usize> {
        let tag = tag(key);
        let mut tagged = self.slots().iter().enumerate().filter(|(_, slot)| slot.tag == tag);
        tagged.find(|(at, _)| self.key(*at) == key).map(|(at, _)| at)
    }

    /// Where `key` is, or where it would be.
    pub(super) fn search(&self, key: &[u8]) -> Search {
        let at = self.lower_bound(key);
        if at < self.len() && self.key(at) == key { Ok(at) } else { Err(at) }
    }

    /// First entry whose key is at least `key`; `len()` when there is none.
    pub(super) fn lower_bound(&self, key: &[u8]) -> usize {
        let Some(shared) = self.shared else { return self.bound_within(0, self.len(), key) };
        let prefix = self.first_key().get(..shared).unwrap_or(&[]);
        let (common, rest) = key.split_at(shared.min(key.len()));
        match common.cmp(prefix) {
            Ordering::Less => 0,
            Ordering::Greater => self.len(),
            Ordering::Equal => self.bound_by_head(head(rest), key),
        }
    }

    /// Among equal heads the whole keys decide.
    fn bound_by_head(&self, head: u64, key: &[u8]) -> usize {
        let low = self.slots().partition_point(|slot| slot.head < head);
        let equal = self.slots().get(low..).unwrap_or(&[]).partition_point(|slot| slot.head == head);
        self.bound_within(low, low + equal, key)
    }

    fn bound_within(&self, mut low: usize, mut high: usize, key: &[u8]) -> usize {
        while low < high {
            let middle = low.midpoint(high);
            if self.key(middle) < key { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// The child at entry `i`, if it was checked before and is still held.
    pub(super) fn linked(&self, i: usize) -> Option<Arc<Self>> {
        let child = self.links.get(i)?.lock().upgrade()?;
        child.touch();
        Some(child)
    }

    /// Remember the checked child at entry `i`.
    pub(super) fn link(&self, i: usize, child: &Arc<Self>) {
        if let Some(link) = self.links.get(i) {
            *link.lock() = Arc::downgrade(child);
        }
    }

    /// Mark as used.
    pub(super) fn touch(&self) {
        if !self.touched.load(Relaxed) {
            self.touched.store(true, Relaxed);
        }
    }

    /// Whether it was used since last asked.
    pub(super) fn untouch(&self) -> bool {
        self.touched.swap(false, Relaxed)
    }
}

/// Up to eight bytes as a number that orders as they do.
fn head(bytes: &[u8]) -> u64 {
    let mut out = [0; 8];
    let n = bytes.len().min(8);
    out[..n].copy_from_slice(&bytes[..n]);
    u64::from_be_bytes(out)
}

/// A quick hash; who makes keys collide gains slow lookups of them and nothing else.
fn tag(key: &[u8]) -> u32 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed =
        key.chunks(8).fold(key.len() as u64, |sum, chunk| (sum.rotate_left(23) ^ head(chunk)).wrapping_mul(ODD));
    (mixed >> 32) as u32
}

/// The key of an encoded entry; empty if there is none.
fn key_within(entry: &[u8]) -> &[u8] {
    let len = lengths(entry).map_or(0, |(key, _)| key);
    entry.get(ENTRY..ENTRY + len).unwrap_or(&[])
}

/// Walk the lengths: header right, entries in bounds and filling the node exactly.
fn slots(plain: &[u8], level: u8) -> Result<Box<[Slot]>> {
    let (header, entries) = plain.split_first_chunk::<HEADER>().ok_or_else(|| corrupt("too short"))?;
    let [format, its_level, n @ ..] = header;
    let n = u32::from_le_bytes(*n) as usize;
    if *format != FORMAT || *its_level != level || plain.len() > limits::MAX_BLOCK {
        return Err(corrupt("not a node of this level"));
    }
    if n == 0 || n > entries.len() / ENTRY {
        return Err(corrupt("impossible number of entries"));
    }
    let mut slots = Vec::with_capacity(n + 1);
    let mut at = HEADER;
    for _ in 0..n {
        slots.push(Slot { start: offset(at), ..Slot::default() });
        at += entry_size(plain.get(at..).unwrap_or(&[]), level)?;
    }
    slots.push(Slot { start: offset(at), ..Slot::default() });
    if at != plain.len() {
        return Err(corrupt("bytes after the last entry"));
    }
    Ok(slots.into())
}

/// Offsets fit: a node is at most a block.
fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// Size of the entry at the start of `bytes`, within `bytes` and the limits.
fn entry_size(bytes: &[u8], level: u8) -> Result<usize> {
    let (key, value) = lengths(bytes).ok_or_else(|| corrupt("entry out of bounds"))?;
    let size = ENTRY + key + value;
    let fits = key <= MAX_KEY && value <= MAX_VALUE && size <= bytes.len();
    if !fits || (level > 0 && value != CHILD) {
        return Err(corrupt("entry out of bounds"));
    }
    Ok(size)
}
