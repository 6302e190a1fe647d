//! The live content of one file: settled base, pieces written over it, and how they become blocks.

mod ahead;
mod assemble;
mod file;
mod gauge;
mod pieces;
mod read;
mod settle;
mod since;
mod spill;
mod stream;

pub(in crate::volume) use ahead::Readers;
#[cfg(test)]
pub(in crate::volume) use file::encode;
pub(in crate::volume) use file::{File, allocated, decode};
pub(in crate::volume) use gauge::Gauge;
pub(in crate::volume) use pieces::{Piece, Pieces, Segment, Source};
pub(in crate::volume) use spill::{MANY_PIECES, SCATTERED};
pub(in crate::volume) use stream::BEGIN;
