//! What the fuzz targets do, apart from the fuzzer: every decoder that sees bytes from a disk or from
//! outside, called on any bytes. A target must hold: no panic, no hang, memory in proportion to the input,
//! and what is accepted is what its encoder would have made.
//!
//! `targets/` hands these functions to libFuzzer; `tests/corpus.rs` runs them over the committed corpus and
//! over small changes of it, so that an ordinary `cargo test` covers them. `docs/proof.md` has the commands.

pub mod disk;
mod log;
pub mod seeds;
pub mod targets;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by name; each has a file in `targets/` and a folder in `corpus/`.
pub const ALL: [(&str, Target); 20] = [
    ("access_list", targets::access_list),
    ("block", targets::block),
    ("checkpoint", targets::checkpoint),
    ("codec", targets::codec),
    ("config", targets::config),
    ("control", targets::control),
    ("disk", targets::disk),
    ("genesis", targets::genesis),
    ("head", targets::head),
    ("index", targets::index),
    ("journal", targets::journal),
    ("keystore", targets::keystore),
    ("location", targets::location),
    ("log", targets::log),
    ("manifest", targets::manifest),
    ("packs", targets::packs),
    ("peer", targets::peer),
    ("row", targets::row),
    ("state", targets::state),
    ("tree", targets::tree),
];
