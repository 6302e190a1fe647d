//! lovage: one folder on all of a person's machines.
//!
//! A FUSE mount over a convergently encrypted, content-addressed store. The layers below are ranked;
//! a module imports only modules of a strictly lower rank (tested by `fstests/architecture.rs`).
//! `docs/architecture.md` is the map.

pub mod base;

pub mod causal;
pub mod kv;
pub mod seal;

pub mod cas;
pub mod wire;

pub mod tree;

pub mod volume;

pub mod fuse;

pub mod daemon;

pub mod cli;
