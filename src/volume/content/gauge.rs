//! How many bytes wait in memory for the log, and the door writers wait at when it is too many.

use std::collections::VecDeque;
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
    /// Who waits, by order of coming; and the number of the next to come.
    queue: VecDeque<u64>,
    next: u64,
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

    /// Whether writers wait.
    pub fn is_full(&self) -> bool {
        self.state.lock().held >= self.limit
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

    /// Wait until there is room, in the order of coming: a writer that others overtake all the time would leave a gap
    /// in front of what they wrote. `press` is called, without the lock, as long as there is none. While background
    /// writes fail, a writer beyond the limit gets that error instead of waiting for ever.
    pub fn wait(&self, mut press: impl FnMut()) -> Result<()> {
        let mut state = self.state.lock();
        if state.queue.is_empty() && state.held < self.limit {
            return Ok(());
        }
        let me = state.next;
        state.next += 1;
        state.queue.push_back(me);
        loop {
            let first = state.queue.front() == Some(&me);
            if first && state.held < self.limit {
                return self.leave(&mut state, me, Ok(()));
            }
            if let Some(kind) = state.failed.filter(|_| state.held >= self.limit) {
                let full = Error::new(kind, "write", "unwritten data fills the memory allowed for it");
                return self.leave(&mut state, me, Err(full));
            }
            if first {
                drop(state);
                press();
                state = self.state.lock();
            }
            let over = state.held >= self.limit;
            if over && state.failed.is_none() || !over && state.queue.front() != Some(&me) {
                self.lowered.wait_for(&mut state, Duration::from_millis(100));
            }
        }
    }

    fn leave(&self, state: &mut State, me: u64, result: Result<()>) -> Result<()> {
        state.queue.retain(|other| *other != me);
        self.lowered.notify_all();
        result
    }
}
