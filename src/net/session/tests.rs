//! The two cores of a session in virtual time, and sessions with peers that misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answering;
mod asking;
mod misbehaving;
mod pipe;
