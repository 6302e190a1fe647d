//! Dropping local copies of blocks that others keep.
//!
//! Must never run beside a collection, and never decide by itself what may go: the caller has made sure that somebody
//! else has these blocks.

use std::sync::atomic::Ordering;

use super::Volume;
use crate::base::{Bid, Error, Kind, Result};

impl Volume {
    /// Delete these blocks from the local log; whoever reads them next fetches them. Returns the bytes freed.
    /// [`Kind::Busy`] while a collection runs.
    pub fn evict(&self, ids: &[Bid]) -> Result<u64> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::new(Kind::Stale, "drop local copies", self.id.to_string()));
        }
        let busy = || Error::new(Kind::Busy, "drop local copies", "a collection is running: try again later");
        let _one = self.collecting.try_lock().ok_or_else(busy)?;
        // What is being stored at this moment, and found here, is referred to before it goes.
        let _storing = self.storing.write();
        self.blocks.evict(ids)
    }
}
