//! How many bytes wait in memory for the log, and the door writers wait at when it is too many.

use std::time::Duration;

use crate::base::sync::{Condvar, Mutex};
use crate::base::{Error, Kind, Result};

/// Counts unwritten bytes of all files of a volume.
#[derive(Debug)]
pub(in crate::volume) struct Gauge {
    state: Mutex<State>,
    lowered: Condvar,
    limit: u64,
}

#[derive(Debug, Default)]
struct State {
    held: u64,
    failed: Option<Kind>,
}

impl Gauge {
    /// Writers wait beyond `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self { state: Mutex::default(), lowered: Condvar::new(), limit }
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        self.state.lock().held
    }

    /// Add `change` bytes.
    pub fn add(&self, change: i64) {
        if change == 0 {
            return;
        }
        let mut state = self.state.lock();
        state.held = state.held.saturating_add_signed(change);
        if change < 0 {
            self.lowered.notify_all();
        }
    }

    /// A background write failed (`Some`) or succeeded again (`None`).
    pub fn report(&self, failed: Option<Kind>) {
        let mut state = self.state.lock();
        if state.failed != failed {
            state.failed = failed;
            self.lowered.notify_all();
        }
    }

    /// Wait until there is room. `press` is called, without the lock, as long as there is none. While
    /// background writes fail, a writer beyond the limit gets that error instead of waiting for ever.
    pub fn wait(&self, mut press: impl FnMut()) -> Result<()> {
        loop {
            {
                let state = self.state.lock();
                if state.held < self.limit {
                    return Ok(());
                }
                if let Some(kind) = state.failed {
                    return Err(Error::new(kind, "write", "unwritten data fills the memory allowed for it"));
                }
            }
            press();
            let mut state = self.state.lock();
            if state.held >= self.limit && state.failed.is_none() {
                self.lowered.wait_for(&mut state, Duration::from_millis(100));
            }
        }
    }
}
