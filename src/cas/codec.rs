//! Compression of block bodies: zstd where it pays, nothing where it does not.
//!
//! Contexts and buffers are reused per thread; no allocation per block. Must never see sealed bytes
//! before they were verified: decompression is bounded to exactly the declared length.

use std::cell::RefCell;

use zstd::bulk::{Compressor, Decompressor};

use crate::base::{Error, Kind, Result};

const LEVEL: i32 = 1;
/// Bodies below this many bytes are stored as they are: a frame's header eats the gain.
const SMALLEST: usize = 64;
/// Bytes looked at to judge a large body.
const SAMPLE: usize = 4096;
const SPANS: usize = 8;
/// Scratch memory a thread keeps between blocks, in bytes.
const KEEP: usize = 1 << 20;

struct Packer {
    context: Option<Compressor<'static>>,
    scratch: Vec<u8>,
}

thread_local! {
    static PACKER: RefCell<Packer> = const { RefCell::new(Packer { context: None, scratch: Vec::new() }) };
    static UNPACKER: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Call `with` with the compressed form of `plain` if that saves at least 5 %, else with `None`.
///
/// The slice lives in the thread's scratch memory, so `with` must not call `compress` itself.
pub fn compress<T>(plain: &[u8], with: impl FnOnce(Option<&[u8]>) -> T) -> T {
    if plain.len() < SMALLEST || looks_incompressible(plain) {
        return with(None);
    }
    PACKER.with_borrow_mut(|packer| {
        let len = packer.pack(plain);
        let result = with(len.and_then(|len| packer.scratch.get(..len)));
        if packer.scratch.capacity() > KEEP {
            packer.scratch = Vec::new();
        }
        result
    })
}

impl Packer {
    /// Length of the compressed form at the start of `scratch`; `None` if it does not pay. zstd is
    /// given room for 95 % and gives up when that does not suffice; raw bytes are always right.
    fn pack(&mut self, plain: &[u8]) -> Option<usize> {
        let room = plain.len() - plain.len() / 20 - 1;
        if self.scratch.len() < room {
            self.scratch.resize(room, 0);
        }
        if self.context.is_none() {
            self.context = Compressor::new(LEVEL).ok();
        }
        self.context.as_mut()?.compress_to_buffer(plain, self.scratch.get_mut(..room)?).ok()
    }
}

/// Decompress `body` to exactly `len` bytes. [`Kind::Corrupt`] for anything else; memory never
/// exceeds `len`, which the caller has bounded.
pub fn decompress(body: &[u8], len: usize) -> Result<Vec<u8>> {
    let corrupt = || Error::new(Kind::Corrupt, "decompress", format!("{} bytes to {len}", body.len()));
    UNPACKER.with_borrow_mut(|context| {
        if context.is_none() {
            *context = Decompressor::new().ok();
        }
        let context = context.as_mut().ok_or_else(|| Error::new(Kind::Other, "make zstd context", ""))?;
        let mut plain = Vec::with_capacity(len);
        let got = context.decompress_to_buffer(body, &mut plain).map_err(|e| corrupt().with_source(e))?;
        if got == len { Ok(plain) } else { Err(corrupt()) }
    })
}

/// A cheap guess (a few microseconds): the bytes are spread evenly and no four of them repeat.
///
/// Wrong guesses cost space or time, never correctness.
fn looks_incompressible(plain: &[u8]) -> bool {
    if plain.len() < 2 * SAMPLE {
        return false;
    }
    let (span, stride) = (SAMPLE / SPANS, plain.len() / SPANS);
    let mut counts = [0_u32; 256];
    let mut seen = [0_u32; 1024];
    let mut repeats = 0;
    for bytes in plain.chunks_exact(stride).filter_map(|chunk| chunk.get(..span)) {
        for byte in bytes {
            counts[usize::from(*byte)] += 1;
        }
        for four in bytes.windows(4).filter_map(<[u8]>::first_chunk) {
            let four = u32::from_le_bytes(*four);
            let slot = &mut seen[(four.wrapping_mul(0x9e37_79b1) >> 22) as usize];
            repeats += usize::from(*slot == four);
            *slot = four;
        }
    }
    // The sum of squares of evenly spread counts is SAMPLE^2/256, give or take; a saving of 2 %
    // through frequencies alone shows as a quarter more.
    let squares: u64 = counts.iter().map(|count| u64::from(*count).pow(2)).sum();
    let even = (SAMPLE * SAMPLE / 256) as u64;
    squares < even + even / 4 && repeats < SAMPLE / 64
}

#[cfg(test)]
mod tests;
