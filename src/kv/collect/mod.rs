//! Collecting garbage of a store that several devices feed and read, which may never be online together.
//!
//! One device lists the store and condemns what it does not reach; every party leaves its word, which says what of
//! the list it needs; then what nobody needs is removed. No locks and no clocks: each step is one conditional write,
//! and a party that has not answered is waited for. Knows ids, never trees. Heads of the store (not its listing) must
//! be read as last written. Must never remove what a party that follows the rules relies on
//! (docs/decisions/0011, docs/format-collect.md).

mod collector;
mod list;
mod party;
pub mod record;
mod rules;
#[cfg(test)]
mod sim;

pub use collector::{Collector, Outcome, Parties};
pub use list::{Doubts, List, short};
pub use party::{Era, Needs, Party, Standing};
pub use rules::{Break, broken};

use crate::base::{Error, Kind};
use crate::kv::Kv;

fn damaged(kv: &dyn Kv, what: &'static str) -> Error {
    Error::new(Kind::Corrupt, what, kv.name())
}
