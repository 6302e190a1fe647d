//! Where sealed bytes live: the arena log, the `Kv` trait with its backends, and small local maps.
//!
//! Rank 1: knows ids and bytes, never keys, plaintext, trees or mounts. Must never trust what it
//! reads back: records carry checksums, and callers verify the id against the bytes.

pub mod arena;
pub mod local;
