//! One read from several stores: staggered, hedged within a budget, decided by the first verified answer.
//!
//! Must never start a second store for a late first one beyond the budget, nor end while one may still answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::pace::Budget;
use super::{Store, is_genuine};
use crate::base::sync::Mutex;
use crate::base::{Bid, Error, Kind, Result};

/// Without budget, a late store is overtaken only after so many times the delay.
const PATIENT: u32 = 10;

/// One store at work, counted while it is.
struct Runner {
    store: Arc<Store>,
    begin: Instant,
    len: usize,
    late: Duration,
    done: bool,
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.store.ended();
        let waited = self.begin.elapsed();
        if !self.done && waited >= self.late {
            self.store.overtaken(self.len, waited);
        }
    }
}

/// See the module.
pub struct Race<'b> {
    id: Bid,
    len: usize,
    next: std::vec::IntoIter<Arc<Store>>,
    running: JoinSet<(Runner, Result<Option<Bytes>>)>,
    overtake: Instant,
    budget: &'b Mutex<Budget>,
    liars: Vec<Arc<Store>>,
    failure: Option<Error>,
}

impl<'b> Race<'b> {
    /// For `id`, of about `len` bytes, between `candidates` in that order.
    pub fn new(id: Bid, len: usize, candidates: Vec<Arc<Store>>, budget: &'b Mutex<Budget>) -> Self {
        Self {
            id,
            len,
            next: candidates.into_iter(),
            running: JoinSet::new(),
            overtake: Instant::now(),
            budget,
            liars: Vec::new(),
            failure: None,
        }
    }

    /// Run it to its end. Dropping cancels every request.
    pub async fn run(mut self) -> Result<Option<Bytes>> {
        self.start();
        let mut patient = false;
        loop {
            let more = !self.next.as_slice().is_empty();
            tokio::select! {
                biased;
                answer = self.running.join_next() => match answer {
                    None => return self.nothing(),
                    Some(Err(_)) => self.start(), // it panicked: as good as an error
                    Some(Ok((runner, answer))) => {
                        if let Some(bytes) = self.judge(&runner, answer) {
                            return Ok(Some(bytes));
                        }
                        self.start();
                    }
                },
                () = sleep_until(self.overtake), if more => {
                    if patient || self.budget.lock().take(self.len as u64) {
                        self.start();
                        patient = false;
                    } else {
                        patient = true;
                        self.overtake = Instant::now() + (self.overtake_delay() * PATIENT);
                    }
                }
            }
        }
    }

    fn overtake_delay(&self) -> Duration {
        self.next.as_slice().first().map_or(Duration::from_millis(100), |store| store.late(self.len))
    }

    fn start(&mut self) {
        let Some(store) = self.next.next() else { return };
        let late = store.late(self.len);
        let begin = Instant::now();
        self.overtake = begin + late;
        store.started();
        let mut runner = Runner { store, begin, len: self.len, late, done: false };
        let id = self.id;
        self.running.spawn(async move {
            let kv = Arc::clone(runner.store.kv());
            let answer = kv.get(&id).await;
            runner.done = true;
            (runner, answer)
        });
    }

    /// Learn from an answer; the bytes if they are right.
    fn judge(&mut self, runner: &Runner, answer: Result<Option<Bytes>>) -> Option<Bytes> {
        let store = &runner.store;
        match answer {
            Ok(Some(bytes)) if is_genuine(&self.id, &bytes) => {
                store.answered(bytes.len(), runner.begin.elapsed());
                for liar in self.liars.drain(..) {
                    liar.repair(self.id, bytes.clone());
                }
                return Some(bytes);
            }
            Ok(Some(_)) => {
                store.lied(&self.id);
                self.liars.push(Arc::clone(store));
            }
            Ok(None) => store.answered(0, runner.begin.elapsed()),
            Err(error) => {
                store.failed(&error);
                self.failure = Some(error);
            }
        }
        None
    }

    fn nothing(self) -> Result<Option<Bytes>> {
        match (self.failure, self.liars.first()) {
            (_, Some(liar)) => {
                let why = "the store gave wrong bytes, and no other store has them";
                Err(Error::new(Kind::Corrupt, "read block", liar.kv().name()).with_source(why))
            }
            (Some(error), None) => Err(error),
            (None, None) => Ok(None),
        }
    }
}
