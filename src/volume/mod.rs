//! The live volume: file operations over an overlay, a journal and sealed trees.
//!
//! Rank 4. Synchronous and thread-safe; knows nothing of FUSE, sockets or the command line.

pub mod api;
mod filesystem;

pub use filesystem::{FileSystem, Filler, Invalidate};
