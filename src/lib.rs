//! lovage: one folder on all of a person's machines.
//!
//! A FUSE mount over a convergently encrypted, content-addressed store. The layers below are ranked;
//! a module imports only modules of a strictly lower rank (tested by `fstests/architecture.rs`).
//! `docs/architecture.md` is the map.

// Tests may be blunt: short names, casts, loops as they come.
#![cfg_attr(
    test,
    allow(
        clippy::many_single_char_names,
        clippy::needless_for_each,
        clippy::cast_precision_loss,
        clippy::float_cmp,
        clippy::format_collect,
        clippy::case_sensitive_file_extension_comparisons,
        clippy::unnested_or_patterns
    )
)]

pub mod base;

pub mod causal;
pub mod kv;
pub mod seal;

pub mod cas;
pub mod wire;

pub mod tree;

pub mod volume;

pub mod fuse;
pub mod net;

pub mod daemon;

pub mod cli;
