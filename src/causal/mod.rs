//! Causal state: what is replicated, how two states join, and what a person sees of the result.
//!
//! Rank 1, pure: no I/O, no clock, no async.

mod clock;
mod state;

pub use clock::{Dot, HybridClock, Stamp, Vector};
pub use state::{Attribute, Field, LinkId, NodeKind, NodeState, Place, Register, Value, Version};
