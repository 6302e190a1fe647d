//! What keeps the changes that are in no sealed tree within bounds: beyond them, changes wait for the seal.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Volume;
use super::namespace::Namespace;
use crate::base::sync::{Condvar, Mutex};
use crate::base::{Error, Kind, Result};

/// Pressed while too many changes wait for a seal.
#[derive(Debug)]
pub(super) struct Brake {
    limit: usize,
    /// Read by every change without a lock.
    pressed: AtomicBool,
    failed: Mutex<Option<Kind>>,
    moved: Condvar,
}

impl Brake {
    /// Changes wait beyond `limit` changed nodes.
    pub fn new(limit: usize) -> Self {
        Self { limit, pressed: AtomicBool::new(false), failed: Mutex::default(), moved: Condvar::new() }
    }

    /// Look at `ns` anew. True: changes wait from now on.
    pub fn measure(&self, ns: &Namespace) -> bool {
        let over = ns.unsealed.len() + ns.in_seal >= self.limit;
        if self.pressed.swap(over, Ordering::AcqRel) && !over {
            let _guard = self.failed.lock();
            self.moved.notify_all();
        }
        over
    }

    /// What should end in a seal failed (`Some`) or works (`None`).
    pub fn report(&self, failed: Option<Kind>) {
        *self.failed.lock() = failed;
        self.moved.notify_all();
    }

    fn is_pressed(&self) -> bool {
        self.pressed.load(Ordering::Acquire)
    }
}

impl Volume {
    /// Called without locks before anything in the namespace changes: waits while too much is to be sealed. While
    /// seals fail, that error instead of waiting for ever.
    pub(super) fn begin_change(&self) -> Result<()> {
        self.check_writable()?;
        while self.brake.is_pressed() {
            self.bell.urge();
            let mut failed = self.brake.failed.lock();
            if let Some(kind) = *failed {
                return Err(Error::new(kind, "change", "what changed fills the memory allowed for it"));
            }
            if self.brake.is_pressed() {
                // Only a safeguard: `measure` wakes whoever waits here.
                self.brake.moved.wait_for(&mut failed, Duration::from_millis(100));
            }
            drop(failed);
            self.check_writable()?;
        }
        Ok(())
    }
}
