//! What the black-box tests share: starting, killing and watching real mounts.
//!
//! Knows lovage only by its command line. Must never reach into the library's types.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod harness;
