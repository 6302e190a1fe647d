//! What a device with the role storage has of a volume: blocks it cannot read, heads it cannot open.
//!
//! Must never need a key of the volume. Who offers blocks and who asks for them is the exchange's affair.

mod about;
mod collecting;
#[cfg(test)]
mod collecting_sim;
#[cfg(test)]
mod collecting_tests;
mod collection;
mod files;
mod kept;
mod room;
#[cfg(test)]
mod tests;

pub use about::About;
pub use collection::{Author, CollectionId, Era, MOST, PAGE, PIECE};
pub use kept::{Fresh, Kept};
pub use room::Room;
