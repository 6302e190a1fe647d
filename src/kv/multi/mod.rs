//! Many stores as one for reading: the fastest first, the next when it is late or fails, the first verified answer.
//!
//! Whoever is slower is dropped, which cancels it. A store that gives wrong bytes is condemned for a while and gets the
//! right ones. Must never give out a byte that does not verify, and never wait for a store whose breaker is open.

mod breaker;
mod pace;
mod race;
mod store;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout};

use super::{Kv, is_genuine};
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Bid, Error, Kind, Result};

use breaker::Allows;
use pace::Budget;
use race::Race;
pub use store::Store;

/// Blocks asked for together are there within this time, or asked for one by one.
const TOGETHER: Duration = Duration::from_secs(60);

/// Stores of one volume. The list may change while reads run.
#[derive(Default)]
pub struct MultiKv {
    stores: RwLock<Vec<Arc<Store>>>,
    budget: Mutex<Budget>,
}

impl MultiKv {
    /// Without a store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Read from `kv` too.
    pub fn add(&self, kv: Arc<dyn Kv>) -> Arc<Store> {
        let store = Arc::new(Store::new(kv));
        self.stores.write().push(Arc::clone(&store));
        store
    }

    /// Read from it no more.
    pub fn remove(&self, store: &Arc<Store>) {
        self.stores.write().retain(|s| !Arc::ptr_eq(s, store));
    }

    /// The stores, in the order they were added.
    pub fn stores(&self) -> Vec<Arc<Store>> {
        self.stores.read().clone()
    }

    /// Whether there is any store.
    pub fn is_empty(&self) -> bool {
        self.stores.read().is_empty()
    }

    /// The block of about `len` bytes, verified. `None` if every store that answered lacks it and all answered;
    /// [`Kind::Unreachable`] if some could not be asked and the others lack it, [`Kind::Corrupt`] if only wrong
    /// bytes were found.
    pub async fn get(&self, id: &Bid, len: usize) -> Result<Option<Bytes>> {
        let (candidates, closed) = self.candidates(id, len);
        let skipped = closed.is_empty();
        let found = Race::new(*id, len, candidates, &self.budget).run().await?;
        if let Some(bytes) = &found {
            self.budget.lock().read(bytes.len());
        } else if !skipped {
            let why = "some stores do not answer, and the others do not have it";
            return Err(Error::new(Kind::Unreachable, "read block", closed.join(", ")).with_source(why));
        }
        Ok(found)
    }

    /// Blocks of about `len` bytes each, verified, from the store that is best known to have them: cheaper than one by
    /// one where they lie together. What it does not give is `None`: ask for that by [`Self::get`].
    pub async fn get_many(&self, ids: &[Bid], len: usize) -> Vec<Option<Bytes>> {
        let mut values = vec![None; ids.len()];
        let now = Instant::now();
        let open = self.stores().into_iter().filter(|store| store.is_ok() && store.ask(now) == Allows::All);
        let having = |store: &Arc<Store>| ids.iter().filter(|id| store.holds(id) == Some(true)).count();
        let best = open.map(|store| (having(&store), store)).filter(|(having, _)| *having > 0);
        let Some((_, store)) = best.max_by_key(|(having, store)| (*having, std::cmp::Reverse(store.expected(len))))
        else {
            return values;
        };
        let (at, asked): (Vec<usize>, Vec<Bid>) =
            ids.iter().enumerate().filter(|(_, id)| store.holds(id) == Some(true)).map(|(at, id)| (at, *id)).unzip();
        match timeout(TOGETHER, store.kv().get_many(&asked)).await {
            Err(_) => store.failed(&Error::new(Kind::Timeout, "read blocks", store.kv().name())),
            Ok(Err(error)) => store.failed(&error),
            Ok(Ok(found)) => {
                for ((at, id), found) in at.into_iter().zip(&asked).zip(found) {
                    match found {
                        Some(bytes) if is_genuine(id, &bytes) => values[at] = Some(bytes),
                        Some(_) => store.lied(id),
                        None => {}
                    }
                }
            }
        }
        values
    }

    /// Those that may be asked, the best first, and names of those that may not. One whose pause is over is probed
    /// beside. Who is known to have the block comes before who may have it, and who is known to lack it last: what is
    /// known of a store may be old.
    fn candidates(&self, id: &Bid, len: usize) -> (Vec<Arc<Store>>, Vec<String>) {
        let now = Instant::now();
        let (mut open, mut last, mut closed) = (Vec::new(), Vec::new(), Vec::new());
        for store in self.stores.read().iter() {
            match store.ask(now) {
                Allows::All => {
                    let doubt = match store.holds(id) {
                        Some(true) => 0,
                        None => 1,
                        Some(false) => 2,
                    };
                    open.push(((doubt, store.expected(len)), Arc::clone(store)));
                }
                Allows::Probe => {
                    store.probe(*id);
                    closed.push(store.kv().name().to_owned());
                }
                Allows::LastResort => last.push(Arc::clone(store)),
                Allows::Nothing => closed.push(store.kv().name().to_owned()),
            }
        }
        open.sort_by_key(|(rank, _)| *rank);
        (open.into_iter().map(|(_, store)| store).chain(last).collect(), closed)
    }
}

impl std::fmt::Debug for MultiKv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.stores.read().iter().map(|s| s.kv().name().to_owned())).finish()
    }
}
