//! The daemon: one process that holds a home, serves its mounts and answers commands.
//!
//! Rank 6. Wires the layers below together; holds no file-system logic of its own. A control request is
//! one file in `control/`. Commands come by the Unix socket in the home only. Must never open a network
//! socket for a home that shares nothing, and never put a secret into a message or a log.

mod background;
mod client;
mod config;
mod control;
mod dot;
mod exchange;
mod harden;
mod home;
mod host;
mod hosted;
mod joining;
mod keeping;
mod keys;
mod lock;
mod logging;
mod measure;
mod memory;
mod mounts;
mod opening;
mod place;
mod policy;
mod scars;
mod server;
mod service;
mod sharing;
mod size;
mod socket;
mod stores;
mod volumes;
pub mod words;

pub use background::{Background, Ready};
pub use client::{Client, Incoming};
pub use config::{Config, Profile, SETTINGS, Setting, set as set_config};
pub use control::{Sink, answer};
pub use exchange::NetChoice;
pub use home::Home;
pub use host::{HostOptions, host};
pub use hosted::{Hosted, Report};
pub use keys::{PassphraseSource, passphrase};
pub use lock::HomeLock;
pub use measure::measure;
pub use mounts::MountOptions;
pub use service::Service;
pub use size::parse_size;
