//! The bytes of an index file: eight of magic, then sections; see `docs/format-index.md`.
//!
//! A section says that a pack is there, with a record for each of its blocks, or that one is gone. Each header and each
//! record has a checksum; a record's is bound to its header. Must never take a count or a length from a file beyond what
//! a pack can have.

use super::super::pack::{MOST, PackName, Span};
use super::records::Records;
use crate::base::Bid;
use crate::base::limits::MAX_BLOCK;

/// The file opens with it.
pub const MAGIC: &[u8; 8] = b"lvgpidx1";
/// Bytes of a section's header, and of a record.
pub const HEADER: usize = 52;
pub const RECORD: usize = Bid::LEN + 12;

const THERE: u8 = 1;
const GONE: u8 = 2;
/// Bytes of a file read at once.
const AT_ONCE: usize = 1 << 20;
const _: () = assert!(MOST as usize * RECORD < AT_ONCE);

/// What a section's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Of this pack.
    pub name: PackName,
    /// Bytes of its object; `None`: it is gone.
    pub size: Option<u64>,
}

impl Header {
    /// As bytes; the last four are the checksum of the others.
    pub fn encode(self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        out[0] = if self.size.is_some() { THERE } else { GONE };
        out[4..40].copy_from_slice(&self.name.to_bytes());
        out[40..48].copy_from_slice(&self.size.unwrap_or(0).to_le_bytes());
        let crc = crc32c::crc32c(&out[..48]);
        out[48..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// From bytes; `None` for anything that [`Self::encode`] would not have made.
    pub fn decode(bytes: &[u8; HEADER]) -> Option<Self> {
        let name = PackName::from_bytes(bytes[4..40].try_into().ok()?)?;
        let size = u64::from_le_bytes(bytes[40..48].try_into().ok()?);
        let header = Self { name, size: (bytes[0] == THERE).then_some(size) };
        let fits = |size| (name.index_len()..=name.index_len() + u64::from(u32::MAX)).contains(&size);
        (header.encode() == *bytes && header.size.is_none_or(fits)).then_some(header)
    }

    /// What the checksums of its records are bound to.
    pub fn seed(self) -> u32 {
        crc32c::crc32c(&self.encode())
    }

    /// Records that follow.
    pub fn records(self) -> u32 {
        self.size.map_or(0, |_| self.name.count())
    }
}

/// The whole section of a pack that is there.
pub fn there(name: PackName, size: u64, spans: &[(Bid, Span)]) -> Vec<u8> {
    let header = Header { name, size: Some(size) };
    let (seed, mut out) = (header.seed(), Vec::with_capacity(HEADER + spans.len() * RECORD));
    out.extend_from_slice(&header.encode());
    for (id, span) in spans {
        let start = out.len();
        out.extend_from_slice(&id.0);
        out.extend_from_slice(&span.offset.to_le_bytes());
        out.extend_from_slice(&span.len.to_le_bytes());
        let crc = crc32c::crc32c_append(seed, &out[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
    }
    out
}

/// One record of the section with this `seed`. `None` if it is damaged, or of another.
pub fn record(seed: u32, bytes: &[u8]) -> Option<(Bid, Span)> {
    let (said, crc) = bytes.split_at_checked(RECORD - 4)?;
    if crc32c::crc32c_append(seed, said) != u32::from_le_bytes(crc.try_into().ok()?) {
        return None;
    }
    let (id, span) = said.split_at(Bid::LEN);
    let (offset, len) = span.split_at(4);
    let (offset, len) = (u32::from_le_bytes(offset.try_into().ok()?), u32::from_le_bytes(len.try_into().ok()?));
    (len as usize <= MAX_BLOCK).then_some((Bid::from_slice(id)?, Span { offset, len }))
}

/// Show `each` section in its order: its header, where its records begin, and those. Gives where the first begins that is
/// torn, damaged or not wanted by `each`; else the end. Memory: one section, and what is read at once.
pub fn scan(records: &Records, mut each: impl FnMut(Header, u64, &[(Bid, Span)]) -> bool) -> u64 {
    let mut reader = Reader { records, at: MAGIC.len() as u64, buffer: Vec::new(), used: 0 };
    loop {
        let begin = reader.at;
        let whole = reader.section().is_some_and(|(header, at, spans)| each(header, at, &spans));
        if !whole {
            return begin;
        }
    }
}

type Spans = Vec<(Bid, Span)>;

/// Reads in large pieces.
struct Reader<'r> {
    records: &'r Records,
    /// Where what is taken next begins, in the file and in the buffer.
    at: u64,
    used: usize,
    buffer: Vec<u8>,
}

impl Reader<'_> {
    fn section(&mut self) -> Option<(Header, u64, Spans)> {
        let header = Header::decode(self.take(HEADER)?.try_into().ok()?)?;
        let (at, seed) = (self.at, header.seed());
        let bytes = self.take(header.records() as usize * RECORD)?;
        let spans: Option<Spans> = bytes.chunks_exact(RECORD).map(|bytes| record(seed, bytes)).collect();
        Some((header, at, spans?))
    }

    /// The next `len` bytes, at most [`AT_ONCE`].
    fn take(&mut self, len: usize) -> Option<&[u8]> {
        if self.buffer.len() - self.used < len {
            self.buffer.drain(..self.used);
            self.used = 0;
            let (kept, from) = (self.buffer.len(), self.at + self.buffer.len() as u64);
            let left = usize::try_from(self.records.len().saturating_sub(from)).unwrap_or(usize::MAX);
            self.buffer.resize(kept + left.min(AT_ONCE), 0);
            if self.records.read(from, &mut self.buffer[kept..]).is_err() {
                self.buffer.truncate(kept);
            }
        }
        let taken = self.buffer.get(self.used..self.used + len)?;
        self.at += len as u64;
        self.used += len;
        Some(taken)
    }
}
