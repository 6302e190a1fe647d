//! The vocabulary every layer shares: ids, names, limits, the error, and the ports to the outside.
//!
//! Rank 0: imports nothing of lovage. Must never do I/O beyond reading the clock and the system's
//! randomness, and must never know what a block, a tree or a mount is.

mod error;
mod groups;
mod hash;
mod ids;
pub mod limits;
mod name;
pub mod port;
pub mod sync;

pub use error::{Context, Error, Kind, Result};
pub use groups::{GROUP, group_value, root_of_groups};
pub use hash::{Derive, Digest, derive_key, hash, keyed_hash, keyed_xof};
pub use ids::{Bid, DeviceId, NodeId, VolumeId, WriterIndex, hex};
pub use name::{Name, SymlinkTarget};
