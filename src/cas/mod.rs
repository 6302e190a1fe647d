//! Content-addressed storage: bytes become chunks, chunks become sealed blocks, blocks a file.
//!
//! Rank 2: over `seal` (keys, references) and `kv` (the log, local maps). Must never know names,
//! directories or a volume's history, and must never hand out bytes that did not verify.
//! Formats: `docs/format-cas.md`.

mod blocks;
mod cache;
mod chunk;
mod codec;
mod dedup;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod manifest;

pub use blocks::{Blocks, Fetch, Options, Stat};
pub use chunk::{Chunker, Chunking, MAX_CHUNK};
pub use dedup::DedupIndex;
