//! What the black-box tests share: starting, killing and watching real mounts.
//!
//! The harness knows lovage only by its command line and must never reach into the library's types; the
//! model speaks the port of file operations (`lovage::volume::FileSystem`) and nothing else of it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod harness;
pub mod model;
