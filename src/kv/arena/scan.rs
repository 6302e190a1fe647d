//! Walking the records of one arena in order.
//!
//! Must never stop the process on any content, and never report a record whose checksums fail as
//! intact.

use std::collections::BTreeSet;
use std::io;

use super::disk::DiskFile;
use super::record::{ALIGN, HEADER, Header, Salt, Type};

const WINDOW: usize = 64 << 10;
const PEEK: usize = 4 << 10;

/// Reads from a tombstone's payload the offsets it names in the scanned arena; `None` if not wanted.
pub type Deleted<'a> = Option<&'a dyn Fn(&[u8]) -> Vec<u64>>;

/// How much a scan verifies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// Headers, and payloads of everything but blocks.
    Headers,
    /// Every payload.
    Payloads,
    /// Every payload, handed out also for blocks.
    Contents,
}

/// One step of a scan.
#[derive(Debug)]
pub enum Step {
    /// A valid header, and a payload that verifies or was not looked at (empty for blocks).
    Record { offset: u64, header: Header, payload: Vec<u8> },
    /// A valid header whose payload fails; the next record can still be found.
    Damaged { offset: u64, header: Header },
    /// No valid header here.
    Broken { offset: u64 },
    /// The limit was reached exactly.
    End,
}

/// A cursor over the records of one file.
pub struct Scanner<'a> {
    file: &'a dyn DiskFile,
    salt: Salt,
    position: u64,
    limit: u64,
    depth: Depth,
    window: Vec<u8>,
    window_start: u64,
    payload: Vec<u8>,
}

impl<'a> Scanner<'a> {
    /// Scan from `position` (a record's start) up to `limit`.
    pub fn new(file: &'a dyn DiskFile, salt: Salt, position: u64, limit: u64, depth: Depth) -> Self {
        Self { file, salt, position, limit, depth, window: Vec::new(), window_start: 0, payload: Vec::new() }
    }

    /// Where the next step looks.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Continue at `position`.
    pub fn seek(&mut self, position: u64) {
        self.position = position.min(self.limit);
    }

    /// The next record. After `Broken` the position stays: call [`Scanner::resync`] or stop.
    pub fn step(&mut self) -> io::Result<Step> {
        let offset = self.position;
        if offset == self.limit {
            return Ok(Step::End);
        }
        let Some(header) = self.header_at(offset)? else { return Ok(Step::Broken { offset }) };
        self.position = offset + header.size();
        if self.depth == Depth::Headers && header.kind == Type::Block {
            return Ok(Step::Record { offset, header, payload: Vec::new() });
        }
        if !self.load_payload(offset, &header)? {
            return Ok(Step::Damaged { offset, header });
        }
        let keep = header.kind != Type::Block || self.depth == Depth::Contents;
        let payload = if keep { std::mem::take(&mut self.payload) } else { Vec::new() };
        Ok(Step::Record { offset, header, payload })
    }

    /// Move to the next valid header at or behind `from`; `None` (and the limit) if there is none.
    pub fn resync(&mut self, from: u64) -> io::Result<Option<u64>> {
        let mut at = from.next_multiple_of(ALIGN);
        while at + HEADER as u64 <= self.limit {
            if let Some(zeros) = self.zeros_at(at)? {
                at = zeros;
                continue;
            }
            let bytes = self.bytes_at(at, HEADER)?;
            if Header::may_start(bytes) && self.header_at(at)?.is_some() {
                self.position = at;
                return Ok(Some(at));
            }
            at += ALIGN;
        }
        self.position = self.limit;
        Ok(None)
    }

    /// Whether a record behind the bad one at `bad` shows that it is no torn tail.
    ///
    /// Either some record from `next` on was written when `bad` was already durable. Or the bad
    /// record's pages were given back after its deletion: `deleted` names the offsets a tombstone's
    /// payload lists, and from `bad` up to the tombstones everything is intact or named by them. (A
    /// tombstone behind a torn record proves nothing: it would be cut itself.)
    pub fn was_durable(&mut self, bad: u64, next: u64, deleted: Deleted<'_>) -> io::Result<bool> {
        let mut unexplained = BTreeSet::from([bad]);
        let mut deleted = deleted;
        let mut expected = next;
        while let Some(at) = self.resync(expected)? {
            let Some(header) = self.header_at(at)? else { break };
            if u64::from(header.durable) * ALIGN > bad {
                return Ok(true);
            }
            deleted = deleted.filter(|_| at == expected);
            if let Some(deleted) = deleted {
                if !self.load_payload(at, &header)? {
                    unexplained.insert(at);
                } else if header.kind == Type::Tombstone {
                    let named = deleted(&self.payload);
                    unexplained.retain(|offset| !named.contains(offset));
                }
                if unexplained.is_empty() {
                    return Ok(true);
                }
            }
            expected = at + header.size();
        }
        Ok(false)
    }

    /// The header at `offset`, if it verifies and its record ends within the limit.
    pub fn header_at(&mut self, offset: u64) -> io::Result<Option<Header>> {
        if offset + HEADER as u64 > self.limit {
            return Ok(None);
        }
        let salt = self.salt;
        let header = Header::decode(self.bytes_at(offset, HEADER)?, salt, offset);
        Ok(header.filter(|h| offset + h.size() <= self.limit))
    }

    /// If the window's worth of bytes at `at` is all zeros, the offset behind them.
    fn zeros_at(&mut self, at: u64) -> io::Result<Option<u64>> {
        let bytes = self.bytes_at(at, PEEK)?;
        let all = bytes.len() == PEEK && bytes.iter().all(|b| *b == 0);
        Ok(all.then_some(at + PEEK as u64))
    }

    fn load_payload(&mut self, offset: u64, header: &Header) -> io::Result<bool> {
        let mut payload = std::mem::take(&mut self.payload);
        payload.resize(header.len as usize, 0);
        let n = self.file.read_at(&mut payload, offset + HEADER as u64)?;
        let intact = n == payload.len() && crc32c::crc32c(&payload) == header.payload_crc;
        self.payload = payload;
        Ok(intact)
    }

    /// `len` bytes at `offset` through the read window; shorter at the end of the file.
    fn bytes_at(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let end = self.window_start + self.window.len() as u64;
        if offset < self.window_start || offset + len as u64 > end {
            // Behind a big record only its neighbour's header is wanted; small ones come in crowds.
            let far = offset > end + WINDOW as u64 / 4;
            self.window.resize(if far { PEEK } else { WINDOW }, 0);
            let n = self.file.read_at(&mut self.window, offset)?;
            self.window.truncate(n);
            self.window_start = offset;
        }
        let at = usize::try_from(offset - self.window_start).unwrap_or(usize::MAX);
        let rest = self.window.get(at..).unwrap_or(&[]);
        Ok(rest.get(..len).unwrap_or(rest))
    }
}
