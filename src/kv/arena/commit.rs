//! Group commit: many callers, one `fdatasync`.
//!
//! Must never let a caller succeed whose records were not covered by a successful sync, and must
//! report a failed sync to every caller that waited for it.

use super::Lsn;
use super::log::Log;
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Error, Kind, Result};

/// Shared state of callers waiting for durability.
#[derive(Default)]
pub struct Commit {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    durable: Lsn,
    syncing: bool,
    /// Counts failed syncs: a waiter that sees it move while its record is not durable fails.
    failures: u64,
}

impl Commit {
    /// Everything before this is on the disk.
    pub fn durable(&self) -> Lsn {
        self.state.lock().durable
    }

    /// Record that everything before `lsn` is on the disk.
    pub fn advance(&self, lsn: Lsn) {
        let mut state = self.state.lock();
        state.durable = state.durable.max(lsn);
    }

    /// Wait until `lsn` is durable (`Ok(false)`), or become the one to sync (`Ok(true)`).
    fn enter(&self, lsn: Lsn) -> Result<bool> {
        let mut state = self.state.lock();
        let failures = state.failures;
        loop {
            if state.durable >= lsn {
                return Ok(false);
            }
            if state.failures != failures {
                return Err(Error::new(Kind::Io, "sync log", "a shared sync failed"));
            }
            if !state.syncing {
                state.syncing = true;
                return Ok(true);
            }
            self.changed.wait(&mut state);
        }
    }

    /// The syncing caller is done.
    fn leave(&self, reached: Option<Lsn>) {
        let mut state = self.state.lock();
        state.syncing = false;
        match reached {
            Some(lsn) => state.durable = state.durable.max(lsn),
            None => state.failures += 1,
        }
        self.changed.notify_all();
    }
}

impl Log {
    /// Make everything before `lsn` durable. Concurrent callers share one `fdatasync`.
    ///
    /// On an error nothing is claimed: what was not yet durable is rewritten into a new arena, and a
    /// later call succeeds only once that rewrite is on the disk.
    pub fn sync(&self, lsn: Lsn) -> Result<()> {
        while self.commit.enter(lsn)? {
            let result = self.sync_active();
            self.commit.leave(result.as_ref().ok().copied());
            result?;
        }
        Ok(())
    }

    /// Sync the active arena; says what became durable.
    fn sync_active(&self) -> Result<Lsn> {
        let Some(arena) = self.snapshot().values().next_back().cloned() else { return Ok(Lsn::ZERO) };
        let end = arena.end();
        match arena.sync() {
            Ok(()) => Ok(arena.lsn(end)),
            Err(e) => {
                self.abandon(&arena);
                Err(e)
            }
        }
    }
}
