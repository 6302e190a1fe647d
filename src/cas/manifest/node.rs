//! One manifest node: its canonical bytes, and where nodes end.
//!
//! Bytes come from peers: decoding checks everything and must never panic or allocate beyond the input.

use super::Extent;
use crate::base::{Error, Kind, Result, limits};
use crate::seal::Ref;

const VERSION: u8 = 1;
const HEADER: usize = 4;
const HOLE: u8 = 0;
const DATA: u8 = 1;
/// No node but the last of its level has fewer entries.
const MIN_FANOUT: usize = 64;
/// Beyond the minimum, one entry in this many ends its node.
const PERIOD: u64 = 192;

/// An entry: `span` bytes of the file. Without a block they are a hole (leaves only); in a leaf the
/// block is data, above it is a node of the level below.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(super) span: u64,
    pub(super) block: Option<Ref>,
}

impl From<Extent> for Entry {
    fn from(extent: Extent) -> Self {
        let block = match extent {
            Extent::Data(r) => Some(r),
            Extent::Hole(_) => None,
        };
        Self { span: extent.len(), block }
    }
}

impl From<Entry> for Extent {
    fn from(entry: Entry) -> Self {
        entry.block.map_or(Self::Hole(entry.span), Self::Data)
    }
}

/// Whether a node that has `count` entries, `entry` the last, is complete.
///
/// A hole never ends a node, so neighbouring nodes never hold two halves of one hole. References are
/// pseudo-random, so this depends on content alone, and an edit moves ends only until the next one
/// both versions share.
pub(super) fn ends_node(count: usize, entry: &Entry) -> bool {
    let Some(block) = entry.block else { return false };
    let draw = block.bid.0.first_chunk().map_or(0, |part| u64::from_le_bytes(*part));
    count + 1 >= limits::MAX_FANOUT || (count >= MIN_FANOUT && draw < u64::MAX / PERIOD)
}

/// A decoded node: entries with the offset, within the node, at which each ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Node {
    ends: Vec<u64>,
    entries: Vec<Entry>,
}

impl Node {
    /// Check `bytes` as a node of `level`. [`Kind::Corrupt`] unless they are the canonical encoding of
    /// some node, whichever.
    pub(crate) fn decode(bytes: &[u8], level: u8) -> Result<Self> {
        Self::parse(bytes, level).ok_or_else(|| Error::new(Kind::Corrupt, "decode manifest node", ""))
    }

    fn parse(bytes: &[u8], level: u8) -> Option<Self> {
        let (header, mut rest) = bytes.split_first_chunk::<HEADER>()?;
        let [version, own_level, low, high] = *header;
        let count = usize::from(u16::from_le_bytes([low, high]));
        if version != VERSION || own_level != level || count == 0 || count > limits::MAX_FANOUT {
            return None;
        }
        let mut node = Self { ends: Vec::with_capacity(count), entries: Vec::with_capacity(count) };
        for _ in 0..count {
            let (entry, after) = parse_entry(rest, level)?;
            node.append(entry)?;
            rest = after;
        }
        // A trailing hole is the file's size, not an entry.
        let whole = rest.is_empty() && node.entries.last()?.block.is_some();
        whole.then_some(node)
    }

    /// Add an entry if a canonical node may go on with it.
    fn append(&mut self, entry: Entry) -> Option<()> {
        if let Some(last) = self.entries.last() {
            let halves = last.block.is_none() && entry.block.is_none();
            if halves || ends_node(self.entries.len(), last) {
                return None;
            }
        }
        let end = self.span().checked_add(entry.span).filter(|end| *end <= limits::MAX_FILE)?;
        self.ends.push(end);
        self.entries.push(entry);
        (entry.span > 0).then_some(())
    }

    /// Bytes of the file below this node.
    pub(crate) fn span(&self) -> u64 {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Memory it takes, in bytes.
    pub(crate) fn weight(&self) -> usize {
        self.entries.len() * (size_of::<Entry>() + size_of::<u64>()) + 64
    }

    /// The bytes it was decoded from: there is one encoding.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn encoded(&self, level: u8) -> Vec<u8> {
        encode(level, &self.entries)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Index of the entry that covers `offset` (the number of entries, if none does). O(log n).
    pub(crate) fn find(&self, offset: u64) -> usize {
        self.ends.partition_point(|end| *end <= offset)
    }

    /// Entry `index` and the offset within the node at which it starts.
    pub(crate) fn get(&self, index: usize) -> Option<(u64, Entry)> {
        let entry = *self.entries.get(index)?;
        let end = *self.ends.get(index)?;
        Some((end.saturating_sub(entry.span), entry))
    }
}

/// Encode `entries` (1 to 1024) as a node of `level`.
pub(super) fn encode(level: u8, entries: &[Entry]) -> Vec<u8> {
    let count = u16::try_from(entries.len()).unwrap_or(0);
    let mut out = Vec::with_capacity(HEADER + entries.len() * (8 + Ref::LEN));
    out.extend_from_slice(&[VERSION, level]);
    out.extend_from_slice(&count.to_le_bytes());
    for entry in entries {
        match (&entry.block, level) {
            (Some(data), 0) => {
                out.push(DATA);
                out.extend_from_slice(&data.to_bytes());
            }
            (Some(child), _) => {
                out.extend_from_slice(&entry.span.to_le_bytes());
                out.extend_from_slice(&child.to_bytes());
            }
            (None, _) => {
                out.push(HOLE);
                out.extend_from_slice(&entry.span.to_le_bytes());
            }
        }
    }
    out
}

fn parse_entry(bytes: &[u8], level: u8) -> Option<(Entry, &[u8])> {
    if level > 0 {
        let (span, rest) = parse_number(bytes)?;
        let (child, rest) = parse_ref(rest)?;
        return Some((Entry { span, block: Some(child) }, rest));
    }
    match bytes.split_first()? {
        (&HOLE, rest) => parse_number(rest).map(|(span, rest)| (Entry { span, block: None }, rest)),
        (&DATA, rest) => parse_ref(rest).map(|(r, rest)| (Extent::Data(r).into(), rest)),
        _ => None,
    }
}

fn parse_number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_le_bytes(*number), rest))
}

fn parse_ref(bytes: &[u8]) -> Option<(Ref, &[u8])> {
    let (r, rest) = bytes.split_at_checked(Ref::LEN)?;
    Some((Ref::from_bytes(r).ok()?, rest))
}

#[cfg(test)]
pub(crate) mod tests;
