//! The stores of every open volume: reads of absent blocks, and one thread a store that feeds it and looks for heads.
//!
//! Which stores a volume has is a file beside its content. Must never hold up a volume for a store that is away, and
//! never feed a store that is not marked as this volume's.

mod adding;
mod answering;
mod attached;
mod collecting;
mod feed;
mod limit;
mod list;
mod marker;
mod meeting;
mod reading;
mod recalling;
mod standing;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Runtime};

use super::exchange::{Exchange, Replica};
use super::home::Home;
use super::volumes::Known;
use crate::base::sync::{Mutex, RwLock};
use crate::base::{Context, Error, Kind, Result, VolumeId};
use crate::kv::steady::Bounds;
use crate::kv::{Kv, Lazy, MultiKv, Steady};
use crate::net::Peer;
use crate::volume::Elsewhere;
use crate::wire::Advice;
use crate::wire::control::StoreStatus;

pub use attached::Attached;
pub use list::{Entry, Rules};

/// See the module.
pub struct Stores {
    home: Home,
    offline: bool,
    patience: Duration,
    runtime: Mutex<Option<Arc<Runtime>>>,
    /// Held while a list is read, changed and written.
    listing: Mutex<()>,
    shelves: RwLock<BTreeMap<VolumeId, Arc<Shelf>>>,
}

/// The stores of one volume.
struct Shelf {
    replica: Weak<Replica>,
    known: Known,
    multi: Arc<MultiKv>,
    attached: Mutex<Vec<Arc<Attached>>>,
    /// Stores that must have what is synced, and cannot be used at all.
    missing: Mutex<Vec<String>>,
    /// How long an `fsync` waits for stores that must have its content.
    patience: Duration,
}

impl Elsewhere for Shelf {
    fn is_asked(&self) -> bool {
        !self.missing.lock().is_empty() || self.attached.lock().iter().any(|attached| attached.is_before_fsync())
    }

    fn settle(&self) -> Result<()> {
        let asked: Vec<_> = self.attached.lock().iter().filter(|a| a.is_before_fsync()).cloned().collect();
        let deadline = Instant::now() + self.patience;
        let settle = |attached: &Arc<Attached>| attached.settle_by(deadline);
        let missing = self.missing.lock().first().map_or(Ok(()), |name| {
            let why = "it cannot be used: see the log, and `lovage store list`";
            Err(Error::new(Kind::Unreachable, "store what was written", name).with_source(why))
        });
        missing.and_then(|()| asked.iter().try_for_each(settle)).inspect_err(|error| {
            tracing::warn!(volume = self.known.name, error = %error.chain(), "an fsync failed: the store has not what it must have");
        })
    }
}

impl Stores {
    /// None yet. `offline`: none are opened. `patience`: how long an `fsync` waits for stores that must have its content.
    pub fn new(home: Home, offline: bool, patience: Duration) -> Self {
        Self { home, offline, patience, runtime: Mutex::new(None), listing: Mutex::new(()), shelves: RwLock::default() }
    }

    fn runtime(&self) -> Result<Arc<Runtime>> {
        let mut runtime = self.runtime.lock();
        if let Some(runtime) = &*runtime {
            return Ok(Arc::clone(runtime));
        }
        let made = Builder::new_multi_thread().worker_threads(2).thread_name("lovage-stores").enable_all().build();
        let made = Arc::new(made.io("start the stores", String::new)?);
        *runtime = Some(Arc::clone(&made));
        Ok(made)
    }

    fn file(&self, id: VolumeId) -> PathBuf {
        self.home.volume(id).join("stores")
    }

    /// Where what is known of a service's packs is kept: nothing that cannot be read there again.
    fn cache(&self, id: VolumeId, name: &str) -> PathBuf {
        self.home.volume(id).join(format!("store-{name}.packs"))
    }

    /// A volume's stores.
    pub fn list(&self, id: VolumeId) -> Result<Vec<Entry>> {
        list::read(&self.file(id))
    }

    fn save(&self, id: VolumeId, list: &[Entry]) -> Result<()> {
        list::write(&self.file(id), list)
    }

    /// Change what is asked of a store; from now on, and after a restart. [`Kind::NotFound`] if there is none.
    pub fn set(&self, id: VolumeId, name: &str, change: impl FnOnce(&mut Rules)) -> Result<()> {
        let _turn = self.listing.lock();
        let mut list = self.list(id)?;
        let entry = list.iter_mut().find(|entry| entry.name == name);
        let entry = entry.ok_or_else(|| Error::new(Kind::NotFound, "find the store", name))?;
        change(&mut entry.rules);
        let rules = entry.rules;
        self.save(id, &list)?;
        if let Some(shelf) = self.shelves.read().get(&id).filter(|_| !rules.before_fsync) {
            shelf.missing.lock().retain(|missing| missing != name);
        }
        self.attached(id).iter().filter(|attached| attached.name == name).for_each(|attached| attached.obey(rules));
        Ok(())
    }

    /// A shared volume was opened: its stores are read from and fed from now on.
    pub fn open(&self, replica: &Arc<Replica>, exchange: &Arc<Exchange>) -> Result<()> {
        let list = self.list(replica.known.id)?;
        if self.offline {
            for entry in list.iter().filter(|entry| entry.rules.before_fsync) {
                tracing::warn!(store = entry.name, "offline: no fsync waits for this store");
            }
            return Ok(());
        }
        if list.is_empty() {
            return Ok(());
        }
        let shelf = self.shelf(replica);
        for entry in list {
            match Lazy::new(&entry.url) {
                Ok(lazy) => self.attach(&shelf, exchange, entry, lazy)?,
                Err(error) => {
                    tracing::warn!(store = entry.name, error = %error.chain(), "the store cannot be used");
                    shelf.missing.lock().extend(entry.rules.before_fsync.then_some(entry.name));
                }
            }
        }
        Ok(())
    }

    fn shelf(&self, replica: &Arc<Replica>) -> Arc<Shelf> {
        let fresh = || {
            Arc::new(Shelf {
                replica: Arc::downgrade(replica),
                known: replica.known.clone(),
                multi: Arc::default(),
                attached: Mutex::default(),
                missing: Mutex::default(),
                patience: self.patience,
            })
        };
        let shelf = Arc::clone(self.shelves.write().entry(replica.known.id).or_insert_with(fresh));
        let elsewhere: Arc<dyn Elsewhere> = Arc::clone(&shelf) as Arc<dyn Elsewhere>;
        replica.volume.settle_elsewhere(Arc::downgrade(&elsewhere));
        shelf
    }

    fn attach(&self, shelf: &Arc<Shelf>, exchange: &Arc<Exchange>, entry: Entry, lazy: Lazy) -> Result<()> {
        let Some(replica) = shelf.replica.upgrade() else { return Ok(()) };
        replica.volume.keep_in_stores();
        let lazy = Arc::new(lazy.with_cache(self.cache(replica.known.id, &entry.name)));
        let kv: Arc<dyn Kv> = Arc::clone(&lazy) as Arc<dyn Kv>;
        let store = shelf.multi.add(Arc::new(Steady::new(kv, Bounds::default())));
        let attached = Attached::start(entry, store, lazy, (&replica, exchange), self.runtime()?)?;
        shelf.attached.lock().push(attached);
        Ok(())
    }

    /// Use a store no more. What it holds stays there.
    pub fn remove(&self, id: VolumeId, name: &str) -> Result<()> {
        let _turn = self.listing.lock();
        let mut list = self.list(id)?;
        let before = list.len();
        list.retain(|entry| entry.name != name);
        if list.len() == before {
            return Err(Error::new(Kind::NotFound, "find the store", name));
        }
        self.save(id, &list)?;
        let shelf = self.shelves.read().get(&id).cloned();
        if let Some(shelf) = shelf {
            shelf.missing.lock().retain(|missing| missing != name);
            let gone: Vec<_> = shelf.attached.lock().extract_if(.., |a| a.name == name).collect();
            for attached in gone {
                shelf.multi.remove(&attached.store);
                attached.obey(Rules::default()); // nothing is asked of it any more: who waits for it may go on
                attached.close();
            }
            if let Some(replica) = shelf.replica.upgrade() {
                replica.reliance.forget(name)?;
            }
        }
        let cache = self.cache(id, name);
        match std::fs::remove_file(&cache) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("forget the store", cache.display().to_string(), e))
            }
            _ => Ok(()),
        }
    }

    /// The open store called `name` of a volume. [`Kind::NotFound`] otherwise.
    pub fn find(&self, id: VolumeId, name: &str) -> Result<Arc<Attached>> {
        let found = self.attached(id).into_iter().find(|attached| attached.name == name);
        let next = "See `lovage store list`; a store that could not be opened is named in the log.";
        found.ok_or_else(|| {
            Error::new(Kind::NotFound, "find the store", name).with_source(Advice::new("no such store is open", next))
        })
    }

    /// Ask to be let in through the store at `url`; the answer that `opens`. See [`meeting::ask`].
    pub fn ask<T>(
        &self,
        url: &str,
        who: (&str, &Peer),
        asked: &[u8],
        patience: Duration,
        opens: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T> {
        let kv = Steady::new(Arc::new(Lazy::new(url)?), Bounds::default());
        self.runtime()?.block_on(meeting::ask(&kv, who, asked, patience, opens))
    }

    /// Run work on stores to its end.
    pub fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime()?.block_on(work)
    }

    fn attached(&self, id: VolumeId) -> Vec<Arc<Attached>> {
        let shelf = self.shelves.read().get(&id).cloned();
        shelf.map(|shelf| shelf.attached.lock().clone()).unwrap_or_default()
    }

    /// What there is to tell about each.
    pub fn status(&self) -> Vec<StoreStatus> {
        let shelves: Vec<_> = self.shelves.read().values().cloned().collect();
        let of = |shelf: &Shelf| shelf.attached.lock().iter().map(|a| a.status(&shelf.known.name)).collect::<Vec<_>>();
        shelves.iter().flat_map(|shelf| of(shelf)).collect()
    }

    /// A volume is about to close.
    pub fn close_volume(&self, id: VolumeId) {
        let shelf = self.shelves.write().remove(&id);
        for attached in shelf.into_iter().flat_map(|shelf| std::mem::take(&mut *shelf.attached.lock())) {
            attached.close();
        }
    }

    /// End everything.
    pub fn close(&self) {
        let ids: Vec<_> = self.shelves.read().keys().copied().collect();
        for id in ids {
            self.close_volume(id);
        }
        if let Some(runtime) = self.runtime.lock().take().and_then(Arc::into_inner) {
            runtime.shutdown_timeout(Duration::from_secs(2));
        }
    }
}
