//! Doubt after an unclean stop: a copy that was there before is compared before a `put` relies on it.
//!
//! Must never say "stored" for a block whose stored bytes were not seen intact since the last unclean
//! stop.

use std::collections::HashSet;
use std::sync::Arc;

use super::Lsn;
use super::append::{Entry, Space};
use super::arena_file::Arena;
use super::delete::Tombstone;
use super::log::Log;
use super::table::{Place, spread};
use crate::base::{Bid, Result};

/// Remember at most this many verified places; beyond, blocks are simply verified again.
const REMEMBERED: usize = 256 << 10;

/// Which blocks are doubted.
#[derive(Default)]
pub struct Doubt {
    before: Lsn,
    verified: HashSet<Lsn>,
}

impl Doubt {
    /// Doubt everything before `lsn`.
    pub fn before(lsn: Lsn) -> Self {
        Self { before: lsn, verified: HashSet::new() }
    }

    fn covers(&self, at: Lsn) -> bool {
        at < self.before && !self.verified.contains(&at)
    }

    fn verified(&mut self, at: Lsn) {
        if at < self.before && self.verified.len() < REMEMBERED {
            self.verified.insert(at);
        }
    }
}

impl Log {
    pub(super) fn is_trusted(&self, arena: &Arena, place: Place) -> bool {
        !self.doubt.lock().covers(arena.lsn(place.offset))
    }

    /// Compare the copy at `place` with `payload`; write a new one if it differs.
    pub(super) fn check_or_heal(
        &self,
        id: &Bid,
        payload: &[u8],
        arena: &Arc<Arena>,
        place: Place,
        space: Space,
    ) -> Result<Lsn> {
        let stored = arena.get(spread(id), id).unwrap_or(None);
        if stored.as_deref() == Some(payload) {
            self.doubt.lock().verified(arena.lsn(place.offset));
            return Ok(arena.lsn(place.end()));
        }
        self.replace_copies(id, payload, space)
    }

    /// Store a known good payload in the place of whatever is stored under `id`: repairs a block found
    /// damaged. Costs a comparison if the stored copy is good.
    pub fn repair(&self, id: &Bid, payload: &[u8]) -> Result<Lsn> {
        match self.find(id).unwrap_or(None) {
            Some((arena, place)) => self.check_or_heal(id, payload, &arena, place, Space::Ordinary),
            None => self.replace_copies(id, payload, Space::Ordinary),
        }
    }

    /// The good copy is durable before the bad ones are declared dead.
    fn replace_copies(&self, id: &Bid, payload: &[u8], space: Space) -> Result<Lsn> {
        let mut bad = Vec::new();
        for (number, arena) in self.snapshot().iter() {
            for place in arena.copies(spread(id), id) {
                bad.push((Arc::clone(arena), Tombstone { arena: *number, place, id: *id }));
            }
        }
        let lsn = self.append(&Entry { again: true, ..Entry::block(*id, &[payload]) }, space)?;
        if !bad.is_empty() {
            self.sync(lsn)?;
            self.bury(&bad)?;
        }
        Ok(lsn)
    }

    /// Declare everything stored verified, after a scrub of the whole log found nothing bad.
    pub fn mark_verified(&self) -> Result<()> {
        self.locator.lock().store(|hint| hint.suspect_before = Lsn::ZERO)?;
        *self.doubt.lock() = Doubt::default();
        Ok(())
    }
}
