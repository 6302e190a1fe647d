//! Giving a volume another store: what is refused, the mark, the list.
//!
//! Must never take a place that is another volume's, in lovage's own home, or there already under another name.

use std::sync::Arc;

use super::super::exchange::{Exchange, Replica};
use super::super::volumes::is_name;
use super::{Entry, Rules, Stores, marker};
use crate::base::{Error, Kind, Result, VolumeId};
use crate::kv::steady::Bounds;
use crate::kv::{self, Lazy, Location, Steady};
use crate::wire::Advice;

impl Stores {
    /// Give a volume another store: look whether it can be used, mark it, remember it. [`Kind::Exists`] if the name is
    /// taken, [`Kind::Invalid`] if it is another volume's store, else what the store says.
    pub fn add(&self, replica: &Arc<Replica>, exchange: &Arc<Exchange>, name: &str, url: &str) -> Result<()> {
        self.add_with(replica, exchange, (name, url), |url, id| self.claim(url, id))
    }

    /// The same for a store that is there and marked already: nothing is made.
    pub fn add_existing(&self, replica: &Arc<Replica>, exchange: &Arc<Exchange>, name: &str, url: &str) -> Result<()> {
        self.add_with(replica, exchange, (name, url), |url, id| {
            let kv = Steady::new(Arc::new(Lazy::new(url)?), Bounds::default());
            self.runtime()?.block_on(marker::check(&kv, id))
        })
    }

    fn add_with(
        &self,
        replica: &Arc<Replica>,
        exchange: &Arc<Exchange>,
        (name, url): (&str, &str),
        check: impl Fn(&str, VolumeId) -> Result<()>,
    ) -> Result<()> {
        let id = replica.known.id;
        self.check_new(&self.list(id)?, name, url)?;
        let lazy = Lazy::new(url).map_err(|e| unusable(name, &e))?;
        check(url, id).map_err(|e| unusable(name, &e))?;
        let _turn = self.listing.lock();
        let mut list = self.list(id)?;
        self.check_new(&list, name, url)?; // that took a while
        let entry = Entry { name: name.to_owned(), url: url.to_owned(), rules: Rules::default() };
        list.push(entry.clone());
        self.save(id, &list)?;
        self.attach(&self.shelf(replica), exchange, entry, lazy)
    }

    /// Make the store if it is not there, and mark it. It is closed again: some let only one have them open.
    fn claim(&self, url: &str, id: VolumeId) -> Result<()> {
        let kv = Steady::new(kv::open(url)?, Bounds::default());
        self.runtime()?.block_on(marker::claim(&kv, id))
    }

    /// What can be told without looking at the store. Sorted by what a person would fix first.
    fn check_new(&self, list: &[Entry], name: &str, url: &str) -> Result<()> {
        let refuse = |kind, why: &str, next: &str| {
            Err(Error::new(kind, "add the store", name).with_source(Advice::new(why, next)))
        };
        if !is_name(name) {
            return refuse(Kind::Invalid, "that cannot be the name of a store", "Use letters, digits and '-'.");
        }
        if list.iter().any(|known| known.name == name) {
            return refuse(Kind::Exists, "a store of that name is there already", "Choose another name.");
        }
        let same = |other: &&Entry| other.url.trim_end_matches('/') == url.trim_end_matches('/');
        if let Some(known) = list.iter().find(same) {
            let why = format!("it is there already, and called {}", known.name);
            return refuse(Kind::Exists, &why, "One place counts as one copy.");
        }
        if self.offline {
            return refuse(Kind::Unreachable, "the daemon was started with --offline", "Start it without --offline.");
        }
        if let Some(path) = Location::parse(url).map_err(|e| unusable(name, &e))?.path() {
            let parent = path.parent().unwrap_or(path);
            if !path.is_absolute() {
                return refuse(Kind::Invalid, "its path is relative", "Write the whole path, from / on.");
            }
            if path.starts_with(self.home.root()) {
                return refuse(Kind::Invalid, "it lies in lovage's own home", "Choose a folder elsewhere.");
            }
            if !parent.is_dir() {
                let why = format!("there is no folder {}", parent.display());
                return refuse(Kind::NotFound, &why, "Make it first, plug the disk in, or correct the location.");
            }
        } else if url.starts_with("memory:") {
            return refuse(Kind::Invalid, "memory keeps nothing", "Choose another kind of store.");
        }
        if url.contains(['\n', '\t']) {
            return refuse(Kind::Invalid, "a location is one line", "Look at the location again.");
        }
        Ok(())
    }
}

/// A store that cannot be used, with what can be done.
fn unusable(name: &str, error: &Error) -> Error {
    let next = match error.kind() {
        Kind::Denied => "Check the credentials in the environment or the service's files, and what they may do.",
        Kind::NotFound => "Make the bucket or folder first, or correct the location.",
        Kind::Unreachable | Kind::Timeout => "Check the location and whether the service answers from here.",
        Kind::Exists | Kind::Invalid => "Choose an empty folder or prefix for each volume, and check the location.",
        _ => "Look at the location again.",
    };
    Error::new(error.kind(), "use the store", name).with_source(Advice::new(error.chain(), next))
}
