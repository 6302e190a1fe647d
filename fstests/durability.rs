//! D1, D2, D6, F11, D8, D10: what fsync acknowledged survives the death of the daemon, and damage is never served.
//!
//! Runs on lovage, or on the foreground command in `FSTESTS_MOUNT` to prove the tests. Never sleeps to wait.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "durability/bitrot.rs"]
mod bitrot;
#[path = "durability/eio.rs"]
mod eio;
#[path = "durability/kill.rs"]
mod kill;
#[path = "durability/program.rs"]
mod program;
#[path = "durability/script.rs"]
mod script;
#[path = "durability/strace.rs"]
mod strace;
#[path = "durability/syscalls.rs"]
mod syscalls;
