//! The network: who we are to others, how we find them, and the exchange of blocks with them.
//!
//! Rank 5, the only module that imports libp2p. Protocols are in `docs/protocol.md`. Must never import what it
//! serves: volumes answer through [`Serve`], wired by the daemon. Must never let a stranger cost more than one
//! small question, nor hand up a byte that does not belong to its id.

mod dialing;
mod driver;
mod fetch;
mod gate;
mod handle;
mod join;
mod link;
mod peer;
mod redial;
mod serve;
mod session;
mod setup;
mod swarm;
#[cfg(test)]
mod tests;
mod walk;

pub use fetch::{Fetching, Waited, Wanted};
pub use handle::{Net, PeerFacts};
pub use link::Transport;
pub use peer::Peer;
pub use serve::{Emit, Serve, Walk};
pub use setup::NetSetup;
pub use walk::Walking;
