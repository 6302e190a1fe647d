//! Causal state: what is replicated, how two states join, and what a person sees of the result.
//!
//! Rank 1, pure: no I/O, no clock, no async. Joining creates no dots, so two devices that know the same
//! changes hold equal states, and everything shown is a function of the state. The rules as a table are
//! in `docs/sync.md`.

mod clock;
mod join;
mod lives;
mod moved;
mod names;
mod place;
mod refresh;
mod shown;
mod state;
mod suffix;
mod view;

#[cfg(test)]
mod tests;

pub use clock::{Dot, HybridClock, Stamp, Vector};
pub use join::{State, join_node};
pub use lives::{LifeId, Lived, Lives};
pub use moved::Moved;
pub use place::Spot;
pub use refresh::{Refreshed, Terrain, refresh};
pub use shown::{Displaced, Odd, Shown, copy_id};
pub use state::{Attribute, Field, LinkId, NodeKind, NodeState, Place, Register, Value, Version};
pub use view::{Entry, Item, View};
