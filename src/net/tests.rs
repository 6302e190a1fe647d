//! Whole nodes in one process, over real loopback TCP and QUIC.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod exchange;
mod fetching;
pub mod node;
mod speed;
