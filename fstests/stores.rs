//! S9, D13 and what leads to them: stores that feed, heal and bring together devices which are never online together.
//!
//! Needs root for network namespaces and mounts; services are tested where their servers are installed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "stores/collecting.rs"]
mod collecting;
#[path = "stores/faults.rs"]
mod faults;
#[path = "stores/local.rs"]
mod local;
#[path = "stores/moving.rs"]
mod moving;
#[path = "stores/services.rs"]
mod services;
