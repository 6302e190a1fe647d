//! Scrubbing: read every live block and say which do not verify. Resumable.
//!
//! Must never change anything it reads.

use super::Lsn;
use super::arena_file::Arena;
use super::finding::{Damage, Finding};
use super::log::Log;
use super::table::Place;
use crate::base::{Bid, Result};

/// Result of one slice of a scrub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// Blocks looked at.
    pub checked: u64,
    /// Bytes of their records.
    pub bytes: u64,
    /// What does not verify.
    pub bad: Vec<Finding>,
    /// Where to continue; `None` when the end was reached.
    pub next: Option<Lsn>,
}

impl Log {
    /// Verify live blocks from `from` on until about `budget` bytes were read: checksums, and
    /// `verify(id, payload)`. Start with [`Lsn::ZERO`] and continue with [`Scrubbed::next`].
    pub fn scrub(&self, from: Lsn, budget: u64, verify: &dyn Fn(&Bid, &[u8]) -> bool) -> Result<Scrubbed> {
        let mut done = Scrubbed::default();
        for (_, arena) in self.snapshot().range(from.arena()..) {
            for (id, place) in arena.census() {
                let at = arena.lsn(place.offset);
                if at < from {
                    continue;
                }
                if done.bytes >= budget {
                    done.next = Some(at);
                    return Ok(done);
                }
                done.checked += 1;
                done.bytes += u64::from(place.size);
                if !check(arena, id, place, verify) {
                    let damage = id.map_or(Damage::Unknown, Damage::Block);
                    done.bad.push(Finding { arena: arena.header.number, offset: place.offset, damage });
                }
            }
        }
        Ok(done)
    }
}

/// A read error is damage too.
fn check(arena: &Arena, id: Option<Bid>, place: Place, verify: &dyn Fn(&Bid, &[u8]) -> bool) -> bool {
    match arena.read_intact(place) {
        Ok(Some((found, payload))) => id.is_none_or(|id| id == found) && verify(&found, &payload),
        _ => false,
    }
}
