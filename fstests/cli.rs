//! The command line from outside: what it prints, how it ends, and every fault with its sentence.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "cli/faults.rs"]
mod faults;
#[path = "cli/lifecycle.rs"]
mod lifecycle;
#[path = "cli/looking.rs"]
mod looking;
#[path = "cli/settings.rs"]
mod settings;
#[path = "cli/space.rs"]
mod space;
#[path = "cli/volumes.rs"]
mod volumes;
