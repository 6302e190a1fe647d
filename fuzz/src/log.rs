//! Logs built from bytes: every step of the input appends something, right or wrong, to arena files whose
//! checksums hold, so that the fuzzer reaches what lies behind them.

use std::sync::Arc;

use lovage::base::Bid;
use lovage::base::port::Seeded;
use lovage::kv::arena::{Log, Lsn, Options, fuzzing};

use crate::disk::Memory;

const SALT: [u8; 8] = *b"fuzzsalt";
const FIRST: usize = 4096;

/// Takes bytes off the front of an input; zeros when there are none left.
pub struct Bytes<'a>(pub &'a [u8]);

impl<'a> Bytes<'a> {
    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    /// Eight bytes as a number.
    pub fn long(&mut self) -> u64 {
        u64::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// Up to `len` bytes.
    pub fn take(&mut self, len: usize) -> &'a [u8] {
        let (head, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        head
    }
}

/// One arena file in the making.
struct Arena {
    number: u32,
    bytes: Vec<u8>,
    /// Where records start, with the ids of blocks.
    records: Vec<(usize, Bid, u32)>,
}

impl Arena {
    fn new(number: u32, previous: u32, previous_end: u64) -> Self {
        Self { number, bytes: fuzzing::page(number, previous, previous_end, SALT), records: Vec::new() }
    }

    fn append(&mut self, kind: u8, id: Bid, payload: &[u8], durable: u32) {
        let at = self.bytes.len();
        let record = fuzzing::record(kind, id, payload, durable, SALT, at as u64);
        self.records.push((at, id, u32::try_from(record.len()).unwrap_or(0)));
        self.bytes.extend_from_slice(&record);
    }

    /// A tombstone for some record, perhaps with another place.
    fn tombstone(&mut self, from: &mut Bytes<'_>) {
        let mut payload = Vec::new();
        for _ in 0..from.byte() % 4 {
            let pick = usize::from(from.byte());
            let (at, id, size) = match self.records.len() {
                0 => (pick, Bid([0; 32]), 64),
                n => self.records[pick % n],
            };
            let off = u64::from(from.byte() % 3) * 8;
            payload.extend_from_slice(&self.number.to_le_bytes());
            payload.extend_from_slice(&size.to_le_bytes());
            payload.extend_from_slice(&(at as u64 + off).to_le_bytes());
            payload.extend_from_slice(&id.0);
        }
        payload.extend_from_slice(from.take(usize::from(from.0.first().copied().unwrap_or(0) % 9)));
        self.append(3, Bid([0; 32]), &payload, 0);
    }

    fn step(&mut self, from: &mut Bytes<'_>) {
        match from.byte() % 8 {
            0 | 1 => {
                let id = Bid([from.byte() % 8; 32]);
                let len = usize::from(from.byte()) * if from.byte().is_multiple_of(4) { 40 } else { 1 };
                let durable = u32::from(from.byte()) * 16;
                self.append(0, id, &vec![id.0[0]; len], durable);
            }
            2 => {
                let len = usize::from(from.byte() % 64);
                let durable = u32::from(from.byte()) * 16;
                let payload = from.take(len);
                self.append(1, Bid([0; 32]), payload, durable);
            }
            3 => {
                let mut payload = from.long().to_le_bytes().to_vec();
                payload.extend_from_slice(from.take(usize::from(from.0.first().copied().unwrap_or(0) % 32)));
                self.append(2, Bid([0; 32]), &payload, 0);
            }
            4 => self.tombstone(from),
            5 => {
                let len = usize::from(from.byte());
                self.bytes.extend_from_slice(from.take(len));
            }
            6 => {
                let len = self.bytes.len() + usize::from(from.byte()) * 64;
                self.bytes.resize(len, 0);
            }
            _ => {
                let back = usize::from(from.byte());
                let at = self.bytes.len().saturating_sub(back + 1).max(FIRST - 1);
                self.bytes[at] ^= from.byte();
            }
        }
    }
}

/// A log of up to three arenas.
pub fn scripted(from: &mut Bytes<'_>) -> Memory {
    let disk = Memory::default();
    let (mut previous, mut end) = (0, 0);
    for number in 1..=u32::from(from.byte() % 3) + 1 {
        let mut arena = Arena::new(number, previous, end);
        for _ in 0..from.byte() % 24 {
            arena.step(from);
        }
        if from.byte().is_multiple_of(4) {
            let cut = from.long() % (arena.bytes.len() as u64 + 1);
            arena.bytes.truncate(usize::try_from(cut).unwrap_or(0));
        }
        previous = number;
        end = arena.bytes.len() as u64 + u64::from(from.byte() % 3) * 8;
        disk.insert(&format!("{number:08x}.arena"), arena.bytes);
    }
    if from.byte().is_multiple_of(2) {
        let words = [from.long(), from.long() >> 24, from.long() >> 24, from.long() >> 24];
        disk.insert("locator", fuzzing::locator_slot(words));
    }
    disk
}

/// A closed arena with eight blocks beside an index made of `bytes`, and an active arena behind it.
pub fn with_index(bytes: &[u8]) -> Memory {
    let disk = Memory::default();
    let mut closed = Arena::new(1, 0, 0);
    for n in 0..8 {
        closed.append(0, Bid([n; 32]), &[n; 100], 0);
    }
    let end = closed.bytes.len() as u64;
    let mut index = vec![0; 64];
    index[24..32].copy_from_slice(&end.to_le_bytes());
    index.extend_from_slice(bytes);
    if index.len() >= 72 {
        // What the input says about the end and the live bytes: near the truth, or anything.
        let said: [u8; 8] = std::array::from_fn(|i| index[64 + i]);
        let said = u64::from_le_bytes(said);
        let said = if said & 1 == 0 { end.wrapping_add((said >> 8) % 32) } else { said };
        index[24..32].copy_from_slice(&said.to_le_bytes());
        index[32..40].copy_from_slice(&(said >> 3).to_le_bytes());
        index.drain(64..72);
    }
    fuzzing::mend_index(&mut index, 1, SALT);
    let whole = fuzzing::index_len(&index);
    index.truncate(whole);
    fuzzing::mend_index(&mut index, 1, SALT);
    disk.insert("00000001.arena", closed.bytes);
    disk.insert("00000001.index", index);
    let mut active = Arena::new(2, 1, end);
    active.append(0, Bid([9; 32]), &[9; 50], 0);
    disk.insert("00000002.arena", active.bytes);
    disk
}

/// Open the log and do all that can be done with one, twice.
pub fn exercise(disk: &Memory) {
    let options = || Options { arena_size: 1 << 16, reserve: 1 << 12, entropy: Arc::new(Seeded::new(1)) };
    for _ in 0..2 {
        let Ok((log, found)) = Log::open(Arc::new(disk.clone()), options()) else { return };
        assert!(found.journal.len() < 1000, "a journal out of nothing");
        let mut ids = Vec::new();
        let _ = log.for_each(|id, _| ids.push(id));
        ids.truncate(64);
        for id in ids.iter().copied().chain((0..10).map(|n| Bid([n; 32]))) {
            let _ = (log.contains(&id), log.get(&id));
        }
        let _ = log.scrub(Lsn::ZERO, 1 << 20, &|_, _| true);
        let _ = log.stat();
        let _ = log.put(&Bid([3; 32]), &[3; 100]);
        let _ = log.put(&Bid([77; 32]), b"new");
        assert!(!matches!(log.get(&Bid([77; 32])), Ok(None)), "what was put is there");
        let _ = log.delete(&ids);
        let _ = log.append_journal(b"entry");
        let _ = log.checkpoint(b"checkpoint");
        let _ = log.compact();
        let _ = log.stat();
        let _ = log.close();
    }
}
