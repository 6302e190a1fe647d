//! The scheduler in virtual time, against simulated peers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod scheduling;
mod simulation;
