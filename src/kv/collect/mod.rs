//! Collecting garbage of a store that several devices feed and read, which may never be online together.
//!
//! One device lists the store and condemns what it does not reach; every party leaves its word, which says what of
//! the list it needs; then what nobody needs is removed. No locks and no clocks: each step is one conditional write,
//! and a party that has not answered is waited for. Knows ids, never trees. Heads of the store (not its listing) must
//! be read as last written. Must never remove what a party that follows [`settle`] relies on.
//!
//! Built for tests only until every party obeys it: a collector must not exist before (docs/decisions/0011).

mod collector;
mod party;
pub mod record;
mod sim;

pub use collector::{Outcome, advance};
pub use party::{Standing, settle};

use crate::base::{Bid, Error, Kind, Result};
use crate::kv::Kv;
use record::Record;

/// The whole list of a collection, 32 bytes an id; `None` if it is (already) gone.
async fn list_of(kv: &dyn Kv, record: &Record) -> Result<Option<Vec<Bid>>> {
    let mut ids: Vec<Bid> = Vec::new();
    for number in 0..record.pages {
        let Some(bytes) = kv.get_head(&record.page(number)).await? else { return Ok(None) };
        let page = record::decode_page(&bytes).ok_or_else(|| damaged(kv, "read the list of a collection"))?;
        if ids.last().zip(page.first()).is_some_and(|(last, first)| last >= first) {
            return Err(damaged(kv, "read the list of a collection"));
        }
        ids.extend(page);
    }
    Ok(Some(ids))
}

fn damaged(kv: &dyn Kv, what: &'static str) -> Error {
    Error::new(Kind::Corrupt, what, kv.name())
}
