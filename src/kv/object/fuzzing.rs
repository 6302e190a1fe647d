//! Doors for the fuzz targets to the index file, whose checksums would refuse almost everything. Compiled only with the
//! feature `fuzzing`; must never be called by the program.

pub use super::index::fuzzing::{exercise, section};
