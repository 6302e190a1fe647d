//! The live content of one file: settled base, pieces written over it, and how they become blocks.

mod pieces;

pub(in crate::volume) use pieces::{Piece, Pieces, Segment, Source};
