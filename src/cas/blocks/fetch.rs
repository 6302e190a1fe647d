//! The port through which blocks come that are not in the local log.
//!
//! Must never know who answers: peers and other stores implement it further up.

use crate::base::{Error, Kind, Result};
use crate::seal::{BlockType, Ref};

/// Somewhere else that may have a block.
pub trait Fetch: Send + Sync {
    /// The sealed bytes of the block `r` refers to; the caller verifies them. Type and level are hints
    /// for priorities. [`Kind::NotFound`] if no one has it, [`Kind::Unreachable`] or [`Kind::Timeout`]
    /// if no one answered.
    fn fetch(&self, t: BlockType, level: u8, r: &Ref) -> Result<Vec<u8>>;
}

/// The error for a block that the log could not give because of `local` and the port because of `remote`:
/// damage stays damage, absence everywhere is [`Kind::Unreachable`].
pub(super) fn failed(r: &Ref, local: Error, remote: Error) -> Error {
    match (local.kind(), remote.kind()) {
        (Kind::Corrupt, _) => local,
        (_, Kind::NotFound) => Error::new(Kind::Unreachable, "read block", r.bid.to_string()).with_source(remote),
        _ => remote,
    }
}
